"""Accounting: active seconds, GPU-seconds and dollars of a run, and the retry budgets that attempts are charged to."""

from dataclasses import dataclass

from kubedistill.contract import StageProgress, StageResult
from kubedistill.v1alpha1 import Restarts, StageStatus, Status
from kubedistill_operator.clock import seconds_since, stamp
from kubedistill_operator.decisions.causes import Cause
from kubedistill_operator.decisions.context import ReconcileContext
from kubedistill_operator.status import increase, with_run, with_stage

_DIGITS, _DOLLAR_DIGITS = 3, 6


def count_usage(context: ReconcileContext, *, has_ended: bool = False, has_child: bool = True) -> Status:
    """Return the status with the run's active seconds and the attempt's GPU-seconds and dollars counted until now.

    Counting starts from the stored values, so counting twice from one state changes nothing.
    """
    run, stage = context.status.run, context.current
    assert run is not None, "an attempt belongs to a run"
    counted_at = run.counted_at and stamp(context.now) if has_child else ""
    status = with_run(context.status, active_seconds=active_seconds(context), counted_at=counted_at)
    if stage is None:
        return status
    return with_stage(status, stage.name, **count_reports(context, stage, has_ended=has_ended))


def active_seconds(context: ReconcileContext) -> float:
    """Return the seconds with an admitted child until now, over all attempts of the run."""
    run = context.status.run
    assert run is not None
    since = seconds_since(run.counted_at, context.now) if run.counted_at else 0.0
    return round(run.active_seconds + since, _DIGITS)


def counted_at(context: ReconcileContext) -> str:
    """Return the time from which active seconds are not counted yet; now if nothing is being counted."""
    run = context.status.run
    assert run is not None
    return run.counted_at or stamp(context.now)


def count_reports(context: ReconcileContext, stage: StageStatus, *, has_ended: bool = False) -> dict[str, float | str]:
    """Return the stage's GPU-seconds and dollars, with what the attempt's drivers have reported since the last count.

    A driver that ended without a result while its child runs held its GPUs until now, idle. Later reports of such an
    attempt are lower, and add nothing.
    """
    changes = _count_dollars(context, stage)
    reported, counted = _reported_gpu_seconds(context, stage, has_ended=has_ended), stage.latest_gpu_seconds or 0.0
    if reported is None or (stage.state == "Stopping" and reported.held < counted):
        return changes
    more = increase(counted, reported.held)
    changes |= {"gpu_seconds": round(stage.gpu_seconds + more, _DIGITS), "latest_gpu_seconds": reported.held}
    if reported.idle or stage.idle_gpu_seconds is not None:
        idle = (stage.idle_gpu_seconds or 0.0) + increase(stage.latest_idle_gpu_seconds or 0.0, reported.idle)
        changes |= {"idle_gpu_seconds": round(idle, _DIGITS), "latest_idle_gpu_seconds": reported.idle}
    return changes | _note_report(context, stage)


def charge(restarts: Restarts, cause: Cause) -> Restarts:
    """Return the restarts with one more of a cause; a user error has no budget."""
    return restarts if cause == "user" else restarts.model_copy(update={cause: getattr(restarts, cause) + 1})


def is_spent(context: ReconcileContext, restarts: Restarts, cause: Cause) -> bool:
    """Return whether no further attempt may follow one that ended by this cause."""
    assert context.run is not None, "an attempt belongs to a run"
    retry = context.run.spec.retry
    most: dict[Cause, int] = {
        "failure": retry.max_failures,
        "infrastructure": retry.max_infrastructure_failures,
        "preemption": retry.max_preemptions,
    }
    return cause == "user" or getattr(restarts, cause) > most[cause]


def _count_dollars(context: ReconcileContext, stage: StageStatus) -> dict[str, float | str]:
    """Return what endpoints have charged; nothing changes without a report, or where no endpoint charges."""
    reported = max((one.dollars for one in _reports(context)), default=0.0)
    if not reported:
        return {}
    more = increase(stage.latest_endpoint_dollars or 0.0, reported)
    return {
        "endpoint_dollars": round((stage.endpoint_dollars or 0.0) + more, _DOLLAR_DIGITS),
        "latest_endpoint_dollars": reported,
    }


def _reports(context: ReconcileContext) -> list[StageProgress | StageResult]:
    """Return the latest progress and the result of the attempt, as far as there are any."""
    channel = context.observed.attempt.channel
    return [] if channel is None else [one for one in (channel.result, channel.progress) if one is not None]


@dataclass(frozen=True, slots=True)
class _GpuSeconds:
    """GPU-seconds of an attempt."""

    held: float
    idle: float
    """Those of them in which nothing was generated or learned."""


def _reported_gpu_seconds(context: ReconcileContext, stage: StageStatus, *, has_ended: bool) -> _GpuSeconds | None:
    attempt, reports = context.observed.attempt, _reports(context)
    if not reports or attempt.channel is None:
        return None
    held = max(one.gpu_seconds for one in reports)
    idle = min(held, max(one.idle_gpu_seconds for one in reports))
    child, progress = attempt.child, attempt.channel.progress
    is_lost = has_ended and attempt.channel.result is None
    if is_lost and progress is not None and child is not None and child.state == "Running":
        silent = progress.gpus * seconds_since(_note_report(context, stage)["reported_at"], context.now)
        held, idle = held + silent, idle + silent
    return _GpuSeconds(round(held, _DIGITS), round(idle, _DIGITS))


def _note_report(context: ReconcileContext, stage: StageStatus) -> dict[str, str]:
    """Return the driver's latest report by its stamp, and when it was seen: now, if the stamp changed."""
    channel = context.observed.attempt.channel
    if channel is None or channel.progress is None or channel.progress.at == stage.report_stamp:
        return {"reported_at": stage.reported_at, "report_stamp": stage.report_stamp}
    return {"reported_at": stamp(context.now), "report_stamp": channel.progress.at}
