"""Collective operations of workers: sums of gradients and numbers."""

from collections.abc import Iterable
from typing import Protocol

import torch
import torch.distributed as dist
from torch import Tensor, nn


class Collective(Protocol):
    """A group of workers that train one student."""

    rank: int
    world: int

    def sum_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replace each gradient by its sum over all workers."""
        ...

    def sum_number(self, value: float) -> float:
        """Return the sum of a number over all workers, in float64."""
        ...


class Alone:
    """A group of one."""

    rank, world = 0, 1

    def sum_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Leave the gradients as they are."""

    def sum_number(self, value: float) -> float:
        """Return the number itself."""
        return value


class Group:
    """The processes of torch.distributed's default group."""

    def __init__(self, device: torch.device) -> None:
        self.rank, self.world = dist.get_rank(), dist.get_world_size()
        self._device = device  # NCCL works only on GPUs

    def sum_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Sum all gradients in one reduction, concatenated in the order of the parameters."""
        gradients: list[Tensor] = []
        for one in parameters:
            if one.requires_grad:
                if one.grad is None:  # this worker had no sample yet, or the parameter does not affect the loss
                    one.grad = torch.zeros_like(one)
                gradients.append(one.grad)
        flat = torch.cat([gradient.reshape(-1) for gradient in gradients])
        dist.all_reduce(flat)
        start = 0
        for gradient in gradients:
            gradient.copy_(flat[start : start + gradient.numel()].view_as(gradient))
            start += gradient.numel()

    def sum_number(self, value: float) -> float:
        """Sum one float64 in one reduction."""
        number = torch.tensor(value, dtype=torch.float64, device=self._device)
        dist.all_reduce(number)
        return float(number)
