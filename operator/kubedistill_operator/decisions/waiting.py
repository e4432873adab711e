"""Deciders about an attempt that is under way: why it waits, and for how long it may.

Each takes a ReconcileContext and returns a Plan, or None to leave the decision to the next. None calls another.
"""

from collections.abc import Sequence

from kubedistill.chain import CHAIN
from kubedistill.stages import WORKING
from kubedistill.v1alpha1 import StageStatus, Status
from kubedistill_operator.children.layout import child_kind
from kubedistill_operator.clock import seconds_since, stamp
from kubedistill_operator.decisions.context import ReconcileContext
from kubedistill_operator.decisions.diagnosis import describe_remains, diagnose, find_refusal
from kubedistill_operator.decisions.ends import GRACEFUL, counted_at, fail_run
from kubedistill_operator.decisions.stopping import STOP_SECONDS
from kubedistill_operator.observed import DELAYED, Attempt
from kubedistill_operator.plan import Event, Plan
from kubedistill_operator.status import with_run, with_stage, without_conditions

_LOOK_SECONDS, _QUEUE_SECONDS, _STEP_SECONDS, _MOMENT_SECONDS = 15, 30, 5, 2
_COMING_UP_SECONDS = 60
"""What a Ray cluster may take once its pods are on nodes: its probes alone begin after 10 s, worker after head."""
_MOST_SECONDS, _SHARE = 300, 4
"""What is refused is tried again after a share of the time that it has been refused for, or after so many seconds."""
_ENDING_SECONDS = 60
"""For how long pods may use their grace period before they are named; Kubernetes gives 30 s by default."""
_NEVER_SEEN = "never seen"
_OVERDUE = "PreRunningDeadlineExceeded"
"""KubeRay's reason for a RayJob that did not run within schedulingTimeoutSeconds; it may look before we do."""


def wait_for_leave(context: ReconcileContext) -> Plan | None:
    """What the API server will not have made is tried again, and ends at schedulingTimeoutSeconds as other waits do.

    What it can't take for now ends nothing, however long that lasts.
    """
    refusal, stage = context.observed.refusal, context.current
    spec = context.run.spec if context.run is not None else context.live_spec
    if refusal is None or stage is None or spec is None:
        return None
    if refusal.is_passing and seconds_since(_asked_since(context, stage), context.now) < _LOOK_SECONDS:
        return Plan(requeue_after=_MOMENT_SECONDS, why=(refusal.message,))
    if refusal.reason == DELAYED:
        return _tell(context, context.status, reason=DELAYED, message=refusal.message, seconds=_LOOK_SECONDS)
    reason = refusal.reason or find_refusal(refusal.message, otherwise="WriteRefused")
    limit = spec.scheduling_timeout_seconds
    return wait_in_the_way(context, stage, reason=reason, message=refusal.message, limit=limit)


def adopt_child(context: ReconcileContext) -> Plan | None:
    """Record the child's uid once it is seen with all that it needs: from now on its absence means that it vanished.

    One that came and went while nobody looked is known by its driver, which has started.
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
    return Plan(status=status, requeue_after=0, why=(f"{stage.child} is there, or was",))


def note_admission(context: ReconcileContext) -> Plan | None:
    """A child that waited is let in; one that also ended before anybody looked is known by its driver."""
    stage, attempt = context.current, context.observed.attempt
    quota = context.status.condition("QuotaReserved")
    if stage is None or stage.state not in WORKING or quota is None or quota.status == "True":
        return None
    if not (attempt.child.admitted if attempt.child is not None else attempt.has_started):
        return None
    status = context.set_condition(context.status, "QuotaReserved", "True", reason="Admitted")
    return Plan(status=status, requeue_after=0, why=("the child is admitted",))


def wait_in_queue(context: ReconcileContext) -> Plan | None:
    """A child that a queue holds back waits without any limit."""
    stage, child = context.current, context.observed.attempt.child
    if stage is None or stage.state != "Starting" or child is None or child.admitted:
        return None
    status = context.set_condition(
        context.status, "QuotaReserved", "False", reason="Pending", message="waiting in the queue"
    )
    status = with_stage(status, stage.name, message="waiting in the queue")
    return Plan(status=status, requeue_after=_QUEUE_SECONDS, why=("the queue has not admitted the child",))


def wait_for_pods(context: ReconcileContext) -> Plan | None:
    """An admitted child that does not run says why within seconds, and ends at schedulingTimeoutSeconds."""
    stage, child = context.current, context.observed.attempt.child
    if stage is None or stage.state != "Starting" or child is None or child.state != "Waiting":
        return None
    assert context.run is not None
    found = diagnose(child, context.observed.attempt, context=context)
    reason, message = found.reason, found.message
    limit = context.run.spec.scheduling_timeout_seconds
    waited = seconds_since(counted_at(context), context.now)  # neither in a queue nor for the API server
    if waited >= limit:
        return _give_up(context, reason=reason, message=message, limit=limit)
    status = with_run(context.status, counted_at=counted_at(context))
    pods = context.observed.attempt.pods
    patience = _COMING_UP_SECONDS if pods and all(pod.node for pod in pods) else _LOOK_SECONDS
    left = patience - waited
    if found.is_usual and left > 0:
        status = with_stage(status, stage.name, message=message)
        return Plan(status=status, requeue_after=min(left, _LOOK_SECONDS), why=(message,))
    return _wait(context, status, stage, reason=reason, message=message, seconds=_LOOK_SECONDS)


def end_overdue(context: ReconcileContext) -> Plan | None:
    """A child that KubeRay ended before it ran has waited for as long as it may, for what was told of it last."""
    stage, attempt = context.current, context.observed.attempt
    if stage is None or stage.state != "Starting" or attempt.child is None or attempt.has_started:
        return None
    child, run = attempt.child, context.run
    if run is None or child.uid != stage.child_uid or (child.state, child.reason) != ("Ended", _OVERDUE):
        return None
    message = stage.message if stage.reason else child.message
    limit = run.spec.scheduling_timeout_seconds
    return _give_up(context, reason=stage.reason or "WaitingForNodes", message=message, limit=limit)


def wait_for_end(context: ReconcileContext) -> Plan | None:
    """An attempt that was ended and whose pods or child stay is named; it may have been asked to save before."""
    stage, attempt = context.current, context.observed.attempt
    if stage is None or stage.state != "Stopping" or not context.runs(attempt):
        return None
    if attempt.child is not None and not attempt.child.deleting:
        return None
    saving = STOP_SECONDS if stage.reason in GRACEFUL else 0
    waited = seconds_since(stage.ended_at, context.now) - saving
    if waited < _LOOK_SECONDS or _are_ending([attempt], context=context, waited=waited):
        return None
    found = describe_remains(attempt, context=context, waited=waited)
    return _tell(
        context,
        context.status,
        reason=found.reason,
        message=found.message,
        seconds=_LOOK_SECONDS,
        about=found.reason,
    )


def wait_for_remains(context: ReconcileContext) -> Plan | None:
    """What still runs of attempts before is waited for where it is in the way, named, and not waited for for ever."""
    stage, remains = context.current, _remains(context)
    if stage is None or not remains:
        return None
    waited = seconds_since(_over_since(context), context.now)
    if waited < _LOOK_SECONDS or _are_ending(remains, context=context, waited=waited):
        left = _LOOK_SECONDS - waited
        again = min(_STEP_SECONDS, left) if left > 0 else _STEP_SECONDS
        return Plan(requeue_after=again, why=("pods of an earlier attempt still run",))
    found = describe_remains(remains[0], context=context, waited=waited)
    limit = context.run.spec.scheduling_timeout_seconds if context.run is not None else None
    # Not before pods of a lost node count as gone: then it goes on by itself.
    if limit is not None and waited >= max(limit, context.settings.node_lost_seconds + _LOOK_SECONDS):
        return _give_up(context, reason=found.reason, message=found.message, limit=limit)
    return _tell(
        context,
        context.status,
        reason=found.reason,
        message=found.message,
        seconds=_LOOK_SECONDS,
        about=found.reason,
    )


def wait_in_the_way(context: ReconcileContext, stage: StageStatus, *, reason: str, message: str, limit: float) -> Plan:
    """Wait for people to remove what keeps an attempt from being made, for `limit` seconds at most."""
    known, status = context.status.condition("Progressing"), context.status
    if known is not None and known.reason == DELAYED:  # that counted for nothing
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
    """Say why an attempt waits, in its stage too, and look again."""
    status = with_stage(status, stage.name, reason=reason, message=message)
    return _tell(context, status, reason=reason, message=message, seconds=seconds)


def _tell(
    context: ReconcileContext, status: Status, *, reason: str, message: str, seconds: float, about: str = ""
) -> Plan:
    """Say why the run does not go on, with an Event where that is new, and look again.

    Waits with another `about` have Events of their own; what a start shows on its way has one for each attempt.
    """
    known = context.status.condition("Progressing")
    said = known is not None and known.status == "False" and known.reason == reason
    status = context.set_condition(status, "Progressing", "False", reason=reason, message=message)
    events = () if said else (Event("Waiting", f"{reason}: {message}", "Warning", about=about),)
    return Plan(status=status, events=events, requeue_after=seconds, why=(f"waiting: {reason}",))


def _give_up(context: ReconcileContext, *, reason: str, message: str, limit: float) -> Plan:
    """End a run that has waited for too long."""
    message = f"{message}; that lasted longer than schedulingTimeoutSeconds {limit:.0f}"
    return fail_run(context, reason=reason, message=message)


def _remains(context: ReconcileContext) -> list[Attempt]:
    """The attempts that must be gone before one begins.

    Prepare begins a run, or begins it again, and waits for all; a Ray cluster waits for the GPUs of others; a stage
    without either starts at once.
    """
    stage = context.current
    if stage is None or stage.state != "Pending":
        return []
    running = [attempt for attempt in context.observed.earlier if context.runs(attempt)]
    if stage.name == CHAIN[0].name:
        return running
    return [attempt for attempt in running if not attempt.is_job] if child_kind(stage.name) == "RayJob" else []


def _are_ending(attempts: Sequence[Attempt], *, context: ReconcileContext, waited: float) -> bool:
    """Whether each pod that still runs was told to end and is within its grace period: so ends every Ray cluster."""
    lost = context.settings.node_lost_seconds
    pods = [pod for attempt in attempts for pod in attempt.pods if not pod.is_gone(context.now, node_lost_seconds=lost)]
    orderly = all(pod.ends_by is not None and context.now < pod.ends_by and pod.node_lost_since is None for pod in pods)
    return bool(pods) and orderly and waited < _ENDING_SECONDS


def _over_since(context: ReconcileContext) -> str:
    """Since when nothing of the run should run."""
    run, suspended = context.status.run, context.status.condition("Suspended")
    times = [stage.ended_at for stage in context.status.stages]
    times += [run.started_at] if run is not None else []
    times += [suspended.last_transition_time] if suspended is not None else []
    return max(times)


def _asked_since(context: ReconcileContext, stage: StageStatus) -> str:
    """Since when what is to be made has been asked for."""
    run = context.status.run
    times = {"Starting": stage.started_at, "Stopping": stage.ended_at}
    return times.get(stage.state) or (run.started_at if run is not None else stage.started_at)
