"""Ends: one function ends an attempt and one ends a run, so that accounts, budgets, events and conditions agree."""

from dataclasses import replace
from typing import Any, Literal

from kubedistill.stages import LIVE, WORKING
from kubedistill.v1alpha1 import Restarts, StageStatus, Status
from kubedistill_operator.clock import seconds_since, stamp
from kubedistill_operator.decisions.causes import Cause
from kubedistill_operator.decisions.context import ReconcileContext
from kubedistill_operator.names import out_name
from kubedistill_operator.plan import Event, Plan, StopRequest
from kubedistill_operator.status import increase, is_true, with_run, with_stage, without_conditions

GRACEFUL = ("Suspended", "Superseded", "Cancelled", "Deleted")
"""Reasons to stop an attempt for which its driver is given time to save."""
Outcome = Literal["Succeeded", "Failed", "Stopped"]
_STATES: dict[Outcome, str] = {"Succeeded": "Succeeded", "Failed": "Stopping", "Stopped": "Pending"}
_EVENTS: dict[Outcome, str] = {"Succeeded": "StageSucceeded", "Failed": "AttemptFailed", "Stopped": "AttemptStopped"}
_DIGITS = 3


def request_stop(context: ReconcileContext, *, reason: str) -> Plan | None:
    """Ask the current attempt to save and stop; return None if there is no such attempt."""
    stage = context.current
    if stage is None or stage.state not in WORKING:
        return None
    status = with_stage(
        account(context),
        stage.name,
        state="Stopping",
        reason=reason,
        ended_at=stamp(context.now),
        message="asked to save and stop",
    )
    channel = context.observed.attempt.channel
    stop = StopRequest(out_name(stage.child)) if channel is not None and not channel.stop else None
    return Plan(status=status, stop=stop, requeue_after=5, why=(f"{reason}: {stage.child} is asked to stop",))


def end_attempt(
    context: ReconcileContext,
    outcome: Outcome,
    *,
    message: str,
    reason: str = "",
    cause: Cause | None = None,
    **changes: Any,
) -> Plan:
    """End the current attempt: update the accounts, charge `cause`, report it, and end the run if it must end.

    Succeeded: its stage is done. Failed: its child is deleted, and the next attempt follows while the budget of the
    cause lasts. Stopped: it has stopped as requested, and nothing is charged. `changes` are applied to the stage.
    """
    stage = context.current
    assert stage is not None, "an attempt belongs to a stage"
    restarts = stage.restarts if cause is None else charge(stage.restarts, cause)
    status = with_stage(
        account(context, has_ended=True, has_child=outcome == "Failed"),
        stage.name,
        state=_STATES[outcome],
        reason=reason,
        message=message,
        restarts=restarts,
        ended_at=stamp(context.now),
        **changes,
    )
    which = f"{stage.name} attempt {stage.attempt}"
    text = f"{which}: {reason}{': ' if reason else ''}{message or 'done'}"
    event = Event(_EVENTS[outcome], text, "Warning" if outcome == "Failed" else "Normal", about=which)
    plan = Plan(status=status, events=(event,), requeue_after=0, why=(text,))
    if cause is None or not is_spent(context, restarts, cause):
        return plan
    return fail_run(context, reason=reason, message=message, after=plan)


def fail_run(
    context: ReconcileContext, *, reason: str, message: str, after: Plan | None = None, event: str = "RunFailed"
) -> Plan:
    """End the run without success, and its current attempt too unless the plan `after` has ended it already."""
    plan = after or _end_live(context, reason=reason, message=message)
    status = plan.status
    assert status is not None, "a plan that ends an attempt writes a status"
    for stage in status.stages:
        if stage.state in LIVE:
            status = with_stage(status, stage.name, state="Failed")
    status = conclude(context, status, "Failed", reason=reason, message=message)
    events = (*plan.events, Event(event, f"{reason}: {message}", "Warning"))
    return Plan(status=status, events=events, requeue_after=0, why=(message,))


def conclude(
    context: ReconcileContext, status: Status, kind: Literal["Complete", "Failed"], *, reason: str, message: str
) -> Status:
    """Set the condition that a run ends with, and the conditions that must agree with it."""
    return set_at_rest(
        context, context.set_condition(status, kind, "True", reason=reason, message=message), reason=kind
    )


def set_at_rest(context: ReconcileContext, status: Status, *, reason: str, message: str = "") -> Status:
    """Return the status of a job that no longer works: not progressing, not suspended, and in no queue."""
    status = context.set_condition(status, "Progressing", "False", reason=reason, message=message)
    if is_true(status, "Suspended"):
        status = context.set_condition(status, "Suspended", "False", reason=reason)
    quota = status.condition("QuotaReserved")
    if quota is not None and quota.status == "False":
        status = without_conditions(status, "QuotaReserved")
    return with_run(status, counted_at="") if status.run is not None else status


def account(context: ReconcileContext, *, has_ended: bool = False, has_child: bool = True) -> Status:
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


def _end_live(context: ReconcileContext, *, reason: str, message: str) -> Plan:
    """End the current attempt, if there is one; an attempt that is stopping after a failure has sent its Event."""
    stage = context.current
    if stage is None or stage.state not in LIVE:
        return Plan(status=context.status)
    plan = end_attempt(context, "Failed", reason=reason, message=message)
    is_reported = stage.state == "Stopping" and stage.reason not in GRACEFUL
    return replace(plan, events=()) if is_reported else plan
