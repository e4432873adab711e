"""Job metrics: the values of a job that metrics show."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from kubedistill.stages import TERMINAL, current_stage, percent_done
from kubedistill.v1alpha1 import StageStatus, Status
from kubedistill_operator.clock import seconds_of
from kubedistill_operator.job import Job
from kubedistill_operator.status import is_not_understood

_LABEL, _REASON = 128, 63
_PROBLEMS = (("Failed", "True"), ("Validated", "False"))
_WAITS = (("QuotaReserved", "False"), ("Progressing", "False"))
"""Conditions in an undesired state; the first one explains the state of the job."""
_AT_REST = (*TERMINAL, "Suspended", "Deleting")


@dataclass(frozen=True, slots=True)
class JobMetrics:
    """One job, for metrics; times are seconds since the epoch, None if absent."""

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
    """Whether the stage's driver runs, so that its reports are current."""
    stage_ratio: float = 0.0
    ratio: float = 0.0
    gpu_seconds: float = 0.0
    """GPU-seconds of all attempts, as far as they are counted."""
    latest_gpu_seconds: float = 0.0
    """The part of the running attempt."""
    idle_gpu_seconds: float = 0.0
    """The part of gpu_seconds in which nothing was generated or learned."""
    latest_idle_gpu_seconds: float = 0.0
    restarts: Mapping[str, int] = field(default_factory=dict)
    """By cause, for all stages together."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """Labels of the namespace or the job that the run carries."""
    conditions: tuple[tuple[str, str, str], ...] = ()
    """(type, status, reason) of conditions in an undesired state: at most one, and SpecDrift."""


def read_job_metrics(job: Job) -> JobMetrics:
    """Return the metrics of a job from its status."""
    spec, status = job.spec, job.status
    stages = status.stages
    over = status.phase in TERMINAL
    current = None if over else current_stage(status)
    problem = _find_problem(status)
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
        runs=current is not None and current.state == "Running" and not problem,
        stage_ratio=current.percent / 100 if current else 0.0,
        ratio=_ratio(stages),
        gpu_seconds=sum(stage.gpu_seconds for stage in stages),
        latest_gpu_seconds=(current.latest_gpu_seconds or 0.0) if current else 0.0,
        idle_gpu_seconds=sum(stage.idle_gpu_seconds or 0.0 for stage in stages),
        latest_idle_gpu_seconds=(current.latest_idle_gpu_seconds or 0.0) if current else 0.0,
        restarts={
            cause: sum(getattr(stage.restarts, cause) for stage in stages)
            for cause in ("failure", "infrastructure", "preemption")
        },
        labels=(status.run.labels if status.run else None) or {},
        conditions=problem + _named(status, "SpecDrift", "True"),
    )


def _find_problem(status: Status) -> tuple[tuple[str, str, str], ...]:
    if is_not_understood(status):
        return _named(status, "Stalled", "True")
    asked = _PROBLEMS if status.phase in _AT_REST else (*_PROBLEMS, *_WAITS)  # a job at rest does not wait
    found = next((found for kind, truth in asked if (found := _named(status, kind, truth))), ())
    suspended = _named(status, "Suspended", "True")
    return found or tuple(one for one in suspended if one[2] != "AsAsked")  # what the user asked for is as desired


def _named(status: Status, kind: str, truth: str) -> tuple[tuple[str, str, str], ...]:
    """Return a condition with its reason, if it exists and has that status."""
    found = status.condition(kind)
    return ((kind, truth, found.reason[:_REASON]),) if found is not None and found.status == truth else ()


def _completed(status: Status) -> float | None:
    """Return when the run was over; a run that ends between two stages ends later than its last stage."""
    for kind in ("Complete", "Failed"):
        if (found := status.condition(kind)) is not None and found.status == "True":
            return seconds_of(found.last_transition_time)
    return seconds_of(max((stage.ended_at for stage in status.stages), default=""))


def _ratio(stages: tuple[StageStatus, ...]) -> float:
    """Return the share of the chain that is done; all stages count the same, since their durations are not known."""
    if not stages:
        return 0.0
    return sum(percent_done(stage) / 100 for stage in stages) / len(stages)
