"""Status as a value: every change gives a new one, and what people see is derived at the end, in one place."""

from typing import Any, Literal

from kubedistill.chain import STAGES, StageName
from kubedistill.contract.stored_status import NOT_UNDERSTOOD
from kubedistill.printing import printable_line
from kubedistill.stages import DONE, TERMINAL, current_stage
from kubedistill.v1alpha1 import Condition, StageStatus, Status
from kubedistill.v1alpha1.status import Phase
from kubedistill_operator.clock import stamp

Truth = Literal["True", "False", "Unknown"]
MILESTONES = {"DataGenerated": "Generate", "StudentTrained": "Train", "Evaluated": "Evaluate"}
"""Conditions that say a stage is done."""
_MESSAGE = 1024


def one_line(text: str) -> str:
    """A text as status and Events have it: one line of what they take, with nothing that a terminal would obey."""
    return printable_line(" ".join(text.split()))[:_MESSAGE]


def with_stage(status: Status, name: StageName, **changes: Any) -> Status:
    """The status with one stage changed; a message becomes one line."""
    if "message" in changes:
        changes["message"] = one_line(changes["message"])
    stages = tuple(stage.model_copy(update=changes) if stage.name == name else stage for stage in status.stages)
    return status.model_copy(update={"stages": stages})


def with_run(status: Status, **changes: Any) -> Status:
    """The status with its run changed."""
    assert status.run is not None
    return status.model_copy(update={"run": status.run.model_copy(update=changes)})


def with_condition(
    status: Status, kind: str, truth: Truth, *, reason: str, message: str = "", now: float, generation: int
) -> Status:
    """The status with one condition set; its time of transition moves only when its truth does."""
    before = status.condition(kind)
    since = before.last_transition_time if before is not None and before.status == truth else stamp(now)
    condition = Condition(
        type=kind,
        status=truth,
        reason=reason,
        message=one_line(message),
        last_transition_time=since,
        observed_generation=generation,
    )
    others = tuple(one for one in status.conditions if one.type != kind)
    return status.model_copy(update={"conditions": tuple(sorted((*others, condition), key=lambda one: one.type))})


def without_conditions(status: Status, *kinds: str) -> Status:
    """The status with some conditions taken out."""
    return status.model_copy(update={"conditions": tuple(one for one in status.conditions if one.type not in kinds)})


def increase(before: float, said: float) -> float:
    """How much a count has grown; one that is less than before began anew, as a second driver of 0.1 begins."""
    return said - before if said >= before else said


def is_true(status: Status, kind: str) -> bool:
    """Whether a condition is there and holds."""
    found = status.condition(kind)
    return found is not None and found.status == "True"


def is_not_understood(status: Status) -> bool:
    """Whether the operator has stopped acting on the job, since it did not understand what is stored."""
    found = status.condition("Stalled")
    return found is not None and found.reason == NOT_UNDERSTOOD


def derive_phase(status: Status) -> Phase:
    """The phase that the conditions, and else the current stage, stand for."""
    return _phase(status, current_stage(status))


def summarise(status: Status, *, now: float, generation: int, deleting: bool = False) -> Status:
    """Derive phase, columns and the conditions that follow from others (kstatus's pair among them)."""
    current = current_stage(status)
    phase: Phase = "Deleting" if deleting else _phase(status, current)
    over = phase in TERMINAL
    status = status.model_copy(
        update={
            "observed_generation": generation,
            "phase": phase,
            "stage": "" if over or current is None else current.name,
            "progress": "" if over or current is None else f"{current.percent}%",
            "attempt": None if over or current is None else current.attempt,
            "eta": "" if over else _eta(current),
            "gpu_hours": f"{sum(stage.gpu_seconds for stage in status.stages) / 3600:.1f}",
            "message": _message(status, current)[:_MESSAGE],
        }
    )
    if status.stages:
        for kind, name in MILESTONES.items():
            done = any(stage.name == name and stage.state in DONE for stage in status.stages)
            truth: Truth = "True" if done else "False"
            status = with_condition(
                status, kind, truth, reason="Done" if done else "Pending", now=now, generation=generation
            )
    return _kstatus(status, now=now, generation=generation)


def _phase(status: Status, current: StageStatus | None) -> Phase:
    if is_true(status, "Complete"):
        return "Succeeded"
    if is_true(status, "Failed"):
        return "Failed"
    if is_true(status, "Suspended"):
        return "Suspended"
    if status.run is None or not status.stages:
        return "Pending"
    quota = status.condition("QuotaReserved")
    if quota is not None and quota.status == "False":
        return "Queued"
    return STAGES[(current or status.stages[-1]).name].phase


def _message(status: Status, current: StageStatus | None) -> str:
    for kind in ("Failed", "Complete", "Suspended"):
        if (found := status.condition(kind)) is not None and found.status == "True":
            return found.message
    for kind in ("Validated", "QuotaReserved", "Progressing"):
        if (found := status.condition(kind)) is not None and found.status == "False":
            return f"{found.reason}: {found.message}"
    if current is None:
        return ""
    done = [stage for stage in status.stages if stage.state in DONE and stage.message]
    return current.message or (f"{done[-1].name}: {done[-1].message}" if done else "")


def _eta(current: StageStatus | None) -> str:
    if current is None or current.eta_seconds is None:
        return ""
    minutes = round(current.eta_seconds / 60)
    return f"{minutes // 60}h{minutes % 60:02d}m" if minutes >= 60 else f"{minutes}m"


def _kstatus(status: Status, *, now: float, generation: int) -> Status:
    """Reconciling and Stalled, as kstatus (and so Flux and `helm --wait`) reads them: at most one is there.

    Reconciling ends with the first child, as for a Job: who waits for an installation waits for no days of training.
    """
    validated = status.condition("Validated")
    stalled = status.phase == "Failed" or (validated is not None and validated.status == "False")
    begun = status.phase in ("Succeeded", "Suspended", "Deleting") or any(stage.child_uid for stage in status.stages)
    kind = "Stalled" if stalled else None if begun else "Reconciling"
    status = without_conditions(status, *({"Stalled", "Reconciling"} - {kind}))
    if kind is None:
        return status
    reason = str(status.phase)
    return with_condition(status, kind, "True", reason=reason, message=status.message, now=now, generation=generation)
