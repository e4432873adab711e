"""Deciders about an attempt that waits: why it waits, and for how long it may.

Each takes a ReconcileContext and returns a Plan, or None to leave the decision to the next. None calls another.
"""

from collections.abc import Sequence

from kubedistill.chain import CHAIN
from kubedistill.stages import WORKING
from kubedistill.v1alpha1 import StageStatus, Status
from kubedistill_operator.children.child_kinds import child_kind, child_kinds
from kubedistill_operator.clock import seconds_since, stamp
from kubedistill_operator.decisions.accounting import counted_at
from kubedistill_operator.decisions.context import ReconcileContext
from kubedistill_operator.decisions.diagnosis import (
    KUBERAY_ABSENT,
    Finding,
    describe_running_pods,
    diagnose,
    find_refusal,
)
from kubedistill_operator.decisions.ends import GRACEFUL, fail_run
from kubedistill_operator.decisions.stopping import STOP_SECONDS
from kubedistill_operator.observed import DELAYED, Attempt
from kubedistill_operator.plan import Event, Plan
from kubedistill_operator.status import with_run, with_stage, without_conditions

_LOOK_SECONDS, _QUEUE_SECONDS, _STEP_SECONDS, _MOMENT_SECONDS = 15, 30, 5, 2
_COMING_UP_SECONDS = 60
"""How long a Ray cluster may take to start once its pods have nodes: probes begin after 10 s, on the head first."""
_MOST_SECONDS, _SHARE = 300, 4
"""A refused write is repeated after a share of the time since the first refusal, and after at most so many seconds."""
_ENDING_SECONDS = 60
"""How long pods may use their grace period before they are reported; Kubernetes gives 30 s by default."""
_NEVER_SEEN = "never seen"
_OVERDUE = "PreRunningDeadlineExceeded"
"""KubeRay's reason for a RayJob that did not run within schedulingTimeoutSeconds; KubeRay may check before us."""


def wait_after_refusal(context: ReconcileContext) -> Plan | None:
    """Repeat a write that the API server refuses; end the run at schedulingTimeoutSeconds, as for other waits.

    A write that the server cannot process for now never ends the run.
    """
    refusal, stage = context.observed.refusal, context.current
    spec = context.run.spec if context.run is not None else context.live_spec
    if refusal is None or stage is None or spec is None:
        return None
    if refusal.is_passing and seconds_since(_asked_since(context, stage), context.now) < _LOOK_SECONDS:
        return Plan(requeue_after=_MOMENT_SECONDS, why=(refusal.message,))
    if refusal.reason == DELAYED:
        return _report_wait(context, context.status, reason=DELAYED, message=refusal.message, seconds=_LOOK_SECONDS)
    reason = refusal.reason or find_refusal(refusal.message, otherwise="WriteRefused")
    limit = spec.scheduling_timeout_seconds
    return wait_for_obstacle(context, stage, reason=reason, message=refusal.message, limit=limit)


def adopt_child(context: ReconcileContext) -> Plan | None:
    """Record the child's uid once the child is complete; from then on its absence means that it disappeared.

    A child that came and went unseen is known by its driver, which has started.
    """
    run, stage, attempt = context.status.run, context.current, context.observed.attempt
    if run is None or stage is None or stage.state != "Starting" or not (attempt.is_whole or attempt.has_started):
        return None
    unseen = stage.child_uid or (_NEVER_SEEN if attempt.has_started else "")
    uid = attempt.child.uid if attempt.child is not None else unseen
    if uid == stage.child_uid:
        return None
    status = with_stage(context.status, stage.name, child_uid=uid, reason="", message="starting")
    status = with_run(status, begun_at=run.begun_at or stamp(context.now))
    status = context.set_condition(status, "Progressing", "True", reason=stage.name)
    return Plan(status=status, requeue_after=0, why=(f"{stage.child} exists, or existed",))


def note_admission(context: ReconcileContext) -> Plan | None:
    """Record that a queue has admitted the child; a child that ended before it was seen is known by its driver."""
    stage, attempt = context.current, context.observed.attempt
    quota = context.status.condition("QuotaReserved")
    if stage is None or stage.state not in WORKING or quota is None or quota.status == "True":
        return None
    if not (attempt.child.admitted if attempt.child is not None else attempt.has_started):
        return None
    status = context.set_condition(context.status, "QuotaReserved", "True", reason="Admitted")
    return Plan(status=status, requeue_after=0, why=("the child is admitted",))


def wait_in_queue(context: ReconcileContext) -> Plan | None:
    """Wait without limit while a queue holds the child back."""
    stage, child = context.current, context.observed.attempt.child
    if stage is None or stage.state != "Starting" or child is None or child.admitted:
        return None
    status = context.set_condition(
        context.status, "QuotaReserved", "False", reason="Pending", message="waiting in the queue"
    )
    status = with_stage(status, stage.name, message="waiting in the queue")
    return Plan(status=status, requeue_after=_QUEUE_SECONDS, why=("the queue has not admitted the child",))


def wait_for_pods(context: ReconcileContext) -> Plan | None:
    """Report within seconds why an admitted child does not run; end the run at schedulingTimeoutSeconds."""
    stage, child = context.current, context.observed.attempt.child
    if stage is None or stage.state != "Starting" or child is None or child.state != "Waiting":
        return None
    assert context.run is not None
    found = diagnose(child, context.observed.attempt, context=context)
    reason, message = found.reason, found.message
    limit = context.run.spec.scheduling_timeout_seconds
    waited = seconds_since(counted_at(context), context.now)  # without time in a queue, or waiting for the API server
    if waited >= limit:
        return _give_up(context, reason=reason, message=message, limit=limit)
    status = with_run(context.status, counted_at=counted_at(context))
    if _has_returned(context, found):
        status = with_stage(status, stage.name, reason="")
        status = context.set_condition(status, "Progressing", "True", reason=stage.name)
    progressing = status.condition("Progressing")
    if progressing is not None and progressing.status == "True":
        waited = min(waited, seconds_since(progressing.last_transition_time, context.now))
    pods = context.observed.attempt.pods
    allowed = _COMING_UP_SECONDS if pods and all(pod.node for pod in pods) else _LOOK_SECONDS
    left = allowed - waited
    if found.is_usual and left > 0:
        status = with_stage(status, stage.name, message=message)
        return Plan(status=status, requeue_after=min(left, _LOOK_SECONDS), why=(message,))
    return _wait(context, status, stage, reason=reason, message=message, seconds=_LOOK_SECONDS)


def _has_returned(context: ReconcileContext, found: Finding) -> bool:
    """Return whether KubeRay, which was reported as absent, works on the child again, which then has its usual time."""
    known = context.status.condition("Progressing")
    was_absent = known is not None and (known.status, known.reason) == ("False", KUBERAY_ABSENT)
    return was_absent and found.is_usual and found.reason != KUBERAY_ABSENT


def end_overdue(context: ReconcileContext) -> Plan | None:
    """End a run whose child KubeRay ended at schedulingTimeoutSeconds, with the last reason for the wait."""
    stage, attempt = context.current, context.observed.attempt
    if stage is None or stage.state != "Starting" or attempt.child is None or attempt.has_started:
        return None
    child, run = attempt.child, context.run
    if run is None or child.uid != stage.child_uid or (child.state, child.reason) != ("Ended", _OVERDUE):
        return None
    message = stage.message if stage.reason else child.message
    limit = run.spec.scheduling_timeout_seconds
    return _give_up(context, reason=stage.reason or "WaitingForNodes", message=message, limit=limit)


def report_stopping(context: ReconcileContext) -> Plan | None:
    """Report an attempt whose child or pods remain after it was stopped, and after its time to save."""
    stage, attempt = context.current, context.observed.attempt
    if stage is None or stage.state != "Stopping" or not context.runs(attempt):
        return None
    if attempt.child is not None and not attempt.child.deleting:
        return None
    saving = STOP_SECONDS if stage.reason in GRACEFUL else 0
    waited = seconds_since(stage.ended_at, context.now) - saving
    if waited < _LOOK_SECONDS or _are_ending([attempt], context=context, waited=waited):
        return None
    found = describe_running_pods(attempt, context=context, waited=waited)
    return _report_wait(
        context,
        context.status,
        reason=found.reason,
        message=found.message,
        seconds=_LOOK_SECONDS,
        about=found.reason,
    )


def wait_for_earlier_pods(context: ReconcileContext) -> Plan | None:
    """Wait for pods of earlier attempts that block a new one; give up after schedulingTimeoutSeconds."""
    stage, remains = context.current, _blocking_attempts(context)
    if stage is None or not remains:
        return None
    waited = seconds_since(_over_since(context), context.now)
    if waited < _LOOK_SECONDS or _are_ending(remains, context=context, waited=waited):
        left = _LOOK_SECONDS - waited
        again = min(_STEP_SECONDS, left) if left > 0 else _STEP_SECONDS
        return Plan(requeue_after=again, why=("pods of an earlier attempt still run",))
    found = describe_running_pods(remains[0], context=context, waited=waited)
    limit = context.run.spec.scheduling_timeout_seconds if context.run is not None else None
    # Pods of a lost node count as gone after node_lost_seconds, which ends the wait: do not give up before.
    if limit is not None and waited >= max(limit, context.settings.node_lost_seconds + _LOOK_SECONDS):
        return _give_up(context, reason=found.reason, message=found.message, limit=limit)
    return _report_wait(
        context,
        context.status,
        reason=found.reason,
        message=found.message,
        seconds=_LOOK_SECONDS,
        about=found.reason,
    )


def wait_for_obstacle(
    context: ReconcileContext, stage: StageStatus, *, reason: str, message: str, limit: float
) -> Plan:
    """Wait for people to remove what blocks an attempt, for at most `limit` seconds."""
    known, status = context.status.condition("Progressing"), context.status
    if known is not None and known.reason == DELAYED:  # a delayed write does not count as waiting
        known, status = None, without_conditions(status, "Progressing")
    since = known.last_transition_time if known is not None and known.status == "False" else stamp(context.now)
    waited = seconds_since(since, context.now)
    if waited >= limit:
        return _give_up(context, reason=reason, message=message, limit=limit)
    again = min(max(_LOOK_SECONDS, waited / _SHARE), _MOST_SECONDS, limit - waited)
    return _wait(context, status, stage, reason=reason, message=message, seconds=again)


def _wait(
    context: ReconcileContext, status: Status, stage: StageStatus, *, reason: str, message: str, seconds: float
) -> Plan:
    """Report why an attempt waits, in its stage too, and check again later."""
    status = with_stage(status, stage.name, reason=reason, message=message)
    return _report_wait(context, status, reason=reason, message=message, seconds=seconds)


def _report_wait(
    context: ReconcileContext, status: Status, *, reason: str, message: str, seconds: float, about: str = ""
) -> Plan:
    """Report why the run does not continue, with an Event if the reason is new, and check again later.

    Waits with another `about` have Events of their own; reasons seen during startup have one Event per attempt.
    """
    known = context.status.condition("Progressing")
    is_known = known is not None and known.status == "False" and known.reason == reason
    status = context.set_condition(status, "Progressing", "False", reason=reason, message=message)
    events = () if is_known else (Event("Waiting", f"{reason}: {message}", "Warning", about=about),)
    return Plan(status=status, events=events, requeue_after=seconds, why=(f"waiting: {reason}",))


def _give_up(context: ReconcileContext, *, reason: str, message: str, limit: float) -> Plan:
    """End a run that has waited too long."""
    message = f"{message}; this lasted longer than schedulingTimeoutSeconds {limit:.0f}"
    return fail_run(context, reason=reason, message=message)


def _blocking_attempts(context: ReconcileContext) -> list[Attempt]:
    """Return the attempts that must be gone before the next one begins.

    Prepare, which begins a run or begins it again, waits for all. A Ray cluster waits for the GPUs of other Ray
    clusters. A stage without GPUs starts at once.
    """
    stage = context.current
    if stage is None or stage.state != "Pending":
        return []
    running = [attempt for attempt in context.observed.earlier if context.runs(attempt)]
    if stage.name == CHAIN[0].name:
        return running
    spec = context.run.spec if context.run is not None else context.live_spec
    kind = child_kinds(stage.name)[0] if spec is None else child_kind(stage.name, spec)
    return [attempt for attempt in running if not attempt.is_job] if kind == "RayJob" else []


def _are_ending(attempts: Sequence[Attempt], *, context: ReconcileContext, waited: float) -> bool:
    """Return whether each remaining pod was deleted and is within its grace period, as when a Ray cluster ends."""
    lost = context.settings.node_lost_seconds
    pods = [pod for attempt in attempts for pod in attempt.pods if not pod.is_gone(context.now, node_lost_seconds=lost)]
    orderly = all(pod.ends_by is not None and context.now < pod.ends_by and pod.node_lost_since is None for pod in pods)
    return bool(pods) and orderly and waited < _ENDING_SECONDS


def _over_since(context: ReconcileContext) -> str:
    """Return since when no pods of earlier attempts should run."""
    run, suspended = context.status.run, context.status.condition("Suspended")
    times = [stage.ended_at for stage in context.status.stages]
    times += [run.started_at] if run is not None else []
    times += [suspended.last_transition_time] if suspended is not None else []
    return max(times)


def _asked_since(context: ReconcileContext, stage: StageStatus) -> str:
    """Return since when the current objects have been requested."""
    run = context.status.run
    times = {"Starting": stage.started_at, "Stopping": stage.ended_at}
    return times.get(stage.state) or (run.started_at if run is not None else stage.started_at)
