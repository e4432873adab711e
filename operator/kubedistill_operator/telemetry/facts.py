"""Facts: what metrics say of a job, a few small values instead of the job itself."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from kubedistill.v1alpha1 import StageStatus
from kubedistill_operator.clock import seconds_of
from kubedistill_operator.job import Job

_LABEL = 128
_OVER = ("Succeeded", "Skipped")
_WATCHED = ("Validated", "Progressing", "SpecDrift")
"""Conditions that the phase does not tell already."""


@dataclass(frozen=True, slots=True)
class Facts:
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
    stage_ratio: float = 0.0
    ratio: float = 0.0
    gpu_seconds: float = 0.0
    restarts: Mapping[str, int] = field(default_factory=dict)
    """By cause, all stages together."""
    conditions: Mapping[str, str] = field(default_factory=dict)


def read_facts(job: Job) -> Facts:
    """The facts of a job as its status has them."""
    spec, status = job.spec, job.status
    stages = status.stages
    over = status.phase in ("Succeeded", "Failed")
    current = None if over else next((stage for stage in stages if stage.state not in _OVER), None)
    ended = max((stage.ended_at for stage in stages), default="")
    return Facts(
        strategy=spec.training.objective.type if spec else "",
        queue=spec.queue.name[:_LABEL] if spec and spec.queue else "",
        student=spec.student.model.source[:_LABEL] if spec else "",
        teacher_kind="Model" if spec else "",
        phase=status.phase or "Pending",
        created=job.created,
        started=seconds_of(status.run.started_at) if status.run else None,
        completed=seconds_of(ended) if over else None,
        progressed=seconds_of(current.progressed_at) if current else None,
        stage=current.name if current else "",
        stage_ratio=current.percent / 100 if current else 0.0,
        ratio=_ratio(stages),
        gpu_seconds=sum(stage.gpu_seconds for stage in stages),
        restarts={
            cause: sum(getattr(stage.restarts, cause) for stage in stages)
            for cause in ("failure", "infrastructure", "preemption")
        },
        conditions={one.type: one.status for one in status.conditions if one.type in _WATCHED},
    )


def _ratio(stages: tuple[StageStatus, ...]) -> float:
    """How much of the chain is done: every stage counts the same, since nobody knows how long each will take."""
    if not stages:
        return 0.0
    return sum(1.0 if stage.state in _OVER else stage.percent / 100 for stage in stages) / len(stages)
