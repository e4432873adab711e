"""The schedule: the number of steps, and the learning rate of each."""

import math
from dataclasses import dataclass

from kubedistill.v1alpha1 import Training

_FLOOR = 0.05  # final value of the cosine, as a share of the peak


@dataclass(frozen=True, slots=True)
class Schedule:
    """The steps of a training, counted from 0."""

    steps: int
    steps_per_epoch: int
    warmup: int
    cosine: bool

    def factor(self, step: int) -> float:
        """Return the learning rate of a step as a share of the peak: a linear warmup, then a cosine or a constant."""
        if step < self.warmup:
            return (step + 1) / self.warmup
        if not self.cosine:
            return 1.0
        progress = (step - self.warmup) / max(1, self.steps - self.warmup)
        return _FLOOR + (1 - _FLOOR) * 0.5 * (1 + math.cos(math.pi * progress))


def make_schedule(training: Training, *, samples: int) -> Schedule:
    """Return the schedule of a training set."""
    per_epoch = math.ceil(samples / training.global_batch_size)
    steps = per_epoch * training.epochs
    if training.max_steps is not None:
        steps = min(steps, training.max_steps)
    warmup = math.ceil(steps * training.optimizer.warmup_ratio)
    return Schedule(steps, per_epoch, warmup, cosine=training.optimizer.scheduler == "Cosine")
