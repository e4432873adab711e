"""The status of a job that runs on this machine, made from the runtime's events as an operator would make it."""

from datetime import UTC, datetime
from pathlib import Path

from kubedistill.canonical import digest
from kubedistill.chain import STAGES, StageName
from kubedistill.client.evaluation import result_of
from kubedistill.contract.events import Event, FailedEvent, FinishedEvent, NoteEvent, ProgressEvent, StageEvent
from kubedistill.errors import EXIT_SUCCESS, GateMissed
from kubedistill.json_values import JsonObject
from kubedistill.report.models import Report
from kubedistill.stages import new_stages
from kubedistill.stored import read_stored_json
from kubedistill.v1alpha1 import Condition, Run, Spec, Status, spec_values

LOCAL_RUN = "local"
_MESSAGE = 1024


def begun(spec: Spec, *, handled_requests: tuple[str, ...] = ()) -> Status:
    """A run that has just begun."""
    run = Run(id=spec.run_id or LOCAL_RUN, digest=digest(spec_values(spec)), started_at=_now())
    return Status(phase="Pending", run=run, stages=new_stages(), handled_requests=handled_requests)


def told(status: Status, event: Event) -> Status:
    """The status after an event of the runtime."""
    match event:
        case StageEvent():
            return _staged(status, event)
        case ProgressEvent():
            return _progressed(status, event)
        case NoteEvent():
            return status.model_copy(update={"message": event.message[:_MESSAGE]})
        case FailedEvent():
            return ended(status, reason=event.reason, message=event.message)
        case FinishedEvent():
            return _finished(status, event)
    return status


def ended(status: Status, *, reason: str, message: str) -> Status:
    """A run that failed, or was cancelled."""
    stages = tuple(
        one.model_copy(update={"state": "Failed", "reason": reason}) if one.state == "Running" else one
        for one in status.stages
    )
    return _over(status, "Failed", reason=reason, message=message).model_copy(update={"stages": stages})


def suspended(status: Status) -> Status:
    """A run that was stopped, and can go on."""
    stages = tuple(
        one.model_copy(update={"state": "Pending"}) if one.state == "Running" else one for one in status.stages
    )
    message = "spec.suspend is true"
    condition = Condition(type="Suspended", status="True", reason="AsAsked", message=message)
    return status.model_copy(
        update={"phase": "Suspended", "stages": stages, "message": message, "conditions": (condition,), "eta": ""}
    )


def _staged(status: Status, event: StageEvent) -> Status:
    name, state, message = event.stage, event.state, event.message[:_MESSAGE]
    changes: JsonObject = {"ended_at": _now(), "eta_seconds": None, "percent": 0 if state == "Failed" else 100}
    if state == "Running":
        changes = {"attempt": event.attempt, "started_at": _now()}
    phase = STAGES[name].phase if state == "Running" else status.phase
    update = {"phase": phase, "stage": name, "progress": "", "message": message}
    return _with_stage(status, name, {**changes, "state": state, "message": message}).model_copy(update=update)


def _progressed(status: Status, event: ProgressEvent) -> Status:
    said = event.progress
    percent = min(100, 100 * said.done // said.total) if said.total else 0
    message = said.message or (f"{said.done:,} of {said.total:,} {said.unit}".strip() if said.total else "loading")
    changes: JsonObject = {"percent": percent, "eta_seconds": said.eta_seconds, "message": message[:_MESSAGE]}
    update = {"progress": f"{percent}%", "message": message[:_MESSAGE]}
    return _with_stage(status, event.stage, changes).model_copy(update=update)


def _finished(status: Status, event: FinishedEvent) -> Status:
    report = read_stored_json(Report, Path(event.report.json_file).read_bytes())
    status = status.model_copy(update={"result": result_of(report)})
    if event.exit_code == EXIT_SUCCESS:
        return _over(status, "Complete", reason="Done", message=f"done in {event.seconds:.0f} s")
    return _over(status, "Failed", reason=GateMissed.reason, message="; ".join(report.gate.reasons))


def _over(status: Status, kind: str, *, reason: str, message: str) -> Status:
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
