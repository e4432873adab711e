"""What an objective is: the loss of scored positions, given their hidden states and the student's head.

Shapes: N scored ids, H hidden, V vocabulary.
"""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from kubedistill_runtime.training.batches import Batch
from kubedistill_runtime.training.head import Head


@dataclass(frozen=True, slots=True)
class Objective:
    """One objective, as data."""

    loss: Callable[[Batch, Tensor, Head, float], Tensor]
    """(batch, hidden_NH, head, ce_weight) -> the sum of the losses of all scored ids, in nats."""
    needs_top: bool
    """Whether it needs the teacher's stored distribution."""
