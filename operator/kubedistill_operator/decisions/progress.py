"""Deciders about a driver that runs: limit the time without progress, and copy its progress into the status.

Each takes a ReconcileContext and returns a Plan, or None to leave the decision to the next. None calls another.
"""

from kubedistill.stages import WORKING
from kubedistill.v1alpha1 import StageStatus
from kubedistill_operator.clock import seconds_since, stamp
from kubedistill_operator.decisions.accounting import count_reports, counted_at
from kubedistill_operator.decisions.context import ReconcileContext
from kubedistill_operator.decisions.ends import end_attempt
from kubedistill_operator.plan import Event, Plan
from kubedistill_operator.status import with_run, with_stage

_LOOK_SECONDS = 30


def enforce_progress(context: ReconcileContext) -> Plan | None:
    """End an attempt that makes no first progress within startupTimeoutSeconds, or no progress after that.

    A download that advances is progress in both cases, and does not end the time for the start.
    """
    stage, child = context.current, context.observed.attempt.child
    if stage is None or stage.state != "Running" or child is None or child.state != "Running":
        return None
    assert context.run is not None
    spec, progressed_at = context.run.spec, _progressed_at(context, stage)
    limit = spec.no_progress_timeout_seconds if progressed_at else spec.startup_timeout_seconds
    latest = max(progressed_at, _downloaded_at(context, stage)) or stage.started_at
    idle = seconds_since(latest, context.now)
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
    channel = context.observed.attempt.channel
    if channel is None or channel.progress is None:
        return {}
    progress = channel.progress
    return {
        "percent": min(100, round(100 * progress.done / progress.total)) if progress.total else stage.percent,
        "eta_seconds": progress.eta_seconds,
        "starts": max(stage.starts, channel.starts),
        "message": progress.message or f"{progress.done:,} of {progress.total:,} {progress.unit}",
        "progressed_at": _progressed_at(context, stage),
        **count_reports(context, stage),
        "downloaded_at": _downloaded_at(context, stage),
    }


def _downloaded_at(context: ReconcileContext, stage: StageStatus) -> str:
    """Return when the latest report of a download was seen, as _progressed_at; a driver reports those that advance."""
    channel = context.observed.attempt.channel
    progress = channel.progress if channel is not None else None
    if progress is None or (progress.state, progress.unit) != ("Loading", "bytes"):
        return stage.downloaded_at
    return stamp(context.now) if progress.at != stage.report_stamp else stage.downloaded_at


def _progressed_at(context: ReconcileContext, stage: StageStatus) -> str:
    """Return when the latest report of work was seen: now, if it is new; empty before the first.

    A report is new if its time has changed. The time itself is not used, since the driver's clock may be wrong.
    """
    channel = context.observed.attempt.channel
    progress = channel.progress if channel is not None else None
    if progress is None or progress.state != "Working":
        return stage.progressed_at
    is_new = progress.at != stage.report_stamp or not stage.progressed_at
    return stamp(context.now) if is_new else stage.progressed_at
