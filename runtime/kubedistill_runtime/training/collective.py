"""What workers do together: add up gradients and numbers, and agree to stop."""

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
        """The sum of a number over all workers, in float64."""
        ...


class Alone:
    """A group of one."""

    rank, world = 0, 1

    def sum_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Nothing to add."""

    def sum_number(self, value: float) -> float:
        """The number itself."""
        return value


class Group:
    """The processes of torch.distributed's default group."""

    def __init__(self, device: torch.device) -> None:
        self.rank, self.world = dist.get_rank(), dist.get_world_size()
        self._device = device  # NCCL adds up on GPUs only

    def sum_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """One reduction over all gradients laid end to end, in the order of the parameters."""
        gradients: list[Tensor] = []
        for one in parameters:
            if one.requires_grad:
                if one.grad is None:  # this worker had no sample yet, or the parameter no part in the loss
                    one.grad = torch.zeros_like(one)
                gradients.append(one.grad)
        flat = torch.cat([gradient.reshape(-1) for gradient in gradients])
        dist.all_reduce(flat)
        start = 0
        for gradient in gradients:
            gradient.copy_(flat[start : start + gradient.numel()].view_as(gradient))
            start += gradient.numel()

    def sum_number(self, value: float) -> float:
        """One reduction of one float64."""
        number = torch.tensor(value, dtype=torch.float64, device=self._device)
        dist.all_reduce(number)
        return float(number)
