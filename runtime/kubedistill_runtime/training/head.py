"""The student's head, applied in tiles: the forward pass computes the gradient and keeps no [N, V] tensor.

Shapes: N scored ids, H hidden, V vocabulary.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

TileLoss = Callable[[Tensor, slice], tuple[Tensor, Tensor]]
"""(logits_NV of a tile, its rows) -> (loss_N, gradient of loss_N by logits_NV); it may overwrite the logits."""

TILE_ROWS = 256


@dataclass(frozen=True, slots=True)
class Head:
    """logits = softcap(scale * (hidden @ weight.T + bias)), as in the model's own forward pass."""

    weight_VH: Tensor
    bias_V: Tensor | None = None
    scale: float = 1.0
    softcap: float | None = None
    """Gemma's cap: logits become cap * tanh(logits / cap)."""


def sum_over_tiles(hidden_NH: Tensor, head: Head, *, tile_loss: TileLoss) -> Tensor:
    """Return the sum of a loss over all rows of hidden, as a scalar with gradients for hidden and head.

    Matrix products are in autocast's precision, otherwise in hidden's; everything else is in float32 or better.
    """
    total: Tensor = _TiledLoss.apply(hidden_NH, head.weight_VH, head.bias_V, head, tile_loss)
    return total


class _TiledLoss(torch.autograd.Function):
    @staticmethod
    def forward(
        context: Any, hidden_NH: Tensor, weight_VH: Tensor, bias_V: Tensor | None, head: Head, tile_loss: TileLoss
    ) -> Tensor:
        kind = hidden_NH.device.type
        working = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else hidden_NH.dtype
        exact = torch.promote_types(working, torch.float32)
        # The head may be frozen (adapters), and a measurement needs no gradient at all.
        wanted = context.needs_input_grad
        hidden_gradient_NH = torch.zeros_like(hidden_NH) if wanted[0] else None
        weight_gradient_VH = torch.zeros_like(weight_VH, dtype=exact) if wanted[1] else None
        bias_gradient_V = torch.zeros_like(bias_V, dtype=exact) if bias_V is not None and wanted[2] else None
        working_NH, working_VH = hidden_NH.to(working), weight_VH.to(working)
        total = torch.zeros((), dtype=torch.float64, device=hidden_NH.device)
        for start in range(0, hidden_NH.shape[0], TILE_ROWS):
            rows = slice(start, start + TILE_ROWS)
            logits_NV, slope_NV = compute_logits(working_NH[rows], working_VH, bias_V, head)
            loss_N, gradient_NV = tile_loss(logits_NV, rows)
            total += loss_N.sum(dtype=torch.float64)
            if slope_NV is not None:
                gradient_NV = gradient_NV * slope_NV
            if head.scale != 1.0:
                gradient_NV = gradient_NV * head.scale
            working_NV = gradient_NV.to(working)
            if hidden_gradient_NH is not None:
                hidden_gradient_NH[rows] = working_NV @ working_VH
            if weight_gradient_VH is not None:
                weight_gradient_VH += working_NV.T @ working_NH[rows]
            if bias_gradient_V is not None:
                bias_gradient_V += gradient_NV.sum(0)
        context.gradients = (hidden_gradient_NH, weight_gradient_VH, bias_gradient_V)
        return total.to(exact)

    @staticmethod
    def backward(context: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        scaled = (None if gradient is None else gradient * upstream for gradient in context.gradients)
        return (*scaled, None, None)


def compute_logits(
    hidden_NH: Tensor, weight_VH: Tensor, bias_V: Tensor | None, head: Head
) -> tuple[Tensor, Tensor | None]:
    """Return the logits in float32 or better, and the slope of the soft cap, if there is one."""
    logits_NV = (hidden_NH @ weight_VH.T).to(torch.promote_types(hidden_NH.dtype, torch.float32))
    if bias_V is not None:
        logits_NV = logits_NV + bias_V
    if head.scale != 1.0:
        logits_NV = logits_NV * head.scale
    if head.softcap is None:
        return logits_NV, None
    squashed_NV = torch.tanh(logits_NV / head.softcap)
    return head.softcap * squashed_NV, 1 - squashed_NV**2
