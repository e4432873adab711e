"""What an objective is: where its loss is, and what a job must have for it.

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
    """One objective, as data."""

    module: str
    """The module of this package whose `loss` it is."""
    requirements: tuple[Requirement, ...] = ()
    """What a job must have; the first one that is not met is named."""
    reason: str = ""
    """Why Auto takes it where it can."""
    weighs_cross_entropy: bool = False
    """Whether `ceWeight` is the share of cross-entropy in its loss."""

    def obstacle(self, supply: Supply) -> Obstacle | None:
        """Return what stands against this objective in a job, or None."""
        found = (requirement(supply) for requirement in self.requirements)
        return next((obstacle for obstacle in found if obstacle is not None), None)

    def load_loss(self) -> "Loss":
        """Return the loss; this imports torch."""
        loss: Loss = import_module(f"kubedistill_runtime.training.objectives.{self.module}").loss
        return loss
