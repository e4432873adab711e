"""Work: what the driver of a running attempt says, kept for metrics alone; no status is written for it."""

from dataclasses import dataclass, field
from typing import Final

from kubedistill.stages import current_stage
from kubedistill.v1alpha1 import Status
from kubedistill_operator.observed import Channel
from kubedistill_operator.telemetry.facts import Facts

FIGURES: Final = {
    "Generate": {"samples_generated": "answers", "tokens_generated": "tokens"},
    "Curate": {"samples_kept": "kept"},
    "Train": {"tokens_trained": "tokens", "train_loss": "loss", "checkpoint_timestamp_seconds": "checkpointAt"},
    "Evaluate": {"samples_generated": "answers", "tokens_generated": "tokens"},
}
"""By stage, the metrics of a job at work and the figures of StageProgress that they show; three at most."""
COUNTERS: Final = frozenset({"samples_generated", "samples_kept", "tokens_generated", "tokens_trained"})


@dataclass(frozen=True, slots=True)
class Work:
    """What one attempt's driver said last."""

    stage: str
    attempt: int
    gpu_seconds: float = 0.0
    values: dict[str, float] = field(default_factory=dict)
    """By metric."""

    def belongs_to(self, facts: Facts) -> bool:
        """Whether the attempt that said it is still at work."""
        return facts.runs and (self.stage, self.attempt) == (facts.stage, facts.attempt)


def read_work(status: Status, channel: Channel | None) -> Work | None:
    """What the current attempt's channel tells of its work; None where there is nothing."""
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
    return Work(stage.name, stage.attempt, progress.gpu_seconds, values)
