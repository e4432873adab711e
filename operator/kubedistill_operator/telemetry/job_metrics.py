"""Job metrics: the few values of a job that metrics show."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from kubedistill.stages import TERMINAL, current_stage, percent_done
from kubedistill.v1alpha1 import StageStatus, Status
from kubedistill_operator.clock import seconds_of
from kubedistill_operator.job import Job
from kubedistill_operator.status import is_not_understood

_LABEL, _REASON = 128, 63
_TROUBLES = (("Failed", "True"), ("Validated", "False"))
_WAITS = (("QuotaReserved", "False"), ("Progressing", "False"))
"""Conditions that are not as they should be; the first that holds is why the job is where it is."""
_AT_REST = (*TERMINAL, "Suspended", "Deleting")


@dataclass(frozen=True, slots=True)
class JobMetrics:
    """One job, for metrics; times are seconds since the epoch, None where there is none."""

    strategy: str = ""
    queue: str = ""
    student: str = ""
    teacher_kind: str = ""
    phase: str = "Pending"
    created: float = 0.0
    started: float | None = None
    completed: float | None = None
    progressed: float | None = None
    stage: str = ""
    attempt: int = 0
    runs: bool = False
    """Whether the stage's driver is at work, so that what it says holds."""
    stage_ratio: float = 0.0
    ratio: float = 0.0
    gpu_seconds: float = 0.0
    """Of all attempts, as far as they are counted."""
    latest_gpu_seconds: float = 0.0
    """Those of the attempt at work among them."""
    restarts: Mapping[str, int] = field(default_factory=dict)
    """By cause, all stages together."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """Labels of the namespace or the job that the run carries."""
    conditions: tuple[tuple[str, str, str], ...] = ()
    """(type, status, reason) of those that are not as they should be: one at most, and SpecDrift."""


def read_job_metrics(job: Job) -> JobMetrics:
    """The facts of a job as its status has them."""
    spec, status = job.spec, job.status
    stages = status.stages
    over = status.phase in TERMINAL
    current = None if over else current_stage(status)
    trouble = _trouble(status)
    return JobMetrics(
        strategy=spec.training.objective.type if spec else "",
        queue=spec.queue.name[:_LABEL] if spec and spec.queue else "",
        student=spec.student.model.source[:_LABEL] if spec else "",
        teacher_kind="Model" if spec else "",
        phase=status.phase or "Pending",
        created=job.created,
        started=seconds_of(status.run.started_at) if status.run else None,
        completed=_completed(status) if over else None,
        progressed=seconds_of(current.progressed_at) if current else None,
        stage=current.name if current else "",
        attempt=current.attempt if current else 0,
        runs=current is not None and current.state == "Running" and not trouble,
        stage_ratio=current.percent / 100 if current else 0.0,
        ratio=_ratio(stages),
        gpu_seconds=sum(stage.gpu_seconds for stage in stages),
        latest_gpu_seconds=(current.latest_gpu_seconds or 0.0) if current else 0.0,
        restarts={
            cause: sum(getattr(stage.restarts, cause) for stage in stages)
            for cause in ("failure", "infrastructure", "preemption")
        },
        labels=(status.run.labels if status.run else None) or {},
        conditions=trouble + _named(status, "SpecDrift", "True"),
    )


def _trouble(status: Status) -> tuple[tuple[str, str, str], ...]:
    if is_not_understood(status):
        return _named(status, "Stalled", "True")
    asked = _TROUBLES if status.phase in _AT_REST else (*_TROUBLES, *_WAITS)  # a job at rest waits for nothing
    return next((found for kind, truth in asked if (found := _named(status, kind, truth))), ())


def _named(status: Status, kind: str, truth: str) -> tuple[tuple[str, str, str], ...]:
    """A condition with its reason, if it is there and has that status."""
    found = status.condition(kind)
    return ((kind, truth, found.reason[:_REASON]),) if found is not None and found.status == truth else ()


def _completed(status: Status) -> float | None:
    """When the run was over: the last stage's end is not it where a run ends between two stages."""
    for kind in ("Complete", "Failed"):
        if (found := status.condition(kind)) is not None and found.status == "True":
            return seconds_of(found.last_transition_time)
    return seconds_of(max((stage.ended_at for stage in status.stages), default=""))


def _ratio(stages: tuple[StageStatus, ...]) -> float:
    """How much of the chain is done: every stage counts the same, since nobody knows how long each will take."""
    if not stages:
        return 0.0
    return sum(percent_done(stage) / 100 for stage in stages) / len(stages)
