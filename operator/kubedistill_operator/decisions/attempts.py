"""Deciders about the next attempt: skip what is complete, wait for the turn, begin, and make the child.

Each takes a Situation and gives a Plan, or None where it has nothing to say. None calls another.
"""

from kubedistill.chain import CHAIN, ArtifactName
from kubedistill.errors import InvalidInput
from kubedistill.v1alpha1 import Result, StageStatus
from kubedistill_operator.children.attempt import build_children
from kubedistill_operator.clock import seconds_since, stamp
from kubedistill_operator.decisions.causes import Cause, backoff
from kubedistill_operator.decisions.requests import make_request
from kubedistill_operator.decisions.situation import OVER, Situation
from kubedistill_operator.names import child_name
from kubedistill_operator.observed import Rival
from kubedistill_operator.plan import Deletion, Event, Plan
from kubedistill_operator.status import with_run, with_stage

_WAIT_SECONDS = 5


def finish_run(situation: Situation) -> Plan | None:
    """All stages are done: the run has succeeded."""
    if not situation.status.stages or situation.current is not None or situation.is_over:
        return None
    message = f"{_praise(situation.status.result)}the student is exported"
    status = situation.say(situation.status, "Complete", "True", reason="Exported", message=message)
    status = situation.say(status, "Progressing", "False", reason="Complete")
    run = situation.status.run
    events = (Event("RunSucceeded", f"run {run.id if run else ''}: {message}"),)
    return Plan(status=status, events=events, requeue_after=0, why=("done",))


def skip_complete(situation: Situation) -> Plan | None:
    """A stage whose artifacts are all there is not started; Prepare always is, since it is what looks."""
    stage = situation.current
    if stage is None or stage.state != "Pending" or stage.name == CHAIN[0].name:
        return None
    # What Prepare did not name, the image of this run does not make: an earlier version may have frozen it.
    named = [name for name in situation.chain_stage.makes if situation.key(name)]
    if not named or not all(situation.complete(name) for name in named):
        return None
    result = situation.status.result
    if stage.name == "Evaluate" and (result is None or not result.gate_passed):
        message = "the gate said no when this student was judged"
        status = situation.say(situation.status, "Failed", "True", reason="EvaluationGate", message=message)
        return Plan(status=status, events=(Event("RunFailed", message, "Warning"),), requeue_after=0, why=(message,))
    status = with_stage(situation.status, stage.name, state="Skipped", percent=100, message="already there")
    return Plan(
        status=status, events=(Event("StageSkipped", stage.name),), requeue_after=0, why=(f"{stage.name} is cached",)
    )


def sweep_children(situation: Situation) -> Plan | None:
    """Delete earlier children: after childRetentionSeconds, and at once where they failed or only sidecars run."""
    spec = situation.live_spec or (situation.run.spec if situation.run else None)
    retention = spec.child_retention_seconds if spec else 0
    done = {stage.child: stage for stage in situation.status.stages if stage.state in OVER and stage.child}
    due = []
    for attempt in situation.observed.earlier:
        child = attempt.child
        if child is None or child.deleting:
            continue
        stage = done.get(child.name)
        if stage is None or attempt.lingers or seconds_since(stage.ended_at, situation.now) >= retention:
            due.append(Deletion(child.kind, child.name, child.uid))
    return Plan(delete=tuple(due), requeue_after=0, why=("earlier children are deleted",)) if due else None


def wait_for_turn(situation: Situation) -> Plan | None:
    """Before an attempt: the backoff is over, no older job makes the same, and there is room."""
    stage = situation.current
    if stage is None or stage.state != "Pending":
        return None
    if (left := _backoff_left(situation, stage)) > 0:
        return Plan(requeue_after=left, why=(f"next attempt in {left:.0f} s",))
    if (rival := _older_rival(situation)) is not None:
        return _queue(situation, "SharedArtifact", f"{rival.namespace}/{rival.name} is making the same artifact")
    limit = situation.settings.max_active_jobs_per_namespace
    if situation.observed.active_in_namespace >= limit:
        return _queue(situation, "NamespaceBusy", f"{limit} jobs of this namespace have a child")
    return None


def begin_attempt(situation: Situation) -> Plan | None:
    """Allot the next attempt: the status first, so that no crash can allot it twice."""
    stage, run = situation.current, situation.run
    if stage is None or stage.state != "Pending" or run is None:
        return None
    attempt = stage.attempt + 1
    job = situation.job
    name = child_name(job.name, stage.name, uid=job.uid, run=run.id, attempt=attempt)
    status = with_stage(
        situation.status, stage.name, state="Starting", attempt=attempt, child=name, child_uid="",
        started_at=stamp(situation.now), ended_at="", progressed_at="", percent=0, eta_seconds=None, starts=0,
        reason="", message="starting",
    )  # fmt: skip
    status = with_run(status, counted_at="")
    status = situation.say(status, "Progressing", "True", reason=stage.name)
    events = (Event("StageStarted", f"{stage.name} attempt {attempt} as {name}"),)
    return Plan(status=status, events=events, requeue_after=0, why=(f"{stage.name} begins attempt {attempt}",))


def make_child(situation: Situation) -> Plan | None:
    """Make what an allotted attempt lacks; what is there already is left as it is."""
    stage = situation.current
    if stage is None or stage.state != "Starting" or stage.child_uid or situation.observed.attempt.child is not None:
        return None
    try:
        manifests = build_children(make_request(situation))
    except InvalidInput as error:  # what the settings of this moment or the size of the spec don't allow
        status = with_stage(situation.status, stage.name, state="Failed", reason=error.reason, message=str(error))
        status = situation.say(status, "Failed", "True", reason=error.reason, message=str(error))
        event = Event("RunFailed", f"{error.reason}: {error}", "Warning")
        return Plan(status=status, events=(event,), requeue_after=0, why=(str(error),))
    return Plan(create=manifests, requeue_after=_WAIT_SECONDS, why=(f"{stage.child} is made",))


def _praise(result: Result | None) -> str:
    """What training was worth, where there were references to tell it by."""
    if result is None or result.baseline_accuracy is None or result.distilled_accuracy is None:
        return ""
    teacher = "" if result.teacher_accuracy is None else f" (teacher {result.teacher_accuracy:.1%})"
    return f"accuracy went from {result.baseline_accuracy:.1%} to {result.distilled_accuracy:.1%}{teacher}; "


def _backoff_left(situation: Situation, stage: StageStatus) -> float:
    """The backoff of the cause that was charged most; an attempt that was only stopped has none."""
    counts: dict[Cause, int] = {"failure": stage.restarts.failure, "infrastructure": stage.restarts.infrastructure}
    waits = [backoff(cause, count) for cause, count in counts.items() if count]
    return max(waits, default=0.0) - seconds_since(stage.ended_at, situation.now) if stage.ended_at else 0.0


def _older_rival(situation: Situation) -> Rival | None:
    """Another live job on the same storage that is to make an artifact of this stage before us."""
    made: dict[ArtifactName, str] = {name: situation.key(name) for name in situation.chain_stage.makes}
    own = (situation.job.created, situation.job.uid)
    for rival in situation.observed.rivals:
        same = any(key and rival.keys.get(name) == key for name, key in made.items())
        if same and (rival.created, rival.uid) < own:
            return rival
    return None


def _queue(situation: Situation, reason: str, message: str) -> Plan:
    status = situation.say(situation.status, "QuotaReserved", "False", reason=reason, message=message)
    return Plan(status=status, requeue_after=30, why=(message,))
