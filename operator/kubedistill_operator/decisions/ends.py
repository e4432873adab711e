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
"""Reasons for which a driver is given time to save."""
Outcome = Literal["Succeeded", "Failed", "Stopped"]
_STATES: dict[Outcome, str] = {"Succeeded": "Succeeded", "Failed": "Stopping", "Stopped": "Pending"}
_EVENTS: dict[Outcome, str] = {"Succeeded": "StageSucceeded", "Failed": "AttemptFailed", "Stopped": "AttemptStopped"}
_DIGITS = 3


def ask_to_leave(context: ReconcileContext, *, reason: str) -> Plan | None:
    """Ask an attempt that is under way to save and leave; None where there is none."""
    stage = context.current
    if stage is None or stage.state not in WORKING:
        return None
    status = with_stage(
        account(context),
        stage.name,
        state="Stopping",
        reason=reason,
        ended_at=stamp(context.now),
        message="asked to save and leave",
    )
    channel = context.observed.attempt.channel
    stop = StopRequest(out_name(stage.child)) if channel is not None and not channel.stop else None
    return Plan(status=status, stop=stop, requeue_after=5, why=(f"{reason}: {stage.child} is asked to leave",))


def end_attempt(
    context: ReconcileContext,
    outcome: Outcome,
    *,
    message: str,
    reason: str = "",
    cause: Cause | None = None,
    **changes: Any,
) -> Plan:
    """End the current attempt: bring the accounts up to now, charge `cause`, tell it, and end the run where it must.

    Succeeded: its stage is done. Failed: its child is to be deleted; the next attempt follows while the budget of the
    cause lasts. Stopped: it has left as it was asked to, and nothing is charged. `changes` are of the stage.
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
    told = f"{which}: {reason}{': ' if reason else ''}{message or 'done'}"
    event = Event(_EVENTS[outcome], told, "Warning" if outcome == "Failed" else "Normal", about=which)
    plan = Plan(status=status, events=(event,), requeue_after=0, why=(told,))
    if cause is None or not is_spent(context, restarts, cause):
        return plan
    return fail_run(context, reason=reason, message=message, after=plan)


def fail_run(
    context: ReconcileContext, *, reason: str, message: str, after: Plan | None = None, event: str = "RunFailed"
) -> Plan:
    """End the run without success: after a plan that ends its attempt, or else with the attempt that is under way."""
    plan = after or _end_live(context, reason=reason, message=message)
    status = plan.status
    assert status is not None, "what ends has a status"
    for stage in status.stages:
        if stage.state in LIVE:
            status = with_stage(status, stage.name, state="Failed")
    status = conclude(context, status, "Failed", reason=reason, message=message)
    events = (*plan.events, Event(event, f"{reason}: {message}", "Warning"))
    return Plan(status=status, events=events, requeue_after=0, why=(message,))


def conclude(
    context: ReconcileContext, status: Status, kind: Literal["Complete", "Failed"], *, reason: str, message: str
) -> Status:
    """Set the condition that a run ends with, and those that must agree with it."""
    return come_to_rest(
        context, context.set_condition(status, kind, "True", reason=reason, message=message), reason=kind
    )


def come_to_rest(context: ReconcileContext, status: Status, *, reason: str, message: str = "") -> Status:
    """The status of a job that works no more: it does not progress, and is neither suspended nor in a queue."""
    status = context.set_condition(status, "Progressing", "False", reason=reason, message=message)
    if is_true(status, "Suspended"):
        status = context.set_condition(status, "Suspended", "False", reason=reason)
    quota = status.condition("QuotaReserved")
    if quota is not None and quota.status == "False":
        status = without_conditions(status, "QuotaReserved")
    return with_run(status, counted_at="") if status.run is not None else status


def account(context: ReconcileContext, *, has_ended: bool = False, has_child: bool = True) -> Status:
    """The status with the run's active seconds and the attempt's GPU-seconds counted up to now.

    It counts from what is stored, so that counting twice from one state changes nothing.
    """
    run, stage = context.status.run, context.current
    assert run is not None, "an attempt belongs to a run"
    counted_at = run.counted_at and stamp(context.now) if has_child else ""
    status = with_run(context.status, active_seconds=active_seconds(context), counted_at=counted_at)
    if stage is None:
        return status
    return with_stage(status, stage.name, **count_gpus(context, stage, has_ended=has_ended))


def active_seconds(context: ReconcileContext) -> float:
    """Seconds with an admitted child until now, all attempts of the run together."""
    run = context.status.run
    assert run is not None
    since = seconds_since(run.counted_at, context.now) if run.counted_at else 0.0
    return round(run.active_seconds + since, _DIGITS)


def counted_at(context: ReconcileContext) -> str:
    """Return since when the active time of the run is counted: from now, where it was not counted until now."""
    run = context.status.run
    assert run is not None
    return run.counted_at or stamp(context.now)


def count_gpus(context: ReconcileContext, stage: StageStatus, *, has_ended: bool = False) -> dict[str, float]:
    """The stage's GPU-seconds with what the attempt's drivers have said beyond what is counted already.

    A driver that ends silently though its child runs held its GPUs until now. What such an attempt still says after
    that is less, and adds nothing.
    """
    said, counted = _gpu_seconds_said(context, has_ended=has_ended), stage.latest_gpu_seconds or 0.0
    if said is None or (stage.state == "Stopping" and said < counted):
        return {}
    more = increase(counted, said)
    return {"gpu_seconds": round(stage.gpu_seconds + more, _DIGITS), "latest_gpu_seconds": said}


def charge(restarts: Restarts, cause: Cause) -> Restarts:
    """The restarts with one more of a cause; a user's mistake has no budget."""
    return restarts if cause == "user" else restarts.model_copy(update={cause: getattr(restarts, cause) + 1})


def is_spent(context: ReconcileContext, restarts: Restarts, cause: Cause) -> bool:
    """Whether no further attempt may follow one that a cause has ended."""
    assert context.run is not None, "an attempt belongs to a run"
    retry = context.run.spec.retry
    most: dict[Cause, int] = {
        "failure": retry.max_failures,
        "infrastructure": retry.max_infrastructure_failures,
        "preemption": retry.max_preemptions,
    }
    return cause == "user" or getattr(restarts, cause) > most[cause]


def _gpu_seconds_said(context: ReconcileContext, *, has_ended: bool) -> float | None:
    attempt = context.observed.attempt
    result = attempt.channel.result if attempt.channel is not None else None
    progress = attempt.channel.progress if attempt.channel is not None else None
    if result is None and progress is None:
        return None
    said = max(one.gpu_seconds for one in (result, progress) if one is not None)
    child = attempt.child
    if has_ended and result is None and progress is not None and child is not None and child.state == "Running":
        said += progress.gpus * seconds_since(progress.at, context.now)
    return round(said, _DIGITS)


def _end_live(context: ReconcileContext, *, reason: str, message: str) -> Plan:
    """End the attempt that is under way, if there is one; one that leaves after a failure has had its Event."""
    stage = context.current
    if stage is None or stage.state not in LIVE:
        return Plan(status=context.status)
    plan = end_attempt(context, "Failed", reason=reason, message=message)
    told = stage.state == "Stopping" and stage.reason not in GRACEFUL
    return replace(plan, events=()) if told else plan
