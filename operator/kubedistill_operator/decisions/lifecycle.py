"""Deciders about the run as a whole: start, supersede, cancel, rest.

Each takes a ReconcileContext and returns a Plan, or None to leave the decision to the next. None calls another.
"""

from collections.abc import Iterable
from dataclasses import replace

from kubedistill.labels import HANDLED_REQUESTS, RELEASE_ANNOTATION, requests_of
from kubedistill.runs import requested_run
from kubedistill.stages import WORKING, new_stages
from kubedistill.v1alpha1 import Run, RunRecord, Status
from kubedistill_operator.clock import seconds_since, stamp
from kubedistill_operator.decisions.context import ReconcileContext
from kubedistill_operator.decisions.cost_labels import cost_labels
from kubedistill_operator.decisions.ends import fail_run, request_stop
from kubedistill_operator.decisions.placement import find_obstacle
from kubedistill_operator.decisions.run_snapshot import frozen_manifest, has_digest, spec_digest, take_snapshot
from kubedistill_operator.observed import UNREADABLE, Attempt
from kubedistill_operator.plan import Deletion, Event, Plan
from kubedistill_operator.status import is_not_understood, is_true, without_conditions

_HISTORY = 20
_OBJECT_SECONDS, _SETTINGS_SECONDS = 15, 60
"""How soon a refused job is checked again; a change of its spec is seen at once."""
_PER_RUN = ("Complete", "Failed", "Suspended", "Progressing", "QuotaReserved", "SpecDrift")


def note_unreadable(context: ReconcileContext) -> Plan | None:
    """Report that what exists of a job may not be read, and nothing else; clear that when it may be read again."""
    known, problem = context.status.condition("Progressing"), context.observed.unreadable
    is_known = known is not None and (known.status, known.reason) == ("False", UNREADABLE)
    if not problem and not is_known:
        return None
    if not problem:
        return Plan(status=_set_readable(context), requeue_after=0, why=("the job can be read again",))
    if context.is_over:
        return Plan(why=(problem,))
    status = context.set_condition(context.status, "Progressing", "False", reason=UNREADABLE, message=problem)
    events = () if is_known else (Event("Waiting", f"{UNREADABLE}: {problem}", "Warning", about=UNREADABLE),)
    return Plan(status=status, events=events, why=(problem,))


def clear_not_understood(context: ReconcileContext) -> Plan | None:
    """Clear the condition of a status that this version understands again; nothing else has changed meanwhile."""
    if not is_not_understood(context.status):
        return None
    status = without_conditions(context.status, "Stalled")
    return Plan(status=status, requeue_after=0, why=("the status is understood again",))


def clean_up_finished(context: ReconcileContext) -> Plan | None:
    """Keep the last child of a successful run for a while, and delete what remains of a run that is over."""
    if not context.is_over or _requested_run(context) is not None:
        return None
    if context.status.observed_generation != context.job.generation:
        return Plan(status=context.status, requeue_after=0, why=("the run is over; an edit was seen",))
    retention = context.live_spec.child_retention_seconds if context.live_spec else 0
    failed = context.status.phase == "Failed"
    ended = max((stage.ended_at for stage in context.status.stages), default="")
    left = 0.0 if failed else retention - seconds_since(ended, context.now)
    attempts = (context.observed.attempt, *context.observed.earlier)
    alive = _deletions(attempts)
    if left > 0:
        lingering = _deletions(one for one in attempts if one.lingers)
        why = "the run is over; its children are kept for a while"
        return Plan(delete=lingering, requeue_after=left if alive else None, why=(why,))
    return Plan(delete=alive, why=("the run is over",))


def supersede(context: ReconcileContext) -> Plan | None:
    """Stop this run if another one is wanted, wait for its pods, and record it."""
    wanted = _requested_run(context)
    run = context.status.run
    if wanted is None or run is None:
        return None
    if (plan := request_stop(context, reason="Superseded")) is not None:
        return plan
    if context.current is not None and context.current.state == "Stopping":
        return None
    outcome = context.status.phase if context.is_over else "Superseded"
    record = RunRecord(id=run.id, outcome=outcome, ended_at=stamp(context.now))  # type: ignore[arg-type]
    history = (*(one for one in context.status.run_history if one.id != run.id), record)[-_HISTORY:]
    status = without_conditions(context.status, *_PER_RUN).model_copy(
        update={"run": None, "stages": (), "estimate": None, "result": None, "run_history": history}
    )
    message = f"run {run.id} is replaced by run {wanted}"
    events = () if context.is_over else (Event("RunSuperseded", message, about=run.id),)
    return Plan(status=status, events=events, requeue_after=0, why=(message,))


def hold_restored(context: ReconcileContext) -> Plan | None:
    """Hold a job without a status until somebody releases it, if the settings say so: it may have run before."""
    status = context.status
    if context.settings.on_restore != "Hold" or context.job.annotations.get(RELEASE_ANNOTATION):
        return None
    if status.run is not None or status.run_history:
        return None
    message = f"settings.onRestore holds jobs without a status; set annotation {RELEASE_ANNOTATION} to start this one"
    held = context.set_condition(status, "QuotaReserved", "False", reason="OnHold", message=message)
    known = status.condition("QuotaReserved")
    events = () if known is not None and known.reason == "OnHold" else (Event("Held", message),)
    return Plan(status=held, events=events, why=(message,))


def start_run(context: ReconcileContext) -> Plan | None:
    """Freeze the spec and start the run, if the cluster can hold it."""
    job, status = context.job, context.status
    if status.run is not None:
        return None
    if job.spec is None or job.problem:
        return _refuse(context, reason="InvalidSpec", message=job.problem, again=_SETTINGS_SECONDS)
    if obstacle := find_obstacle(job.spec, job.namespace, observed=context.observed, settings=context.settings):
        again = _OBJECT_SECONDS if obstacle.is_object else _SETTINGS_SECONDS
        return _refuse(context, reason=obstacle.reason, message=obstacle.message, again=again)
    run_id = _requested_run(context)
    assert run_id is not None, "a job without a run wants one"
    frozen = take_snapshot(job, run_id, settings=context.settings)
    run = Run(
        id=run_id,
        digest=frozen.digest,
        snapshot_digest=frozen.snapshot,
        started_at=stamp(context.now),
        labels=cost_labels(context) or None,
    )
    status = without_conditions(status, *_PER_RUN)
    status = context.set_condition(status, "Validated", "True", reason="Valid")
    status = status.model_copy(
        update={
            "run": run,
            "stages": new_stages(),
            "estimate": None,
            "result": None,
            "handled_requests": _handled(context, "rerun"),
        }
    )
    return Plan(
        status=status,
        create=(frozen_manifest(job, frozen),),
        events=(Event("RunStarted", f"run {run_id} of spec {frozen.digest[:12]}"),),
        requeue_after=0,
        why=(f"run {run_id} starts",),
    )


def note_drift(context: ReconcileContext) -> Plan | None:
    """Report, once, that an edit needs a new runID; the run continues, or stays over, as it was frozen."""
    run, job = context.run, context.job
    if run is None or _requested_run(context) is not None:
        return None
    # Do not compare with run.digest: another version computed it, from fields that this one may not know.
    changed = job.spec is None or not has_digest(job.spec, spec_digest(run.spec))
    reused = job.spec is not None and job.spec.run_id not in (None, run.spec.run_id)
    drifted = is_true(context.status, "SpecDrift")
    if not changed and not reused:
        return Plan(status=without_conditions(context.status, "SpecDrift"), requeue_after=0) if drifted else None
    if drifted:
        return None
    reason = "RunIDReused" if reused else "Edited"
    message = (
        "this runID was used before; choose a new one" if reused else "set a new spec.runID to run the edited spec"
    )
    status = context.set_condition(context.status, "SpecDrift", "True", reason=reason, message=message)
    return Plan(status=status, events=(Event("SpecDrift", message, "Warning"),), requeue_after=0, why=(message,))


def cancel(context: ReconcileContext) -> Plan | None:
    """Stop the run for good if the annotation asks for it; handle each token once."""
    request = requests_of(context.job.annotations).get("cancel")
    if request is None or request in context.status.handled_requests or context.status.run is None:
        return None
    if (plan := request_stop(context, reason="Cancelled")) is not None:
        return plan
    if context.current is not None and context.current.state == "Stopping":
        return None
    plan = fail_run(context, reason="Cancelled", message="cancelled by annotation", event="RunCancelled")
    assert plan.status is not None, "the end of a run writes a status"
    status = plan.status.model_copy(update={"handled_requests": _handled(context, "cancel")})
    return replace(plan, status=status)


def _set_readable(context: ReconcileContext) -> Status:
    """Return the status with the condition Progressing that a job has in this state; the next deciders refine it."""
    stage = context.current
    if is_true(context.status, "Suspended"):
        return context.set_condition(context.status, "Progressing", "False", reason="Suspended")
    if stage is not None and stage.state in WORKING:
        return context.set_condition(context.status, "Progressing", "True", reason=stage.name)
    return without_conditions(context.status, "Progressing")


def _deletions(attempts: Iterable[Attempt]) -> tuple[Deletion, ...]:
    """Return the deletions of the children that are not being deleted yet."""
    children = [one.child for one in attempts if one.child is not None and not one.child.deleting]
    return tuple(Deletion.of(child) for child in children)


def _requested_run(context: ReconcileContext) -> str | None:
    """Return the ID of a run that is requested and has not begun; None if there is none."""
    job = context.job
    return requested_run(
        run_id=job.spec.run_id if job.spec and not job.problem else None,
        annotations=job.annotations,
        status=context.status,
    )


def _handled(context: ReconcileContext, verb: str) -> tuple[str, ...]:
    """Return the latest handled requests, with that of a verb; a request that is still on the job is never dropped."""
    on_the_job = requests_of(context.job.annotations)
    handled = {*context.status.handled_requests, *({on_the_job[verb]} if verb in on_the_job else ())}
    kept = [one for one in context.status.handled_requests if one not in on_the_job.values()]
    return (*kept, *(one for one in on_the_job.values() if one in handled))[-HANDLED_REQUESTS:]


def _refuse(context: ReconcileContext, *, reason: str, message: str, again: float) -> Plan:
    released = without_conditions(context.status, "QuotaReserved")
    status = context.set_condition(released, "Validated", "False", reason=reason, message=message)
    event = Event("ValidationFailed", f"{reason}: {message}", "Warning", about=reason)
    events = () if status == context.status else (event,)
    return Plan(status=status, events=events, requeue_after=again, why=(message,))
