"""Deciders about attempts that fail: record a lost driver, wait for a result, and charge the failure to its cause.

Each takes a ReconcileContext and returns a Plan, or None to leave the decision to the next. None calls another.
"""

from dataclasses import replace

from kubedistill.stages import WORKING, new_stages
from kubedistill.v1alpha1 import StageStatus
from kubedistill_operator.clock import seconds_since, stamp
from kubedistill_operator.decisions.accounting import charge, count_usage, is_spent
from kubedistill_operator.decisions.causes import (
    OOM_KILLED,
    Cause,
    Evidence,
    FailureCause,
    cause_of_evidence,
    cause_of_result,
    choose_strongest,
)
from kubedistill_operator.decisions.context import ReconcileContext
from kubedistill_operator.decisions.diagnosis import (
    LOOPING_RESTARTS,
    describe_loop,
    describe_replaced,
    find_crashed,
    find_loop,
)
from kubedistill_operator.decisions.ends import end_attempt, fail_run
from kubedistill_operator.decisions.results import valid_result
from kubedistill_operator.observed import Attempt
from kubedistill_operator.plan import Event, Plan
from kubedistill_operator.status import with_run, with_stage

_GRACE_SECONDS = 30
"""How long to wait for the result of an attempt after its child has ended."""
_KEPT = (
    "attempt", "restarts", "gpu_seconds", "latest_gpu_seconds", "idle_gpu_seconds", "latest_idle_gpu_seconds",
    "endpoint_dollars", "latest_endpoint_dollars",
)  # fmt: skip
"""What a stage keeps when it starts from the beginning."""


def record_restart(context: ReconcileContext) -> Plan | None:
    """Charge each further driver of an attempt, one per reconcile; only the channel reports them.

    The head was lost to infrastructure, unless its container shows that it ran out of memory.
    """
    stage, channel, run = context.current, context.observed.attempt.channel, context.run
    if stage is None or stage.state not in WORKING or channel is None or run is None:
        return None
    number = max(1, stage.starts) + 1
    if channel.starts < number:
        return None
    killed = next((pod for pod in context.observed.attempt.pods if pod.exit_reason == OOM_KILLED), None)
    cause: Cause = "infrastructure" if killed is None else "failure"
    why = "" if killed is None else f": pod {killed.name} used more memory than its limit"
    restarts = charge(stage.restarts, cause)
    if is_spent(context, restarts, cause) and valid_result(context) is None:
        message = f"driver {number - 1} was lost, and the budget is spent{why}"
        reason = "DriverRestarted" if killed is None else "OutOfMemory"
        return end_attempt(context, "Failed", reason=reason, message=message, cause=cause, starts=number)
    status = with_stage(count_usage(context), stage.name, starts=number, restarts=restarts)
    message = f"{stage.name} attempt {stage.attempt}: driver {number} continues after driver {number - 1} was lost{why}"
    event = Event("DriverRestarted", message, "Warning", about=str(number))
    return Plan(status=status, events=(event,), requeue_after=0, why=(message,))


def record_failure(context: ReconcileContext) -> Plan | None:
    """Charge an attempt that ended without success to its cause, once, and retry while the budget lasts."""
    stage = context.current
    if stage is None or stage.state not in WORKING:
        return None
    failure = _find_cause(context, stage)
    if failure is None:
        return None
    if failure.reason == "ArtifactMissing":
        return _rebuild(context, failure)
    return end_attempt(context, "Failed", reason=failure.reason, message=failure.message, cause=failure.cause)


def wait_for_result(context: ReconcileContext) -> Plan | None:
    """Wait for the result of a child that ended or disappeared, for a grace period.

    Record the evidence of its pods at once: a RayJob's pods are gone before the grace period is over.
    """
    stage, child = context.current, context.observed.attempt.child
    if stage is None or stage.state not in WORKING or not stage.child_uid or valid_result(context) is not None:
        return None
    if child is not None and child.uid == stage.child_uid and context.observed.attempt.is_live:
        return None
    ended_at, failure = stage.ended_at or stamp(context.now), _judge_evidence(context, stage)
    left = _GRACE_SECONDS - seconds_since(ended_at, context.now)
    if left <= 0:
        return None
    status = with_stage(context.status, stage.name, ended_at=ended_at, reason=failure.reason, message=failure.message)
    return Plan(status=status, requeue_after=left, why=(f"{stage.child} ended without a result: {failure.reason}",))


def _find_cause(context: ReconcileContext, stage: StageStatus) -> FailureCause | None:
    """Return why the attempt ended; None while it may still succeed."""
    result, attempt = valid_result(context), context.observed.attempt
    if result is not None:
        return None if result.outcome == "Succeeded" else cause_of_result(result)
    if not stage.child_uid:
        return None
    if attempt.child is not None and attempt.child.uid == stage.child_uid and attempt.is_live:
        return _find_loop(attempt)
    if not stage.ended_at or seconds_since(stage.ended_at, context.now) < _GRACE_SECONDS:
        return None
    return _judge_evidence(context, stage)


def _find_loop(attempt: Attempt) -> FailureCause | None:
    """Return CrashLooping if a container keeps ending before its child runs, in place or in replacement pods."""
    if attempt.child is None or attempt.child.state != "Waiting":
        return None
    if len(crashed := find_crashed(attempt)) >= LOOPING_RESTARTS:
        return FailureCause("failure", "CrashLooping", describe_replaced(crashed))
    pod = find_loop(attempt.pods)
    if pod is None or pod.restarts < LOOPING_RESTARTS:
        return None
    return FailureCause("failure", "CrashLooping", describe_loop(pod))


def _judge_evidence(context: ReconcileContext, stage: StageStatus) -> FailureCause:
    """Return what the evidence shows of an attempt that is over, or what it showed before pods were removed."""
    child, pods = context.observed.attempt.child, context.observed.attempt.pods
    failure = cause_of_evidence(Evidence(child if child is not None and child.uid == stage.child_uid else None, pods))
    return choose_strongest(failure, reason=stage.reason if stage.ended_at else "", message=stage.message)


def _rebuild(context: ReconcileContext, failure: FailureCause) -> Plan:
    """Create a missing artifact again, once per run: Prepare checks what exists, and the other stages follow."""
    run = context.status.run
    assert run is not None
    if run.rebuilt:
        return fail_run(context, reason=failure.reason, message=f"{failure.message}; it disappeared twice")
    plan = end_attempt(context, "Failed", reason=failure.reason, message=failure.message)
    assert plan.status is not None, "the end of an attempt writes a status"
    old = {stage.name: stage for stage in plan.status.stages}
    stages = tuple(
        fresh.model_copy(update={name: getattr(old[fresh.name], name) for name in _KEPT}) for fresh in new_stages()
    )
    status = with_run(plan.status, rebuilt=True, counted_at="").model_copy(update={"stages": stages})
    return replace(plan, status=status, events=(*plan.events, Event("Rebuilding", failure.message, "Warning")))
