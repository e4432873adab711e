"""The status of a job that runs on this machine, made from the runtime's events as an operator would make it."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from kubedistill.canonical import digest
from kubedistill.chain import STAGES, StageName
from kubedistill.client.evaluation import result_of
from kubedistill.errors import EXIT_SUCCESS, GateMissed
from kubedistill.report.models import Report
from kubedistill.runtime_process import Event
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
    kind = event["event"]
    if kind == "stage":
        return _staged(status, event)
    if kind == "progress":
        return _progressed(status, event)
    if kind == "note":
        return status.model_copy(update={"message": event["message"][:_MESSAGE]})
    if kind == "failed":
        return ended(status, reason=event["reason"], message=event["message"])
    return _finished(status, event) if kind == "finished" else status


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


def _staged(status: Status, event: Event) -> Status:
    name, state = event["stage"], event["state"]
    changes: dict[str, Any] = {"state": state, "message": event.get("message", "")[:_MESSAGE]}
    if state == "Running":
        changes |= {"attempt": event["attempt"], "started_at": _now()}
    else:
        changes |= {"ended_at": _now(), "eta_seconds": None, "percent": 0 if state == "Failed" else 100}
    phase = STAGES[name].phase if state == "Running" else status.phase
    update = {"phase": phase, "stage": name, "progress": "", "message": changes["message"]}
    return _with_stage(status, name, changes).model_copy(update=update)


def _progressed(status: Status, event: Event) -> Status:
    said = event["progress"]
    done, total = said.get("done", 0), said.get("total", 0)
    percent = min(100, 100 * done // total) if total else 0
    message = said.get("message") or (f"{done:,} of {total:,} {said.get('unit', '')}".strip() if total else "loading")
    changes = {"percent": percent, "eta_seconds": said.get("etaSeconds"), "message": message[:_MESSAGE]}
    update = {"progress": f"{percent}%", "message": message[:_MESSAGE]}
    return _with_stage(status, event["stage"], changes).model_copy(update=update)


def _finished(status: Status, event: Event) -> Status:
    report = read_stored_json(Report, Path(event["report"]["json"]).read_bytes())
    status = status.model_copy(update={"result": result_of(report)})
    if event["exitCode"] == EXIT_SUCCESS:
        return _over(status, "Complete", reason="Done", message=f"done in {event['seconds']:.0f} s")
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


def _with_stage(status: Status, name: StageName, changes: dict[str, Any]) -> Status:
    stages = tuple(one.model_copy(update=changes) if one.name == name else one for one in status.stages)
    return status.model_copy(update={"stages": stages})


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
