"""The definition of an objective: its loss, and its requirements on a job.

Shapes: N scored ids, H hidden.
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

from kubedistill_runtime.training.objectives.requirements import Obstacle, Requirement, Supply

if TYPE_CHECKING:
    from torch import Tensor

    from kubedistill_runtime.training.batches import Batch
    from kubedistill_runtime.training.head import Head

    Loss = Callable[[Batch, Tensor, Head, float], Tensor]
    """(batch, hidden_NH, head, ce_weight) -> the sum of the losses of all scored ids, in nats."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    """One objective."""

    module: str
    """The module of this package that has its `loss`."""
    requirements: tuple[Requirement, ...] = ()
    """Requirements on a job; the first one that is not met is reported."""
    reason: str = ""
    """Why Auto uses it if possible."""
    weighs_cross_entropy: bool = False
    """Whether `ceWeight` is the share of cross-entropy in its loss."""

    def obstacle(self, supply: Supply) -> Obstacle | None:
        """Return the first requirement that a job does not meet, or None."""
        found = (requirement(supply) for requirement in self.requirements)
        return next((obstacle for obstacle in found if obstacle is not None), None)

    def load_loss(self) -> "Loss":
        """Return the loss; this imports torch."""
        loss: Loss = import_module(f"kubedistill_runtime.training.objectives.{self.module}").loss
        return loss
