"""Deciders about how an attempt ended: success, failure by its cause, deadlines, and the way out.

Each takes a ReconcileContext and returns a Plan, or None to leave the decision to the next. None calls another.
"""

from dataclasses import replace

from pydantic import ValidationError

from kubedistill.contract import StageResult
from kubedistill.contract.summaries import EvaluateSummary, Headline, PrepareSummary
from kubedistill.stages import LIVE, WORKING, new_stages
from kubedistill.v1alpha1 import ArtifactStatus, Result, StageStatus
from kubedistill_operator.clock import seconds_since, stamp
from kubedistill_operator.decisions.causes import (
    OOM_KILLED,
    Cause,
    Evidence,
    FailureCause,
    cause_of_evidence,
    cause_of_result,
    strongest,
)
from kubedistill_operator.decisions.context import ReconcileContext
from kubedistill_operator.decisions.diagnosis import (
    LOOPING_RESTARTS,
    describe_loop,
    describe_replaced,
    find_crashed,
    find_loop,
)
from kubedistill_operator.decisions.ends import (
    GRACEFUL,
    account,
    active_seconds,
    charge,
    end_attempt,
    fail_run,
    is_spent,
)
from kubedistill_operator.names import attempt_token, out_name
from kubedistill_operator.observed import Attempt, Child
from kubedistill_operator.plan import Deletion, Event, Plan, StopRequest
from kubedistill_operator.status import with_run, with_stage

GRACE_SECONDS, STOP_SECONDS = 30, 60
_KEPT = ("attempt", "restarts", "gpu_seconds", "latest_gpu_seconds")
"""What a stage that begins anew keeps of what it has had."""
_DIGITS = 6
"""Decimals of a figure in the status, which is read by people too."""


def record_restart(context: ReconcileContext) -> Plan | None:
    """Charge each further driver of an attempt, one at a time; only the channel tells of them.

    The head was lost to infrastructure, unless its container shows that it was killed for its memory.
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
        message = f"driver {number - 1} was lost, and the budget with it{why}"
        reason = "DriverRestarted" if killed is None else "OutOfMemory"
        return end_attempt(context, "Failed", reason=reason, message=message, cause=cause, starts=number)
    status = with_stage(account(context), stage.name, starts=number, restarts=restarts)
    message = f"{stage.name} attempt {stage.attempt}: driver {number} goes on where the one before it was lost{why}"
    event = Event("DriverRestarted", message, "Warning", about=str(number))
    return Plan(status=status, events=(event,), requeue_after=0, why=(message,))


def record_success(context: ReconcileContext) -> Plan | None:
    """A valid result of the current owner decides, whatever the child says of itself."""
    stage, result, channel = context.current, valid_result(context), context.observed.attempt.channel
    if stage is None or result is None or result.outcome != "Succeeded" or stage.state not in LIVE:
        return None
    plan = end_attempt(
        context,
        "Succeeded",
        message=result.message,
        percent=100,
        eta_seconds=0.0,
        starts=max(stage.starts, channel.starts) if channel is not None else stage.starts,
    )
    status = plan.status
    assert status is not None, "an end is written down"
    found = {one.name: one for one in status.run.artifacts} if status.run else {}
    found |= {
        name: ArtifactStatus(name=name, key=ref.key, complete=ref.complete, uri=ref.uri)
        for name, ref in result.artifacts.items()
    }
    status = with_run(status, artifacts=tuple(found.values()))
    judged = _headline(stage, result)
    if judged is not None:
        status = status.model_copy(update={"result": make_result(judged)})
    plan = replace(plan, status=status)
    if stage.name == "Evaluate" and (judged is None or judged.gate is None or not judged.gate.passed):
        return fail_run(context, reason="EvaluationGate", message=_gate_message(judged), after=plan)
    return plan


def enforce_deadline(context: ReconcileContext) -> Plan | None:
    """End a run that had an admitted child for longer than it may."""
    spec = context.live_spec or (context.run.spec if context.run else None)
    limit = spec.active_deadline_seconds if spec else None
    run = context.status.run
    if limit is None or run is None or context.current is None:
        return None
    if (active := active_seconds(context)) < limit:
        return None
    message = f"the run was active for {active:.0f} s, and activeDeadlineSeconds is {limit}"
    return fail_run(context, reason="DeadlineExceeded", message=message)


def record_failure(context: ReconcileContext) -> Plan | None:
    """Charge an attempt that ended without success to its cause, once, and retry while the budget lasts."""
    stage = context.current
    if stage is None or stage.state not in WORKING:
        return None
    failure = _find_cause(context, stage)
    if failure is None:
        return None
    if failure.reason == "ArtifactMissing":
        return _rewind(context, failure)
    return end_attempt(context, "Failed", reason=failure.reason, message=failure.message, cause=failure.cause)


def note_end(context: ReconcileContext) -> Plan | None:
    """A child that ended or vanished has a grace: the driver's last word may still be on its way.

    What its pods show is written down at once, since a RayJob's pods are gone before the grace is over.
    """
    stage, child = context.current, context.observed.attempt.child
    if stage is None or stage.state not in WORKING or not stage.child_uid or valid_result(context) is not None:
        return None
    if child is not None and child.uid == stage.child_uid and context.observed.attempt.is_live:
        return None
    ended_at, failure = stage.ended_at or stamp(context.now), _seen(context, stage)
    left = GRACE_SECONDS - seconds_since(ended_at, context.now)
    if left <= 0:
        return None
    status = with_stage(context.status, stage.name, ended_at=ended_at, reason=failure.reason, message=failure.message)
    return Plan(status=status, requeue_after=left, why=(f"{stage.child} ended without a result: {failure.reason}",))


def finish_stopping(context: ReconcileContext) -> Plan | None:
    """Bring an attempt to its end: time to save where that was asked for, then delete the child, then wait for pods."""
    stage = context.current
    if stage is None or stage.state != "Stopping":
        return None
    attempt = context.observed.attempt
    child, channel = attempt.child, attempt.channel
    if stage.reason in GRACEFUL and child is not None and child.state == "Running" and valid_result(context) is None:
        waited = seconds_since(stage.ended_at, context.now)
        if waited < STOP_SECONDS:
            unasked = channel is not None and not channel.stop
            stop = StopRequest(out_name(stage.child)) if unasked else None
            return Plan(stop=stop, requeue_after=STOP_SECONDS - waited, why=("the driver is saving",))
    if child is not None:
        return _delete_child(context, child)
    if context.runs(attempt):
        return Plan(requeue_after=5, why=("pods of the old attempt still run",))
    if stage.reason in GRACEFUL:
        said = valid_result(context)
        message = said.message if said is not None and said.message else "ended without a last word"
        return end_attempt(context, "Stopped", reason=stage.reason, message=message)
    status = with_stage(account(context, has_child=False), stage.name, state="Pending")
    return Plan(status=status, requeue_after=0, why=(f"attempt {stage.attempt} is gone",))


def _delete_child(context: ReconcileContext, child: Child) -> Plan:
    """Delete the child, once, with what a driver that says nothing has held until now in the accounts."""
    if child.deleting:
        return Plan(requeue_after=5, why=(f"{child.name} is being deleted",))
    deletion = Deletion.of(child)
    status = account(context, has_ended=True)
    return Plan(status=status, delete=(deletion,), requeue_after=5, why=(f"{child.name} is deleted",))


def valid_result(context: ReconcileContext) -> StageResult | None:
    """The current attempt's result, if the driver that owns the attempt wrote it."""
    stage, channel = context.current, context.observed.attempt.channel
    if stage is None or not stage.child or channel is None or channel.result is None:
        return None
    owner = f"{attempt_token(stage.child, uid=context.job.uid)}:{channel.result.driver}"
    return channel.result if channel.owner == owner else None


def _headline(stage: StageStatus, result: StageResult) -> Headline | None:
    """The headline of the report that a stage has made, or found; None where it speaks of none."""
    try:
        if stage.name == "Evaluate":
            return result.read_summary(EvaluateSummary)
        return result.read_summary(PrepareSummary).report if stage.name == "Prepare" else None
    except ValidationError:  # whoever may write the channel wrote it, and harms its own job alone
        return None


def make_result(judged: Headline) -> Result:
    """The figures of a headline, as people read them."""
    found = {name: getattr(judged, name) for name in Result.model_fields if name != "gate_passed"}
    figures: dict[str, float | None] = {
        name: None if value is None else round(value, _DIGITS) for name, value in found.items()
    }
    return Result(**figures, gate_passed=None if judged.gate is None else judged.gate.passed)


def _gate_message(judged: Headline | None) -> str:
    reasons = judged.gate.reasons if judged is not None and judged.gate is not None else []
    return "; ".join(reasons) or "the result does not say that it passed"


def _find_cause(context: ReconcileContext, stage: StageStatus) -> FailureCause | None:
    """Why the attempt ended; None while it may still succeed."""
    result, attempt = valid_result(context), context.observed.attempt
    if result is not None:
        return None if result.outcome == "Succeeded" else cause_of_result(result)
    if not stage.child_uid:
        return None
    if attempt.child is not None and attempt.child.uid == stage.child_uid and attempt.is_live:
        return _find_loop(attempt)
    if not stage.ended_at or seconds_since(stage.ended_at, context.now) < GRACE_SECONDS:
        return None
    return _seen(context, stage)


def _find_loop(attempt: Attempt) -> FailureCause | None:
    """A container that ends again and again before its child runs will do so for ever, in place or in a new pod."""
    if attempt.child is None or attempt.child.state != "Waiting":
        return None
    if len(crashed := find_crashed(attempt)) >= LOOPING_RESTARTS:
        return FailureCause("failure", "CrashLooping", describe_replaced(crashed))
    pod = find_loop(attempt.pods)
    if pod is None or pod.restarts < LOOPING_RESTARTS:
        return None
    return FailureCause("failure", "CrashLooping", describe_loop(pod))


def _seen(context: ReconcileContext, stage: StageStatus) -> FailureCause:
    """What the evidence shows of an attempt that is over, or showed while there was more of it."""
    child, pods = context.observed.attempt.child, context.observed.attempt.pods
    failure = cause_of_evidence(Evidence(child if child is not None and child.uid == stage.child_uid else None, pods))
    return strongest(failure, reason=stage.reason if stage.ended_at else "", message=stage.message)


def _rewind(context: ReconcileContext, failure: FailureCause) -> Plan:
    """Make a vanished artifact again, once per run: Prepare looks at what is there, the rest follows."""
    run = context.status.run
    assert run is not None
    if run.rewound:
        return fail_run(context, reason=failure.reason, message=f"{failure.message}; it vanished twice")
    plan = end_attempt(context, "Failed", reason=failure.reason, message=failure.message)
    assert plan.status is not None, "an end is written down"
    old = {stage.name: stage for stage in plan.status.stages}
    stages = tuple(
        fresh.model_copy(update={name: getattr(old[fresh.name], name) for name in _KEPT}) for fresh in new_stages()
    )
    status = with_run(plan.status, rewound=True, counted_at="").model_copy(update={"stages": stages})
    return replace(plan, status=status, events=(*plan.events, Event("Rewound", failure.message, "Warning")))
