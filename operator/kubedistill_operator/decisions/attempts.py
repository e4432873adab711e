"""Deciders about the next attempt: skip what is complete, wait for the turn, begin, and make the child.

Each takes a Situation and gives a Plan, or None where it has nothing to say. None calls another.
"""

from dataclasses import replace

from kubedistill.canonical import text_digest
from kubedistill.chain import CHAIN, ArtifactName
from kubedistill.errors import InvalidInput
from kubedistill.stages import DONE
from kubedistill.v1alpha1 import Result, StageStatus
from kubedistill_operator.children.attempt import build_children
from kubedistill_operator.clock import seconds_of, seconds_since, stamp
from kubedistill_operator.decisions.causes import Cause, backoff
from kubedistill_operator.decisions.ends import conclude, fail_run
from kubedistill_operator.decisions.pool_limits import holding, lack_of_room
from kubedistill_operator.decisions.requests import make_request
from kubedistill_operator.decisions.situation import Situation
from kubedistill_operator.names import child_name
from kubedistill_operator.observed import Rival
from kubedistill_operator.plan import Deletion, Event, Plan
from kubedistill_operator.status import with_run, with_stage, without_conditions

_WAIT_SECONDS = 5


def finish_run(situation: Situation) -> Plan | None:
    """All stages are done: the run has succeeded."""
    if not situation.status.stages or situation.current is not None or situation.is_over:
        return None
    message = f"{_praise(situation.status.result)}the student is exported"
    status = conclude(situation, situation.status, "Complete", reason="Exported", message=message)
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
        return fail_run(situation, reason="EvaluationGate", message=message)
    status = with_stage(situation.status, stage.name, state="Skipped", percent=100, message="already there")
    return Plan(
        status=status, events=(Event("StageSkipped", stage.name),), requeue_after=0, why=(f"{stage.name} is cached",)
    )


def sweep_children(situation: Situation) -> Plan | None:
    """Delete earlier children: after childRetentionSeconds, and at once where they failed or only sidecars run."""
    spec = situation.live_spec or (situation.run.spec if situation.run else None)
    retention = spec.child_retention_seconds if spec else 0
    done = {stage.child: stage for stage in situation.status.stages if stage.state in DONE and stage.child}
    due = []
    for attempt in situation.observed.earlier:
        child = attempt.child
        if child is None or child.deleting:
            continue
        stage = done.get(child.name)
        if stage is None or attempt.lingers or seconds_since(stage.ended_at, situation.now) >= retention:
            due.append(Deletion.of(child))
    return Plan(delete=tuple(due), requeue_after=0, why=("earlier children are deleted",)) if due else None


def wait_for_turn(situation: Situation) -> Plan | None:
    """Before an attempt: the backoff is over, no other job makes the same, and there is room."""
    stage = situation.current
    if stage is None or stage.state != "Pending":
        return None
    if (left := _backoff_left(situation, stage)) > 0:
        return Plan(requeue_after=left, why=(f"next attempt in {left:.0f} s",))
    if (plan := _wait_for_rival(situation)) is not None:
        return plan
    limit = situation.settings.max_active_jobs_per_namespace
    if situation.observed.active_in_namespace >= limit:
        return _queue(situation, "NamespaceBusy", f"{limit} jobs of this namespace have a child")
    return None


def wait_for_gpus(situation: Situation) -> Plan | None:
    """Before an attempt: the jobs of the namespace hold no more of the pool than it allows."""
    stage = situation.current
    if stage is None or stage.state != "Pending" or situation.run is None:
        return None
    lack = lack_of_room(situation)
    return _queue(situation, "PoolBusy", lack) if lack else None


def begin_attempt(situation: Situation) -> Plan | None:
    """Allot the next attempt: the status first, so that no crash can allot it twice."""
    stage, run = situation.current, situation.run
    if stage is None or stage.state != "Pending" or run is None:
        return None
    attempt = stage.attempt + 1
    job, held = situation.job, holding(situation, stage.name)
    name = child_name(job.name, stage.name, uid=job.uid, run=run.id, attempt=attempt)
    status = with_stage(
        situation.status,
        stage.name,
        state="Starting",
        attempt=attempt,
        child=name,
        child_uid="",
        started_at=stamp(situation.now),
        ended_at="",
        progressed_at="",
        percent=0,
        eta_seconds=None,
        starts=0,
        latest_gpu_seconds=None,
        reason="",
        message="starting",
        pool=held.pool,
        gpus=held.gpus or None,
    )
    told = make_request(replace(situation, job=replace(job, status=status))).stage_job
    status = with_stage(status, stage.name, job_digest=text_digest(told.to_json()))
    status = with_run(status, counted_at="")
    status = situation.say(status, "Progressing", "True", reason=stage.name)
    events = (Event("StageStarted", f"{stage.name} attempt {attempt} as {name}"),)
    return Plan(status=status, events=events, requeue_after=0, why=(f"{stage.name} begins attempt {attempt}",))


def make_child(situation: Situation) -> Plan | None:
    """Make what an allotted attempt lacks; what is there already is left as it is."""
    stage, attempt = situation.current, situation.observed.attempt
    if stage is None or stage.state != "Starting" or stage.child_uid:
        return None
    if attempt.child is not None and attempt.is_whole:
        return None
    request = make_request(situation)
    if stage.job_digest != text_digest(request.stage_job.to_json()):  # another version, or 0.1's run under new settings
        status = with_stage(situation.status, stage.name, state="Pending", reason="", message="")
        return Plan(status=status, requeue_after=0, why=(f"what {stage.child} was to be told is told differently now",))
    try:
        manifests = build_children(request)
    except InvalidInput as error:  # what the settings of this moment or the size of the spec don't allow
        return fail_run(situation, reason=error.reason, message=str(error))
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


def _wait_for_rival(situation: Situation) -> Plan | None:
    """Wait while another job's child makes what this stage would, and look at the store again when that has ended.

    After schedulingTimeoutSeconds this job makes it itself.
    """
    assert situation.run is not None
    rival, limit = _find_rival(situation), situation.run.spec.scheduling_timeout_seconds
    waiting = situation.status.condition("QuotaReserved")
    waits = waiting is not None and (waiting.status, waiting.reason) == ("False", "SharedArtifact")
    if rival is None:
        return _look_again(situation) if waits or _is_outdated(situation) else None
    if waits and waiting and seconds_since(waiting.last_transition_time, situation.now) >= limit:
        return None
    # Whoever reads this job need not be allowed to read those of another namespace.
    same = rival.namespace == situation.job.namespace
    who = f"{rival.namespace}/{rival.name}" if same else "a job of another namespace"
    return _queue(situation, "SharedArtifact", f"{who} is making the same artifact")


def _find_rival(situation: Situation) -> Rival | None:
    """Another job on the same store whose child makes an artifact of this stage."""
    made: dict[ArtifactName, str] = {name: situation.key(name) for name in situation.chain_stage.makes}
    return next(
        (
            rival
            for rival in situation.observed.rivals
            for name, key in made.items()
            if key and rival.keys.get(name) == key
        ),
        None,
    )


def _is_outdated(situation: Situation) -> bool:
    """Whether another job has made all that this stage would since Prepare began to look."""
    prepare, stage = situation.status.stages[0], situation.chain_stage
    lacks = {name: key for name in stage.makes if (key := situation.key(name)) and not situation.complete(name)}
    if not lacks or stage.name == prepare.name:
        return False
    looked = seconds_of(prepare.started_at) or 0.0
    # Times are to the second: what ended in the second in which Prepare began may have been there or not.
    made = {pair for rival in situation.observed.rivals if rival.made_at >= looked for pair in rival.made.items()}
    return lacks.items() <= made


def _look_again(situation: Situation) -> Plan:
    """Have Prepare say anew what is complete: what it said was true before another job went on."""
    status = with_stage(situation.status, CHAIN[0].name, state="Pending", percent=0, reason="", message="")
    status = without_conditions(status, "QuotaReserved")
    why = "another job has gone on with the same artifact since Prepare looked: it looks again"
    return Plan(status=status, requeue_after=0, why=(why,))


def _queue(situation: Situation, reason: str, message: str) -> Plan:
    known, status = situation.status.condition("QuotaReserved"), situation.status
    if known is not None and known.reason != reason:  # each wait has a time of its own
        status = without_conditions(status, "QuotaReserved")
    status = situation.say(status, "QuotaReserved", "False", reason=reason, message=message)
    return Plan(status=status, requeue_after=30, why=(message,))
