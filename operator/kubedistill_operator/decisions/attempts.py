"""Deciders about the next attempt: skip what is complete, wait for other jobs, start, and create the child.

Each takes a ReconcileContext and returns a Plan, or None to leave the decision to the next. None calls another.
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
from kubedistill_operator.decisions.context import ReconcileContext
from kubedistill_operator.decisions.ends import conclude, fail_run
from kubedistill_operator.decisions.pool_limits import describe_pool_shortage, held_gpus
from kubedistill_operator.decisions.requests import make_request
from kubedistill_operator.names import child_name
from kubedistill_operator.observed import Competitor
from kubedistill_operator.plan import Deletion, Event, Plan
from kubedistill_operator.status import with_run, with_stage, without_conditions

_WAIT_SECONDS = 5


def finish_run(context: ReconcileContext) -> Plan | None:
    """Record that the run has succeeded once all stages are done."""
    if not context.status.stages or context.current is not None or context.is_over:
        return None
    message = f"{_describe_gain(context.status.result)}the student is exported"
    status = conclude(context, context.status, "Complete", reason="Exported", message=message)
    run = context.status.run
    events = (Event("RunSucceeded", f"run {run.id if run else ''}: {message}"),)
    return Plan(status=status, events=events, requeue_after=0, why=("done",))


def skip_complete(context: ReconcileContext) -> Plan | None:
    """Skip a stage whose artifacts are all complete; Prepare always runs, since it finds out."""
    stage = context.current
    if stage is None or stage.state != "Pending" or stage.name == CHAIN[0].name:
        return None
    # A run that an earlier version froze has an image that makes only the artifacts that Prepare has named.
    named = [name for name in context.chain_stage.makes if context.key(name)]
    if not named or not all(context.complete(name) for name in named):
        return None
    result = context.status.result
    if stage.name == "Evaluate" and (result is None or not result.gate_passed):
        message = "the evaluation gate failed when this student was evaluated"
        return fail_run(context, reason="EvaluationGate", message=message)
    status = with_stage(context.status, stage.name, state="Skipped", percent=100, message="already there")
    return Plan(
        status=status, events=(Event("StageSkipped", stage.name),), requeue_after=0, why=(f"{stage.name} is cached",)
    )


def sweep_children(context: ReconcileContext) -> Plan | None:
    """Delete old children after childRetentionSeconds, or at once if they failed or only their sidecars run."""
    spec = context.live_spec or (context.run.spec if context.run else None)
    retention = spec.child_retention_seconds if spec else 0
    done = {stage.child: stage for stage in context.status.stages if stage.state in DONE and stage.child}
    due = []
    for attempt in context.observed.earlier:
        child = attempt.child
        if child is None or child.deleting:
            continue
        stage = done.get(child.name)
        if stage is None or attempt.lingers or seconds_since(stage.ended_at, context.now) >= retention:
            due.append(Deletion.of(child))
    return Plan(delete=tuple(due), requeue_after=0, why=("earlier children are deleted",)) if due else None


def wait_for_turn(context: ReconcileContext) -> Plan | None:
    """Wait until the backoff is over, no other job makes the same artifact, and the namespace has room."""
    stage = context.current
    if stage is None or stage.state != "Pending":
        return None
    if (left := _backoff_left(context, stage)) > 0:
        return Plan(requeue_after=left, why=(f"next attempt in {left:.0f} s",))
    if (plan := _wait_for_competitor(context)) is not None:
        return plan
    limit = context.settings.max_active_jobs_per_namespace
    if context.observed.active_in_namespace >= limit:
        return _queue(context, "NamespaceBusy", f"{limit} jobs of this namespace are active already")
    return None


def wait_for_gpus(context: ReconcileContext) -> Plan | None:
    """Wait until the jobs of the namespace hold few enough GPUs of the pool."""
    stage = context.current
    if stage is None or stage.state != "Pending" or context.run is None:
        return None
    shortage = describe_pool_shortage(context)
    return _queue(context, "PoolBusy", shortage) if shortage else None


def begin_attempt(context: ReconcileContext) -> Plan | None:
    """Begin the next attempt by writing its status, so that a crash cannot begin it twice."""
    stage, run = context.current, context.run
    if stage is None or stage.state != "Pending" or run is None:
        return None
    attempt = stage.attempt + 1
    job, held = context.job, held_gpus(context, stage.name)
    name = child_name(job.name, stage.name, uid=job.uid, run=run.id, attempt=attempt)
    status = with_stage(
        context.status,
        stage.name,
        state="Starting",
        attempt=attempt,
        child=name,
        child_uid="",
        started_at=stamp(context.now),
        ended_at="",
        progressed_at="",
        downloaded_at="",
        reported_at="",
        report_stamp="",
        percent=0,
        eta_seconds=None,
        starts=0,
        latest_gpu_seconds=None,
        latest_endpoint_dollars=None,
        latest_idle_gpu_seconds=None,
        reason="",
        message="starting",
        pool=held.pool,
        gpus=held.gpus or None,
    )
    stage_job = make_request(replace(context, job=replace(job, status=status))).stage_job
    status = with_stage(status, stage.name, job_digest=text_digest(stage_job.to_json()))
    status = with_run(status, counted_at="")
    status = context.set_condition(status, "Progressing", "True", reason=stage.name)
    events = (Event("StageStarted", f"{stage.name} attempt {attempt} as {name}"),)
    return Plan(status=status, events=events, requeue_after=0, why=(f"{stage.name} begins attempt {attempt}",))


def make_child(context: ReconcileContext) -> Plan | None:
    """Create the missing objects of an attempt that has begun; leave existing objects as they are."""
    stage, attempt = context.current, context.observed.attempt
    if stage is None or stage.state != "Starting" or stage.child_uid:
        return None
    if attempt.child is not None and attempt.is_whole:
        return None
    request = make_request(context)
    if stage.job_digest != text_digest(request.stage_job.to_json()):  # by another version, or 0.1
        status = with_stage(context.status, stage.name, state="Pending", reason="", message="")
        return Plan(status=status, requeue_after=0, why=(f"the StageJob of {stage.child} has changed",))
    try:
        manifests = build_children(request)
    except InvalidInput as error:  # not allowed by the current settings, or the spec is too large
        return fail_run(context, reason=error.reason, message=str(error))
    return Plan(create=manifests, requeue_after=_WAIT_SECONDS, why=(f"{stage.child} is created",))


def _describe_gain(result: Result | None) -> str:
    """Return how much accuracy training has gained; empty if there were no references."""
    if result is None or result.baseline_accuracy is None or result.distilled_accuracy is None:
        return ""
    teacher = "" if result.teacher_accuracy is None else f" (teacher {result.teacher_accuracy:.1%})"
    return f"accuracy went from {result.baseline_accuracy:.1%} to {result.distilled_accuracy:.1%}{teacher}; "


def _backoff_left(context: ReconcileContext, stage: StageStatus) -> float:
    """Return the remaining backoff of the cause that was charged most; an attempt that was only stopped has none."""
    counts: dict[Cause, int] = {"failure": stage.restarts.failure, "infrastructure": stage.restarts.infrastructure}
    waits = [backoff(cause, count) for cause, count in counts.items() if count]
    return max(waits, default=0.0) - seconds_since(stage.ended_at, context.now) if stage.ended_at else 0.0


def _wait_for_competitor(context: ReconcileContext) -> Plan | None:
    """Wait while another job's child makes the artifact of this stage; then have Prepare check the store again.

    After schedulingTimeoutSeconds this job makes the artifact itself.
    """
    assert context.run is not None
    competitor, limit = _find_competitor(context), context.run.spec.scheduling_timeout_seconds
    waiting = context.status.condition("QuotaReserved")
    waits = waiting is not None and (waiting.status, waiting.reason) == ("False", "SharedArtifact")
    if competitor is None:
        return _repeat_prepare(context) if waits or _is_outdated(context) else None
    if waits and waiting and seconds_since(waiting.last_transition_time, context.now) >= limit:
        return None
    # Readers of this job may not be allowed to read jobs of other namespaces.
    same = competitor.namespace == context.job.namespace
    who = f"{competitor.namespace}/{competitor.name}" if same else "a job in another namespace"
    return _queue(context, "SharedArtifact", f"{who} is making the same artifact")


def _find_competitor(context: ReconcileContext) -> Competitor | None:
    """Return another job on the same store whose child makes an artifact of this stage."""
    made: dict[ArtifactName, str] = {name: context.key(name) for name in context.chain_stage.makes}
    return next(
        (
            competitor
            for competitor in context.observed.competitors
            for name, key in made.items()
            if key and competitor.keys.get(name) == key
        ),
        None,
    )


def _is_outdated(context: ReconcileContext) -> bool:
    """Return whether another job has made everything this stage would make since Prepare began to look."""
    prepare, stage = context.status.stages[0], context.chain_stage
    lacks = {name: key for name in stage.makes if (key := context.key(name)) and not context.complete(name)}
    if not lacks or stage.name == prepare.name:
        return False
    looked = seconds_of(prepare.started_at) or 0.0
    # Times are whole seconds: an artifact of the second in which Prepare began may have been found or not.
    made = {
        pair
        for competitor in context.observed.competitors
        if competitor.made_at >= looked
        for pair in competitor.made.items()
    }
    return lacks.items() <= made


def _repeat_prepare(context: ReconcileContext) -> Plan:
    """Have Prepare check the store again: its findings date from before another job continued."""
    status = with_stage(context.status, CHAIN[0].name, state="Pending", percent=0, reason="", message="")
    status = without_conditions(status, "QuotaReserved")
    why = "another job has worked on the same artifact since Prepare checked the store; Prepare runs again"
    return Plan(status=status, events=(Event("PrepareRepeated", why),), requeue_after=0, why=(why,))


def _queue(context: ReconcileContext, reason: str, message: str) -> Plan:
    """Report why the stage is not started yet, with an Event if the reason is new, and check again later."""
    known, status = context.status.condition("QuotaReserved"), context.status
    if known is not None and known.reason != reason:  # each reason to wait has its own start time
        status = without_conditions(status, "QuotaReserved")
    status = context.set_condition(status, "QuotaReserved", "False", reason=reason, message=message)
    is_known = known is not None and (known.status, known.reason) == ("False", reason)
    events = () if is_known else (Event("Queued", f"{reason}: {message}", about=reason),)
    return Plan(status=status, events=events, requeue_after=30, why=(message,))
