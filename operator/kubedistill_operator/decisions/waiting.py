"""Deciders about an attempt that is under way: why it waits, for how long it may, and how far it is.

Each takes a Situation and gives a Plan, or None where it has nothing to say. None calls another.
"""

from collections.abc import Sequence

from kubedistill.chain import CHAIN
from kubedistill.contract import StageProgress
from kubedistill.stages import WORKING
from kubedistill.v1alpha1 import StageStatus, Status
from kubedistill_operator.children.layout import child_kind
from kubedistill_operator.clock import seconds_since, stamp
from kubedistill_operator.decisions.diagnosis import describe_remains, diagnose, find_refusal
from kubedistill_operator.decisions.ends import GRACEFUL, count_gpus, end_attempt, fail_run
from kubedistill_operator.decisions.outcome import STOP_SECONDS
from kubedistill_operator.decisions.situation import Situation
from kubedistill_operator.observed import DELAYED, Attempt
from kubedistill_operator.plan import Event, Plan
from kubedistill_operator.status import with_run, with_stage, without_conditions

LOOK_SECONDS, PROGRESS_SECONDS, _STEP_SECONDS, _MOMENT_SECONDS = 15, 30, 5, 2
_COMING_UP_SECONDS = 60
"""What a Ray cluster may take once its pods are on nodes: its probes alone begin after 10 s, worker after head."""
MOST_SECONDS, _SHARE = 300, 4
"""What is refused is tried again after a share of the time that it has been refused for, or after so many seconds."""
_ENDING_SECONDS = 60
"""For how long pods may use their grace period before they are named; Kubernetes gives 30 s by default."""
_NEVER_SEEN = "never seen"
_OVERDUE = "PreRunningDeadlineExceeded"
"""KubeRay's reason for a RayJob that did not run within schedulingTimeoutSeconds; it may look before we do."""


def wait_for_leave(situation: Situation) -> Plan | None:
    """What the API server will not have made is tried again, and ends at schedulingTimeoutSeconds as other waits do.

    What it can't take for now ends nothing, however long that lasts.
    """
    refusal, stage = situation.observed.refusal, situation.current
    spec = situation.run.spec if situation.run is not None else situation.live_spec
    if refusal is None or stage is None or spec is None:
        return None
    if refusal.is_passing and seconds_since(_asked_since(situation, stage), situation.now) < LOOK_SECONDS:
        return Plan(requeue_after=_MOMENT_SECONDS, why=(refusal.message,))
    if refusal.reason == DELAYED:
        return _tell(situation, situation.status, reason=DELAYED, message=refusal.message, seconds=LOOK_SECONDS)
    reason = refusal.reason or find_refusal(refusal.message, otherwise="WriteRefused")
    limit = spec.scheduling_timeout_seconds
    return wait_in_the_way(situation, stage, reason=reason, message=refusal.message, limit=limit)


def adopt_child(situation: Situation) -> Plan | None:
    """Record the child's uid once it is seen with all that it needs: from now on its absence means that it vanished.

    One that came and went while nobody looked is known by its driver, which has started.
    """
    run, stage, attempt = situation.status.run, situation.current, situation.observed.attempt
    if run is None or stage is None or stage.state != "Starting" or not (attempt.is_whole or attempt.has_started):
        return None
    unseen = stage.child_uid or (_NEVER_SEEN if attempt.has_started else "")
    uid = attempt.child.uid if attempt.child is not None else unseen
    if uid == stage.child_uid:
        return None
    status = with_stage(situation.status, stage.name, child_uid=uid, reason="", message="starting")
    status = with_run(status, begun_at=run.begun_at or stamp(situation.now))
    status = situation.say(status, "Progressing", "True", reason=stage.name)
    return Plan(status=status, requeue_after=0, why=(f"{stage.child} is there, or was",))


def note_admission(situation: Situation) -> Plan | None:
    """A child that waited is let in; one that also ended before anybody looked is known by its driver."""
    stage, attempt = situation.current, situation.observed.attempt
    quota = situation.status.condition("QuotaReserved")
    if stage is None or stage.state not in WORKING or quota is None or quota.status == "True":
        return None
    if not (attempt.child.admitted if attempt.child is not None else attempt.has_started):
        return None
    status = situation.say(situation.status, "QuotaReserved", "True", reason="Admitted")
    return Plan(status=status, requeue_after=0, why=("the child is admitted",))


def wait_in_queue(situation: Situation) -> Plan | None:
    """A child that a queue holds back waits without any limit."""
    stage, child = situation.current, situation.observed.attempt.child
    if stage is None or stage.state != "Starting" or child is None or child.admitted:
        return None
    status = situation.say(situation.status, "QuotaReserved", "False", reason="Pending", message="waiting in the queue")
    status = with_stage(status, stage.name, message="waiting in the queue")
    return Plan(status=status, requeue_after=PROGRESS_SECONDS, why=("the queue has not admitted the child",))


def wait_for_pods(situation: Situation) -> Plan | None:
    """An admitted child that does not run says why within seconds, and ends at schedulingTimeoutSeconds."""
    stage, child = situation.current, situation.observed.attempt.child
    if stage is None or stage.state != "Starting" or child is None or child.state != "Waiting":
        return None
    assert situation.run is not None
    found = diagnose(child, situation.observed.attempt, situation=situation)
    reason, message = found.reason, found.message
    limit = situation.run.spec.scheduling_timeout_seconds
    waited = seconds_since(_counted_at(situation), situation.now)  # neither in a queue nor for the API server
    if waited >= limit:
        return _give_up(situation, reason=reason, message=message, limit=limit)
    status = with_run(situation.status, counted_at=_counted_at(situation))
    pods = situation.observed.attempt.pods
    patience = _COMING_UP_SECONDS if pods and all(pod.node for pod in pods) else LOOK_SECONDS
    left = patience - waited
    if found.is_usual and left > 0:
        status = with_stage(status, stage.name, message=message)
        return Plan(status=status, requeue_after=min(left, LOOK_SECONDS), why=(message,))
    return _wait(situation, status, stage, reason=reason, message=message, seconds=LOOK_SECONDS)


def end_overdue(situation: Situation) -> Plan | None:
    """A child that KubeRay ended before it ran has waited for as long as it may, for what was told of it last."""
    stage, attempt = situation.current, situation.observed.attempt
    if stage is None or stage.state != "Starting" or attempt.child is None or attempt.has_started:
        return None
    child, run = attempt.child, situation.run
    if run is None or child.uid != stage.child_uid or (child.state, child.reason) != ("Ended", _OVERDUE):
        return None
    message = stage.message if stage.reason else child.message
    limit = run.spec.scheduling_timeout_seconds
    return _give_up(situation, reason=stage.reason or "WaitingForNodes", message=message, limit=limit)


def wait_for_end(situation: Situation) -> Plan | None:
    """An attempt that was ended and whose pods or child stay is named; it may have been asked to save before."""
    stage, attempt = situation.current, situation.observed.attempt
    if stage is None or stage.state != "Stopping" or not situation.runs(attempt):
        return None
    if attempt.child is not None and not attempt.child.deleting:
        return None
    saving = STOP_SECONDS if stage.reason in GRACEFUL else 0
    waited = seconds_since(stage.ended_at, situation.now) - saving
    if waited < LOOK_SECONDS or _are_ending([attempt], situation=situation, waited=waited):
        return None
    found = describe_remains(attempt, situation=situation, waited=waited)
    return _tell(
        situation,
        situation.status,
        reason=found.reason,
        message=found.message,
        seconds=LOOK_SECONDS,
        about=found.reason,
    )


def wait_for_remains(situation: Situation) -> Plan | None:
    """What still runs of attempts before is waited for where it is in the way, named, and not waited for for ever."""
    stage, remains = situation.current, _remains(situation)
    if stage is None or not remains:
        return None
    waited = seconds_since(_over_since(situation), situation.now)
    if waited < LOOK_SECONDS or _are_ending(remains, situation=situation, waited=waited):
        left = LOOK_SECONDS - waited
        again = min(_STEP_SECONDS, left) if left > 0 else _STEP_SECONDS
        return Plan(requeue_after=again, why=("pods of an earlier attempt still run",))
    found = describe_remains(remains[0], situation=situation, waited=waited)
    limit = situation.run.spec.scheduling_timeout_seconds if situation.run is not None else None
    # Not before pods of a lost node count as gone: then it goes on by itself.
    if limit is not None and waited >= max(limit, situation.settings.node_lost_seconds + LOOK_SECONDS):
        return _give_up(situation, reason=found.reason, message=found.message, limit=limit)
    return _tell(
        situation,
        situation.status,
        reason=found.reason,
        message=found.message,
        seconds=LOOK_SECONDS,
        about=found.reason,
    )


def enforce_progress(situation: Situation) -> Plan | None:
    """A driver must make its first progress within startupTimeoutSeconds, and go on making it after that."""
    stage, child = situation.current, situation.observed.attempt.child
    if stage is None or stage.state != "Running" or child is None or child.state != "Running":
        return None
    assert situation.run is not None
    spec, progress = situation.run.spec, _progress(situation)
    heard = _latest(stage, progress)
    limit = spec.no_progress_timeout_seconds if heard else spec.startup_timeout_seconds
    silent = seconds_since(heard or stage.started_at, situation.now)
    if silent < limit:
        return None
    return end_attempt(
        situation, "Failed", reason="NoProgress", message=f"no progress for {silent:.0f} s", cause="failure"
    )


def follow(situation: Situation) -> Plan | None:
    """Carry what the driver says into the status."""
    stage, child = situation.current, situation.observed.attempt.child
    if stage is None or stage.state not in WORKING or child is None or child.state != "Running":
        return None
    status = situation.say(situation.status, "Progressing", "True", reason=stage.name)
    status = with_run(status, counted_at=_counted_at(situation))
    changes = {"state": "Running", "reason": "", "message": "loading", "ended_at": "", **_figures(situation, stage)}
    status = with_stage(status, stage.name, **changes)
    events = () if stage.state == "Running" else (Event("StageRunning", f"{stage.name} in {child.name}"),)
    return Plan(status=status, events=events, requeue_after=PROGRESS_SECONDS, why=(f"{stage.name} runs",))


def wait_in_the_way(situation: Situation, stage: StageStatus, *, reason: str, message: str, limit: float) -> Plan:
    """Wait for people to remove what keeps an attempt from being made, for `limit` seconds at most."""
    known, status = situation.status.condition("Progressing"), situation.status
    if known is not None and known.reason == DELAYED:  # that counted for nothing
        known, status = None, without_conditions(status, "Progressing")
    since = known.last_transition_time if known is not None and known.status == "False" else stamp(situation.now)
    waited = seconds_since(since, situation.now)
    if waited >= limit:
        return _give_up(situation, reason=reason, message=message, limit=limit)
    again = min(max(LOOK_SECONDS, waited / _SHARE), MOST_SECONDS, limit - waited)
    return _wait(situation, status, stage, reason=reason, message=message, seconds=again)


def _wait(
    situation: Situation, status: Status, stage: StageStatus, *, reason: str, message: str, seconds: float
) -> Plan:
    """Say why an attempt waits, in its stage too, and look again."""
    status = with_stage(status, stage.name, reason=reason, message=message)
    return _tell(situation, status, reason=reason, message=message, seconds=seconds)


def _tell(situation: Situation, status: Status, *, reason: str, message: str, seconds: float, about: str = "") -> Plan:
    """Say why the run does not go on, with an Event where that is new, and look again.

    Waits with another `about` have Events of their own; what a start shows on its way has one for each attempt.
    """
    known = situation.status.condition("Progressing")
    said = known is not None and known.status == "False" and known.reason == reason
    status = situation.say(status, "Progressing", "False", reason=reason, message=message)
    events = () if said else (Event("Waiting", f"{reason}: {message}", "Warning", about=about),)
    return Plan(status=status, events=events, requeue_after=seconds, why=(f"waiting: {reason}",))


def _give_up(situation: Situation, *, reason: str, message: str, limit: float) -> Plan:
    """End a run that has waited for too long."""
    message = f"{message}; that lasted longer than schedulingTimeoutSeconds {limit:.0f}"
    return fail_run(situation, reason=reason, message=message)


def _remains(situation: Situation) -> list[Attempt]:
    """The attempts that must be gone before one begins.

    Prepare begins a run, or begins it again, and waits for all; a Ray cluster waits for the GPUs of others; a stage
    without either starts at once.
    """
    stage = situation.current
    if stage is None or stage.state != "Pending":
        return []
    running = [attempt for attempt in situation.observed.earlier if situation.runs(attempt)]
    if stage.name == CHAIN[0].name:
        return running
    return [attempt for attempt in running if not attempt.is_job] if child_kind(stage.name) == "RayJob" else []


def _are_ending(attempts: Sequence[Attempt], *, situation: Situation, waited: float) -> bool:
    """Whether each pod that still runs was told to end and is within its grace period: so ends every Ray cluster."""
    lost = situation.settings.node_lost_seconds
    pods = [
        pod for attempt in attempts for pod in attempt.pods if not pod.is_gone(situation.now, node_lost_seconds=lost)
    ]
    orderly = all(
        pod.ends_by is not None and situation.now < pod.ends_by and pod.node_lost_since is None for pod in pods
    )
    return bool(pods) and orderly and waited < _ENDING_SECONDS


def _over_since(situation: Situation) -> str:
    """Since when nothing of the run should run."""
    run, suspended = situation.status.run, situation.status.condition("Suspended")
    times = [stage.ended_at for stage in situation.status.stages]
    times += [run.started_at] if run is not None else []
    times += [suspended.last_transition_time] if suspended is not None else []
    return max(times)


def _asked_since(situation: Situation, stage: StageStatus) -> str:
    """Since when what is to be made has been asked for."""
    run = situation.status.run
    times = {"Starting": stage.started_at, "Stopping": stage.ended_at}
    return times.get(stage.state) or (run.started_at if run is not None else stage.started_at)


def _figures(situation: Situation, stage: StageStatus) -> dict[str, object]:
    progress, channel = _progress(situation), situation.observed.attempt.channel
    if progress is None or channel is None:
        return {}
    figures: dict[str, object] = {
        "percent": min(100, round(100 * progress.done / progress.total)) if progress.total else stage.percent,
        "eta_seconds": progress.eta_seconds,
        "starts": max(stage.starts, channel.starts),
        "message": progress.message or f"{progress.done:,} of {progress.total:,} {progress.unit}",
        **count_gpus(situation, stage),
    }
    if heard := _latest(stage, progress):
        figures["progressed_at"] = heard
    return figures


def _progress(situation: Situation) -> StageProgress | None:
    channel = situation.observed.attempt.channel
    return channel.progress if channel is not None else None


def _latest(stage: StageStatus, progress: StageProgress | None) -> str:
    """When work was last done, as far as status and driver say; a clock that went back takes nothing away."""
    said = progress.at if progress is not None and progress.state == "Working" else ""
    return max(stage.progressed_at, said)


def _counted_at(situation: Situation) -> str:
    run = situation.status.run
    assert run is not None
    return run.counted_at or stamp(situation.now)
