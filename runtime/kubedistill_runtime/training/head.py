"""The student's head, applied tile by tile: the gradient is formed in the forward pass, and no [N, V] survives it.

Shapes: N scored ids, H hidden, V vocabulary.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

Grade = Callable[[Tensor, slice], tuple[Tensor, Tensor]]
"""(logits_NV of a tile, its rows) -> (loss_N, gradient of loss_N by logits_NV)."""

TILE_ROWS = 256


@dataclass(frozen=True, slots=True)
class Head:
    """logits = softcap(scale * (hidden @ weight.T + bias)), as the model's own forward has it."""

    weight_VH: Tensor
    bias_V: Tensor | None = None
    scale: float = 1.0
    softcap: float | None = None
    """Gemma's cap: logits become cap * tanh(logits / cap)."""


def sum_over_tiles(hidden_NH: Tensor, head: Head, *, grade: Grade) -> Tensor:
    """Sum a loss over all rows of hidden; one scalar that autograd can follow to hidden and head."""
    total: Tensor = _TiledLoss.apply(hidden_NH, head.weight_VH, head.bias_V, head, grade)
    return total


class _TiledLoss(torch.autograd.Function):
    @staticmethod
    def forward(
        context: Any, hidden_NH: Tensor, weight_VH: Tensor, bias_V: Tensor | None, head: Head, grade: Grade
    ) -> Tensor:
        hidden_gradient_NH = torch.empty_like(hidden_NH, dtype=torch.float32)
        weight_gradient_VH = torch.zeros_like(weight_VH, dtype=torch.float32)
        bias_gradient_V = None if bias_V is None else torch.zeros_like(bias_V, dtype=torch.float32)
        total = torch.zeros((), dtype=torch.float64, device=hidden_NH.device)
        for start in range(0, hidden_NH.shape[0], TILE_ROWS):
            rows = slice(start, start + TILE_ROWS)
            logits_NV, slope_NV = _logits(hidden_NH[rows], weight_VH, bias_V, head)
            loss_N, gradient_NV = grade(logits_NV, rows)
            total += loss_N.sum(dtype=torch.float64)
            gradient_NV = gradient_NV * (head.scale if slope_NV is None else head.scale * slope_NV)
            working_NV = gradient_NV.to(weight_VH.dtype)
            hidden_gradient_NH[rows] = working_NV @ weight_VH
            weight_gradient_VH += working_NV.T @ hidden_NH[rows]
            if bias_gradient_V is not None:
                bias_gradient_V += gradient_NV.sum(0)
        context.gradients = (hidden_gradient_NH.to(hidden_NH.dtype), weight_gradient_VH.to(weight_VH.dtype))
        context.bias_gradient_V = (
            None if bias_V is None or bias_gradient_V is None else bias_gradient_V.to(bias_V.dtype)
        )
        return total.to(torch.float64 if hidden_NH.dtype == torch.float64 else torch.float32)

    @staticmethod
    def backward(context: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        hidden_gradient_NH, weight_gradient_VH = context.gradients
        bias = context.bias_gradient_V
        return (
            hidden_gradient_NH * upstream,
            weight_gradient_VH * upstream,
            None if bias is None else bias * upstream,
            None,
            None,
        )


def _logits(hidden_NH: Tensor, weight_VH: Tensor, bias_V: Tensor | None, head: Head) -> tuple[Tensor, Tensor | None]:
    """Logits in float32 or better, and the slope of the soft cap where there is one."""
    logits_NV = (hidden_NH @ weight_VH.T).to(torch.promote_types(hidden_NH.dtype, torch.float32))
    if bias_V is not None:
        logits_NV = logits_NV + bias_V
    logits_NV = logits_NV * head.scale
    if head.softcap is None:
        return logits_NV, None
    squashed_NV = torch.tanh(logits_NV / head.softcap)
    return head.softcap * squashed_NV, 1 - squashed_NV**2
