"""The status as a value: every change returns a new one, and the fields for people are derived at the end."""

from typing import Any, Literal

from kubedistill.chain import STAGES, StageName
from kubedistill.contract.stored_status import NOT_UNDERSTOOD
from kubedistill.printing import printable_line
from kubedistill.stages import DONE, TERMINAL, current_stage
from kubedistill.v1alpha1 import Condition, StageStatus, Status
from kubedistill.v1alpha1.status import Phase
from kubedistill_operator.clock import stamp
from kubedistill_operator.observed import UNREADABLE

Truth = Literal["True", "False", "Unknown"]
MILESTONES = {"DataGenerated": "Generate", "StudentTrained": "Train", "Evaluated": "Evaluate"}
"""Conditions that report a stage as done."""
_MESSAGE = 1024


def one_line(text: str) -> str:
    """Return a string as status and Events store it: one short line without terminal control characters."""
    return printable_line(" ".join(text.split()))[:_MESSAGE]


def with_stage(status: Status, name: StageName, **changes: Any) -> Status:
    """Return the status with one stage changed; a message becomes one line."""
    if "message" in changes:
        changes["message"] = one_line(changes["message"])
    stages = tuple(stage.model_copy(update=changes) if stage.name == name else stage for stage in status.stages)
    return status.model_copy(update={"stages": stages})


def with_run(status: Status, **changes: Any) -> Status:
    """Return the status with its run changed."""
    assert status.run is not None
    return status.model_copy(update={"run": status.run.model_copy(update=changes)})


def with_condition(
    status: Status, kind: str, truth: Truth, *, reason: str, message: str = "", now: float, generation: int
) -> Status:
    """Return the status with one condition set; its transition time changes only if its status does."""
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
    """Return the status without some conditions."""
    return status.model_copy(update={"conditions": tuple(one for one in status.conditions if one.type not in kinds)})


def increase(before: float, after: float) -> float:
    """Return how much a count has grown; a count below the last one started from 0, as a second driver of 0.1 does."""
    return after - before if after >= before else after


def is_true(status: Status, kind: str) -> bool:
    """Return whether a condition exists and is True."""
    found = status.condition(kind)
    return found is not None and found.status == "True"


def is_not_understood(status: Status) -> bool:
    """Return whether the operator does not act on the job, because it did not understand the stored status."""
    found = status.condition("Stalled")
    return found is not None and found.reason == NOT_UNDERSTOOD


def derive_phase(status: Status) -> Phase:
    """Return the phase, from the conditions or else from the current stage."""
    return _phase(status, current_stage(status))


def summarize(status: Status, *, now: float, generation: int, deleting: bool = False) -> Status:
    """Derive phase, columns and the conditions that follow from others, with Reconciling and Stalled of kstatus."""
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
    progressing = status.condition("Progressing")
    if progressing is not None and progressing.reason == UNREADABLE:  # what other conditions say may be outdated
        return f"{UNREADABLE}: {progressing.message}"
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
    """Set at most one of Reconciling and Stalled, as kstatus (and so Flux and `helm --wait`) reads them.

    Reconciling ends with the first child, as for a Job: an installation need not wait for days of training.
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
