"""Deciders about attempts that must stop: at the run's deadline, and until their child and pods are gone.

Each takes a ReconcileContext and returns a Plan, or None to leave the decision to the next. None calls another.
"""

from kubedistill_operator.clock import seconds_since
from kubedistill_operator.decisions.accounting import active_seconds, count_usage
from kubedistill_operator.decisions.context import ReconcileContext
from kubedistill_operator.decisions.ends import GRACEFUL, end_attempt, fail_run
from kubedistill_operator.decisions.results import valid_result
from kubedistill_operator.names import out_name
from kubedistill_operator.observed import Child
from kubedistill_operator.plan import Deletion, Plan, StopRequest
from kubedistill_operator.status import with_stage

STOP_SECONDS = 60


def enforce_deadline(context: ReconcileContext) -> Plan | None:
    """End a run that had an admitted child for longer than activeDeadlineSeconds."""
    spec = context.live_spec or (context.run.spec if context.run else None)
    limit = spec.active_deadline_seconds if spec else None
    run = context.status.run
    if limit is None or run is None or context.current is None:
        return None
    if (active := active_seconds(context)) < limit:
        return None
    message = f"the run was active for {active:.0f} s, and activeDeadlineSeconds is {limit}"
    return fail_run(context, reason="DeadlineExceeded", message=message)


def finish_stopping(context: ReconcileContext) -> Plan | None:
    """Stop an attempt: give the driver time to save if it was asked to, delete the child, and wait for its pods."""
    stage = context.current
    if stage is None or stage.state != "Stopping":
        return None
    attempt = context.observed.attempt
    child, channel = attempt.child, attempt.channel
    if stage.reason in GRACEFUL and child is not None and child.state == "Running" and valid_result(context) is None:
        waited = seconds_since(stage.ended_at, context.now)
        if waited < STOP_SECONDS:
            not_asked = channel is not None and not channel.stop
            stop = StopRequest(out_name(stage.child)) if not_asked else None
            return Plan(stop=stop, requeue_after=STOP_SECONDS - waited, why=("the driver is saving",))
    if child is not None:
        return _delete_child(context, child)
    if context.runs(attempt):
        return Plan(requeue_after=5, why=("pods of the attempt still run",))
    if stage.reason in GRACEFUL:
        result = valid_result(context)
        message = result.message if result is not None and result.message else "stopped without a final message"
        return end_attempt(context, "Stopped", reason=stage.reason, message=message)
    status = with_stage(count_usage(context, has_child=False), stage.name, state="Pending")
    return Plan(status=status, requeue_after=0, why=(f"attempt {stage.attempt} is gone",))


def _delete_child(context: ReconcileContext, child: Child) -> Plan:
    """Delete the child, once, and account for the GPUs that a driver without a result has held until now."""
    if child.deleting:
        return Plan(requeue_after=5, why=(f"{child.name} is being deleted",))
    deletion = Deletion.of(child)
    status = count_usage(context, has_ended=True)
    return Plan(status=status, delete=(deletion,), requeue_after=5, why=(f"{child.name} is deleted",))
