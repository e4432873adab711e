"""The end of an attempt or a run: one function for each updates accounts, budgets, Events and conditions together."""

from dataclasses import replace
from typing import Any, Literal

from kubedistill.stages import LIVE, WORKING
from kubedistill.v1alpha1 import Status
from kubedistill_operator.clock import stamp
from kubedistill_operator.decisions.accounting import charge, count_usage, is_spent
from kubedistill_operator.decisions.causes import Cause
from kubedistill_operator.decisions.context import ReconcileContext
from kubedistill_operator.names import out_name
from kubedistill_operator.plan import Event, Plan, StopRequest
from kubedistill_operator.status import is_true, with_run, with_stage, without_conditions

GRACEFUL = ("Suspended", "Superseded", "Cancelled", "Deleted")
"""Reasons to stop an attempt for which its driver is given time to save."""
Outcome = Literal["Succeeded", "Failed", "Stopped"]
_STATES: dict[Outcome, str] = {"Succeeded": "Succeeded", "Failed": "Stopping", "Stopped": "Pending"}
_EVENTS: dict[Outcome, str] = {"Succeeded": "StageSucceeded", "Failed": "AttemptFailed", "Stopped": "AttemptStopped"}


def request_stop(context: ReconcileContext, *, reason: str) -> Plan | None:
    """Ask the current attempt to save and stop; return None if there is no such attempt."""
    stage = context.current
    if stage is None or stage.state not in WORKING:
        return None
    status = with_stage(
        count_usage(context),
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
        count_usage(context, has_ended=True, has_child=outcome == "Failed"),
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


def _end_live(context: ReconcileContext, *, reason: str, message: str) -> Plan:
    """End the current attempt, if there is one; an attempt that is stopping after a failure has sent its Event."""
    stage = context.current
    if stage is None or stage.state not in LIVE:
        return Plan(status=context.status)
    plan = end_attempt(context, "Failed", reason=reason, message=message)
    is_reported = stage.state == "Stopping" and stage.reason not in GRACEFUL
    return replace(plan, events=()) if is_reported else plan
