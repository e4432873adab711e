"""Sequence: cross-entropy on the teacher's text (sequence-level distillation, Kim and Rush 2016, arXiv 1606.07947).

Shapes: N scored ids, H hidden, V vocabulary.
"""

import torch
from torch import Tensor

from kubedistill_runtime.training.batches import Batch
from kubedistill_runtime.training.head import Head, sum_over_tiles


def cross_entropy_and_gradient(logits_NV: Tensor, targets_N: Tensor) -> tuple[Tensor, Tensor]:
    """Return the cross-entropy of each position in nats, and its gradient, which takes the place of the logits.

    The gradient is q - 1 at the target, and q elsewhere.
    """
    normalizer_N = torch.logsumexp(logits_NV, dim=1)
    chosen_N1 = logits_NV.gather(1, targets_N[:, None])
    gradient_NV = logits_NV.sub_(normalizer_N[:, None]).exp_()
    gradient_NV.scatter_add_(1, targets_N[:, None], torch.full_like(chosen_N1, -1.0))
    return normalizer_N - chosen_N1[:, 0], gradient_NV


def loss(batch: Batch, hidden_NH: Tensor, head: Head, ce_weight: float) -> Tensor:
    """Return the sum of the cross-entropies of all scored ids, in nats."""
    del ce_weight  # the whole loss is cross-entropy
    return sum_over_tiles(
        hidden_NH, head, tile_loss=lambda logits_NV, rows: cross_entropy_and_gradient(logits_NV, batch.targets_N[rows])
    )
