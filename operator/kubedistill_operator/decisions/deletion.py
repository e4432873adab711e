"""Deciders about a job that is being deleted, and that a finalizer holds: it stops, and nothing new begins.

Each takes a ReconcileContext and returns a Plan, or None to leave the decision to the next. None calls another.
"""

from kubedistill.stages import LIVE
from kubedistill_operator.decisions.context import ReconcileContext
from kubedistill_operator.decisions.ends import ask_to_leave, come_to_rest
from kubedistill_operator.plan import Deletion, Plan


def leave_orphaned(context: ReconcileContext) -> Plan | None:
    """Whoever deletes with `--cascade=orphan` wants the children to go on; they are the job's no more."""
    child = context.observed.attempt.child
    if not context.job.orphans and (child is None or child.is_owned):
        return None
    return Plan(why=("the job is being deleted, and its children are to stay",))


def stop_deleted(context: ReconcileContext) -> Plan | None:
    """Nobody waits for what a deleted job makes: its driver saves and leaves, as if it were suspended."""
    return ask_to_leave(context, reason="Deleted")


def delete_children(context: ReconcileContext) -> Plan | None:
    """Delete the children that nobody needs to wait for; the garbage collector would, and waits for the finalizer."""
    stage = context.current
    leaves = stage is not None and stage.state in LIVE
    attempts = (*context.observed.earlier, *(() if leaves else (context.observed.attempt,)))
    found = [one.child for one in attempts if one.child is not None]
    due = tuple(Deletion.of(one) for one in found if one.is_owned and not one.deleting)
    return Plan(delete=due, requeue_after=0, why=("the children are deleted",)) if due else None


def rest_deleted(context: ReconcileContext) -> Plan:
    """Say what the deletion waits for; all else is done."""
    finalizers = ", ".join(context.job.finalizers)
    message = f"nothing of it runs any more; it is gone once its finalizers are removed: {finalizers}"
    status = come_to_rest(context, context.status, reason="Deleted", message=message)
    return Plan(status=status, why=(message,))
