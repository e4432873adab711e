"""Accounting: active seconds and GPU-seconds of a run, and the retry budgets that failed attempts are charged to."""

from kubedistill.v1alpha1 import Restarts, StageStatus, Status
from kubedistill_operator.clock import seconds_since, stamp
from kubedistill_operator.decisions.causes import Cause
from kubedistill_operator.decisions.context import ReconcileContext
from kubedistill_operator.status import increase, with_run, with_stage

_DIGITS = 3


def count_usage(context: ReconcileContext, *, has_ended: bool = False, has_child: bool = True) -> Status:
    """Return the status with the run's active seconds and the attempt's GPU-seconds counted until now.

    Counting starts from the stored values, so counting twice from one state changes nothing.
    """
    run, stage = context.status.run, context.current
    assert run is not None, "an attempt belongs to a run"
    counted_at = run.counted_at and stamp(context.now) if has_child else ""
    status = with_run(context.status, active_seconds=active_seconds(context), counted_at=counted_at)
    if stage is None:
        return status
    return with_stage(status, stage.name, **count_gpus(context, stage, has_ended=has_ended))


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


def count_gpus(context: ReconcileContext, stage: StageStatus, *, has_ended: bool = False) -> dict[str, float | str]:
    """Return the stage's GPU-seconds, increased by what the attempt's drivers have reported since the last count.

    A driver that ended without a result while its child runs held its GPUs until now. Later reports of such an attempt
    are lower, and add nothing.
    """
    reported, counted = _reported_gpu_seconds(context, stage, has_ended=has_ended), stage.latest_gpu_seconds or 0.0
    if reported is None or (stage.state == "Stopping" and reported < counted):
        return {}
    more = increase(counted, reported)
    seen = _note_report(context, stage)
    return {"gpu_seconds": round(stage.gpu_seconds + more, _DIGITS), "latest_gpu_seconds": reported, **seen}


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


def _reported_gpu_seconds(context: ReconcileContext, stage: StageStatus, *, has_ended: bool) -> float | None:
    attempt = context.observed.attempt
    result = attempt.channel.result if attempt.channel is not None else None
    progress = attempt.channel.progress if attempt.channel is not None else None
    if result is None and progress is None:
        return None
    reported = max(one.gpu_seconds for one in (result, progress) if one is not None)
    child = attempt.child
    if has_ended and result is None and progress is not None and child is not None and child.state == "Running":
        reported += progress.gpus * seconds_since(_note_report(context, stage)["reported_at"], context.now)
    return round(reported, _DIGITS)


def _note_report(context: ReconcileContext, stage: StageStatus) -> dict[str, str]:
    """Return the driver's latest report by its stamp, and when it was seen: now, if the stamp changed."""
    channel = context.observed.attempt.channel
    if channel is None or channel.progress is None or channel.progress.at == stage.report_stamp:
        return {"reported_at": stage.reported_at, "report_stamp": stage.report_stamp}
    return {"reported_at": stamp(context.now), "report_stamp": channel.progress.at}
