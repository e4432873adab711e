"""Deciders about a job that is being deleted and held by a finalizer: stop its work, and start nothing.

Each takes a ReconcileContext and returns a Plan, or None to leave the decision to the next. None calls another.
"""

from kubedistill.stages import LIVE
from kubedistill_operator.decisions.context import ReconcileContext
from kubedistill_operator.decisions.ends import request_stop, set_at_rest
from kubedistill_operator.plan import Deletion, Plan


def leave_orphaned(context: ReconcileContext) -> Plan | None:
    """Leave the children of a job that is deleted with `--cascade=orphan`: they no longer belong to it."""
    child = context.observed.attempt.child
    if not context.job.orphans and (child is None or child.is_owned):
        return None
    return Plan(why=("the job is being deleted, and its children stay",))


def stop_deleted(context: ReconcileContext) -> Plan | None:
    """Ask the driver of a deleted job to save and stop, as for a suspended job."""
    return request_stop(context, reason="Deleted")


def delete_children(context: ReconcileContext) -> Plan | None:
    """Delete children that nothing waits for; the garbage collector would do so only after the finalizer is removed."""
    stage = context.current
    is_live = stage is not None and stage.state in LIVE
    attempts = (*context.observed.earlier, *(() if is_live else (context.observed.attempt,)))
    found = [one.child for one in attempts if one.child is not None]
    due = tuple(Deletion.of(one) for one in found if one.is_owned and not one.deleting)
    return Plan(delete=due, requeue_after=0, why=("the children are deleted",)) if due else None


def report_deletion(context: ReconcileContext) -> Plan:
    """Report that everything is done, and which finalizers hold the job."""
    finalizers = ", ".join(context.job.finalizers)
    message = f"nothing of it runs anymore; it will be gone once its finalizers are removed: {finalizers}"
    status = set_at_rest(context, context.status, reason="Deleted", message=message)
    return Plan(status=status, why=(message,))
