"""Deciders about a run that must not continue for now: because it was asked to stop, or because its budget is spent.

Each takes a ReconcileContext and returns a Plan, or None to leave the decision to the next. None calls another.
"""

from kubedistill_operator.decisions.budget import find_hold
from kubedistill_operator.decisions.context import ReconcileContext
from kubedistill_operator.decisions.ends import request_stop
from kubedistill_operator.plan import Event, Plan
from kubedistill_operator.status import is_true, with_stage


def suspend(context: ReconcileContext) -> Plan | None:
    """Save and stop while spec.suspend is true; charge nothing."""
    if context.live_spec is None or not context.live_spec.suspend:
        return None
    event = Event("Suspended", "saved and stopped")
    return _hold(context, reason="AsAsked", message="spec.suspend is true", event=event)


def suspend_spent(context: ReconcileContext) -> Plan | None:
    """Save and stop while spec.budget is spent, or cannot be checked; charge nothing."""
    if (hold := find_hold(context)) is None:
        return None
    event = Event("Suspended", f"{hold.reason}: {hold.message}", "Warning", about=hold.reason)
    return _hold(context, reason=hold.reason, message=hold.message, event=event)


def resume(context: ReconcileContext) -> Plan | None:
    """Continue a suspended run; Prepare checks the store again."""
    suspended = context.status.condition("Suspended")
    if suspended is None or suspended.status != "True":
        return None
    why = "spec.suspend is false" if suspended.reason == "AsAsked" else "spec.budget allows more"
    status = context.set_condition(context.status, "Suspended", "False", reason="Resumed")
    status = with_stage(status, "Prepare", state="Pending", percent=0, reason="", message="")
    return Plan(status=status, events=(Event("Resumed", why),), requeue_after=0, why=("resumed",))


def _hold(context: ReconcileContext, *, reason: str, message: str, event: Event) -> Plan | None:
    """Stop the current attempt and then set Suspended; None while the attempt is stopping."""
    if (plan := request_stop(context, reason="Suspended")) is not None:
        return plan
    if context.current is not None and context.current.state == "Stopping":
        return None
    known = context.status.condition("Suspended")
    is_known = is_true(context.status, "Suspended") and known is not None and known.reason == reason
    status = context.set_condition(context.status, "Suspended", "True", reason=reason, message=message)
    status = context.set_condition(status, "Progressing", "False", reason="Suspended")
    return Plan(status=status, events=() if is_known else (event,), why=(f"suspended: {message}",))
