"""Lanes: threads of one process that train one student together, as workers do; for small students on CPUs."""

import copy
import itertools
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, BrokenBarrierError
from typing import Generic, TypeVar

import torch
from torch import Tensor, nn

from kubedistill_runtime.training.collective import Collective
from kubedistill_runtime.training.loop import Loop
from kubedistill_runtime.training.state import State
from kubedistill_runtime.training.student import Student

T = TypeVar("T")


def train_in_lanes(
    student: Student, *, lanes: int, make_loop: Callable[[Student, Collective], Loop], resume: bytes | None
) -> State:
    """Run one loop per lane, each with a copy of the student; returns the state of the first, which has `student`.

    Raises what a loop raises.
    """
    students = [student, *(copy.deepcopy(student) for _ in range(lanes - 1))]
    return run_in_lanes(lanes, run=lambda lane: make_loop(students[lane.rank], lane).run(resume))[0]


def run_in_lanes(lanes: int, *, run: Callable[[Collective], T]) -> list[T]:
    """Call a function once in each lane, and return what it returns; raises the error that ended the others."""
    table = _Table(lanes)

    def run_one(rank: int) -> T:
        torch.set_num_threads(1)
        try:
            return run(Lane(rank, table))
        except BaseException:
            table.barrier.abort()  # the others wait for this lane
            raise

    with ThreadPoolExecutor(lanes, thread_name_prefix="lane") as threads:
        running = [threads.submit(run_one, rank) for rank in range(lanes)]
    if errors := [error for one in running if (error := one.exception()) is not None]:
        raise min(errors, key=lambda one: isinstance(one, BrokenBarrierError))
    return [one.result() for one in running]


class _Meeting(Generic[T]):
    """Where each lane gives a value and gets the values of all."""

    def __init__(self, barrier: Barrier) -> None:
        self._barrier = barrier
        # For even and odd exchanges: a fast lane gives its next value while another one still reads the last ones.
        self._values: tuple[dict[int, T], dict[int, T]] = ({}, {})

    def exchange(self, value: T, *, rank: int, number: int) -> list[T]:
        """Return what each lane gave at its exchange of this number; waits for all of them."""
        values = self._values[number % 2]
        values[rank] = value
        self._barrier.wait()
        return [values[one] for one in range(self._barrier.parties)]


class _Table:
    """What all lanes share."""

    def __init__(self, lanes: int) -> None:
        self.barrier = Barrier(lanes)
        self.gradients = _Meeting[list[Tensor]](self.barrier)
        self.numbers = _Meeting[float](self.barrier)


class Lane:
    """The collective of one lane: sums are made in the order of the lanes, so that all have the same bits."""

    def __init__(self, rank: int, table: _Table) -> None:
        self.rank, self.world = rank, table.barrier.parties
        self._table, self._exchanges = table, itertools.count()

    def sum_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replace each gradient by a new tensor, since other lanes may still read it."""
        trained = [one for one in parameters if one.requires_grad]
        # A gradient is missing if this lane had no sample yet, or the parameter does not affect the loss.
        own = [torch.zeros_like(one) if one.grad is None else one.grad for one in trained]
        first, *others = self._table.gradients.exchange(own, rank=self.rank, number=next(self._exchanges))
        sums = [one.clone() for one in first]
        for other in others:
            torch._foreach_add_(sums, other)
        for one, total in zip(trained, sums, strict=True):
            one.grad = total

    def sum_number(self, value: float) -> float:
        """Return the sum of the lanes' numbers."""
        return sum(self._table.numbers.exchange(value, rank=self.rank, number=next(self._exchanges)))
