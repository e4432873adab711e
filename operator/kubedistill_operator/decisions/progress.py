"""Deciders about a driver that runs: limit the time without progress, and copy its progress into the status.

Each takes a ReconcileContext and returns a Plan, or None to leave the decision to the next. None calls another.
"""

from kubedistill.contract import StageProgress
from kubedistill.stages import WORKING
from kubedistill.v1alpha1 import StageStatus
from kubedistill_operator.clock import seconds_since
from kubedistill_operator.decisions.context import ReconcileContext
from kubedistill_operator.decisions.ends import count_gpus, counted_at, end_attempt
from kubedistill_operator.plan import Event, Plan
from kubedistill_operator.status import with_run, with_stage

_LOOK_SECONDS = 30


def enforce_progress(context: ReconcileContext) -> Plan | None:
    """End an attempt that makes no first progress within startupTimeoutSeconds, or no progress after that."""
    stage, child = context.current, context.observed.attempt.child
    if stage is None or stage.state != "Running" or child is None or child.state != "Running":
        return None
    assert context.run is not None
    spec, progress = context.run.spec, _progress(context)
    latest = _latest(stage, progress)
    limit = spec.no_progress_timeout_seconds if latest else spec.startup_timeout_seconds
    idle = seconds_since(latest or stage.started_at, context.now)
    if idle < limit:
        return None
    return end_attempt(context, "Failed", reason="NoProgress", message=f"no progress for {idle:.0f} s", cause="failure")


def report_progress(context: ReconcileContext) -> Plan | None:
    """Copy the driver's progress into the status."""
    stage, child = context.current, context.observed.attempt.child
    if stage is None or stage.state not in WORKING or child is None or child.state != "Running":
        return None
    status = context.set_condition(context.status, "Progressing", "True", reason=stage.name)
    status = with_run(status, counted_at=counted_at(context))
    changes = {"state": "Running", "reason": "", "message": "loading", "ended_at": "", **_figures(context, stage)}
    status = with_stage(status, stage.name, **changes)
    events = () if stage.state == "Running" else (Event("StageRunning", f"{stage.name} in {child.name}"),)
    return Plan(status=status, events=events, requeue_after=_LOOK_SECONDS, why=(f"{stage.name} runs",))


def _figures(context: ReconcileContext, stage: StageStatus) -> dict[str, object]:
    progress, channel = _progress(context), context.observed.attempt.channel
    if progress is None or channel is None:
        return {}
    figures: dict[str, object] = {
        "percent": min(100, round(100 * progress.done / progress.total)) if progress.total else stage.percent,
        "eta_seconds": progress.eta_seconds,
        "starts": max(stage.starts, channel.starts),
        "message": progress.message or f"{progress.done:,} of {progress.total:,} {progress.unit}",
        **count_gpus(context, stage),
    }
    if latest := _latest(stage, progress):
        figures["progressed_at"] = latest
    return figures


def _progress(context: ReconcileContext) -> StageProgress | None:
    channel = context.observed.attempt.channel
    return channel.progress if channel is not None else None


def _latest(stage: StageStatus, progress: StageProgress | None) -> str:
    """Return when work was last done, by status and driver; a clock that was set back loses nothing."""
    said = progress.at if progress is not None and progress.state == "Working" else ""
    return max(stage.progressed_at, said)
