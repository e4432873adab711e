"""The status of a job on this machine, computed from the events of the runtime as the operator would compute it."""

from datetime import UTC, datetime
from pathlib import Path

from kubedistill.canonical import digest
from kubedistill.chain import STAGES, StageName
from kubedistill.client.evaluation import result_of
from kubedistill.contract.events import Event, FailedEvent, FinishedEvent, NoteEvent, ProgressEvent, StageEvent
from kubedistill.contract.store_names import LOCAL_RUN
from kubedistill.contract.summaries import PrepareSummary
from kubedistill.errors import EXIT_SUCCESS, GateMissed
from kubedistill.json_values import JsonObject
from kubedistill.report.models import Report
from kubedistill.stages import new_stages
from kubedistill.stored import read_stored, read_stored_json
from kubedistill.v1alpha1 import Condition, Run, Spec, Status, spec_values

_MESSAGE = 1024


def new_status(spec: Spec, *, handled_requests: tuple[str, ...] = ()) -> Status:
    """Return the status at the start of a run."""
    run = Run(id=spec.run_id or LOCAL_RUN, digest=digest(spec_values(spec)), started_at=_now())
    return Status(phase="Pending", run=run, stages=new_stages(), handled_requests=handled_requests)


def apply_event(status: Status, event: Event) -> Status:
    """Return the status after an event of the runtime."""
    match event:
        case StageEvent():
            return _apply_stage(status, event)
        case ProgressEvent():
            return _apply_progress(status, event)
        case NoteEvent():
            return status.model_copy(update={"message": event.message[:_MESSAGE]})
        case FailedEvent():
            return end_status(status, reason=event.reason, message=event.message)
        case FinishedEvent():
            return _apply_finished(status, event)
    return status


def end_status(status: Status, *, reason: str, message: str) -> Status:
    """Return the status of a run that failed or was cancelled."""
    stages = tuple(
        one.model_copy(update={"state": "Failed", "reason": reason}) if one.state == "Running" else one
        for one in status.stages
    )
    return _with_end(status, "Failed", reason=reason, message=message).model_copy(update={"stages": stages})


def suspend_status(status: Status) -> Status:
    """Return the status of a run that was suspended and can be resumed."""
    stages = tuple(
        one.model_copy(update={"state": "Pending"}) if one.state == "Running" else one for one in status.stages
    )
    message = "spec.suspend is true"
    condition = Condition(type="Suspended", status="True", reason="AsAsked", message=message)
    return status.model_copy(
        update={"phase": "Suspended", "stages": stages, "message": message, "conditions": (condition,), "eta": ""}
    )


def _apply_stage(status: Status, event: StageEvent) -> Status:
    """Return the status after a stage started, ended or was skipped."""
    name, state, message = event.stage, event.state, event.message[:_MESSAGE]
    changes: JsonObject = {"ended_at": _now(), "eta_seconds": None, "percent": 0 if state == "Failed" else 100}
    if state == "Running":
        changes = {"attempt": event.attempt, "started_at": _now()}
    phase = STAGES[name].phase if state == "Running" else status.phase
    update = {"phase": phase, "stage": name, "progress": "", "message": message}
    if name == "Prepare" and state == "Succeeded":
        estimate = read_stored(PrepareSummary, event.summary or {}).estimate
        status = status.model_copy(update={"estimate": None if estimate is None else estimate.to_status()})
    return _with_stage(status, name, {**changes, "state": state, "message": message}).model_copy(update=update)


def _apply_progress(status: Status, event: ProgressEvent) -> Status:
    """Return the status with the progress of a stage."""
    progress = event.progress
    done, total = progress.done, progress.total
    percent = min(100, 100 * done // total) if total else 0
    message = progress.message or (f"{done:,} of {total:,} {progress.unit}".strip() if total else "loading")
    changes: JsonObject = {"percent": percent, "eta_seconds": progress.eta_seconds, "message": message[:_MESSAGE]}
    update = {"progress": f"{percent}%", "message": message[:_MESSAGE]}
    return _with_stage(status, event.stage, changes).model_copy(update=update)


def _apply_finished(status: Status, event: FinishedEvent) -> Status:
    """Return the status after the end of a run, with the result of its report."""
    report = read_stored_json(Report, Path(event.report.json_file).read_bytes())
    status = status.model_copy(update={"result": result_of(report)})
    if event.exit_code == EXIT_SUCCESS:
        return _with_end(status, "Complete", reason="Done", message=f"done in {event.seconds:.0f} s")
    return _with_end(status, "Failed", reason=GateMissed.reason, message="; ".join(report.gate.reasons))


def _with_end(status: Status, kind: str, *, reason: str, message: str) -> Status:
    """Return the status at the end of a run, with a condition of this type."""
    condition = Condition(type=kind, status="True", reason=reason, message=message, last_transition_time=_now())
    phase = "Succeeded" if kind == "Complete" else "Failed"
    return status.model_copy(
        update={
            "phase": phase,
            "stage": "",
            "progress": "",
            "eta": "",
            "message": message[:_MESSAGE],
            "conditions": (condition,),
        }
    )


def _with_stage(status: Status, name: StageName, changes: JsonObject) -> Status:
    stages = tuple(one.model_copy(update=changes) if one.name == name else one for one in status.stages)
    return status.model_copy(update={"stages": stages})


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
