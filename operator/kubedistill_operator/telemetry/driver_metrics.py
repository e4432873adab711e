"""Driver metrics: the figures of a running driver, which only metrics show; no status is written for them."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from kubedistill.stages import current_stage
from kubedistill.v1alpha1 import Status
from kubedistill_operator.observed import Channel
from kubedistill_operator.telemetry.job_metrics import JobMetrics

FIGURES: Final = {
    "Generate": {"samples_generated": "answers", "tokens_generated": "tokens"},
    "Curate": {"samples_kept": "kept"},
    "Train": {"tokens_trained": "tokens", "train_loss": "loss", "checkpoint_timestamp_seconds": "checkpointAt"},
    "Evaluate": {"samples_generated": "answers", "tokens_generated": "tokens"},
}
"""By stage: the metrics of a running job, and the figures of StageProgress that they show; at most three."""
TIMES: Final = frozenset({"checkpoint_timestamp_seconds"})
COUNTERS: Final = frozenset({"samples_generated", "samples_kept", "tokens_generated", "tokens_trained"})

SeenSince = Callable[[str, float], float]
"""Return when something was first seen in the state that began at a time by another clock."""


@dataclass(frozen=True, slots=True)
class DriverMetrics:
    """What one attempt's driver last reported."""

    stage: str
    attempt: int
    gpu_seconds: float = 0.0
    values: dict[str, float] = field(default_factory=dict)
    """By metric."""
    idle_gpu_seconds: float = 0.0

    def belongs_to(self, job_metrics: JobMetrics) -> bool:
        """Return whether the attempt that reported it still runs."""
        return job_metrics.runs and (self.stage, self.attempt) == (job_metrics.stage, job_metrics.attempt)


def read_driver_metrics(status: Status, channel: Channel | None, *, seen_since: SeenSince) -> DriverMetrics | None:
    """Return what the current attempt's channel reports; None if there is nothing.

    A time is when this operator first saw the one that the driver reported, whose clock may be wrong.
    """
    stage, progress = current_stage(status), channel.progress if channel is not None else None
    if stage is None or progress is None:
        return None
    figures = {"answers": float(progress.done)} if progress.unit == "answers" else {}
    figures |= progress.figures
    shown = FIGURES.get(stage.name, {})
    values = {
        metric: figures[name]
        for metric, name in shown.items()
        if name in figures and (metric not in COUNTERS or figures[name] >= 0)
    }
    values |= {
        metric: seen_since(f"{metric} {stage.child}", reported)
        for metric, reported in values.items()
        if metric in TIMES
    }
    return DriverMetrics(stage.name, stage.attempt, progress.gpu_seconds, values, progress.idle_gpu_seconds)
