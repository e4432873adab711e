"""Deciders about a job that is being deleted, and that a finalizer holds: it stops, and nothing new begins.

Each takes a Situation and gives a Plan, or None where it has nothing to say. None calls another.
"""

from kubedistill.stages import LIVE
from kubedistill_operator.decisions.ends import ask_to_leave, come_to_rest
from kubedistill_operator.decisions.situation import Situation
from kubedistill_operator.plan import Deletion, Plan


def leave_orphaned(situation: Situation) -> Plan | None:
    """Whoever deletes with `--cascade=orphan` wants the children to go on; they are the job's no more."""
    child = situation.observed.attempt.child
    if not situation.job.orphans and (child is None or child.is_owned):
        return None
    return Plan(why=("the job is being deleted, and its children are to stay",))


def stop_deleted(situation: Situation) -> Plan | None:
    """Nobody waits for what a deleted job makes: its driver saves and leaves, as if it were suspended."""
    return ask_to_leave(situation, reason="Deleted")


def delete_children(situation: Situation) -> Plan | None:
    """Delete the children that nobody needs to wait for; the garbage collector would, and waits for the finalizer."""
    stage = situation.current
    leaves = stage is not None and stage.state in LIVE
    attempts = (*situation.observed.earlier, *(() if leaves else (situation.observed.attempt,)))
    found = [one.child for one in attempts if one.child is not None]
    due = tuple(Deletion.of(one) for one in found if one.is_owned and not one.deleting)
    return Plan(delete=due, requeue_after=0, why=("the children are deleted",)) if due else None


def rest_deleted(situation: Situation) -> Plan:
    """Say what the deletion waits for; all else is done."""
    finalizers = ", ".join(situation.job.finalizers)
    message = f"nothing of it runs any more; it is gone once its finalizers are removed: {finalizers}"
    status = come_to_rest(situation, situation.status, reason="Deleted", message=message)
    return Plan(status=status, why=(message,))
