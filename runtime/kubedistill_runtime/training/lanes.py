"""Lanes: threads of one process that train one student together, as workers do; for small students on CPUs."""

import copy
import itertools
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from threading import Condition
from typing import TypeVar

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
            table.end()  # the others wait for this lane
            raise

    with ThreadPoolExecutor(lanes, thread_name_prefix="lane") as threads:
        running = [threads.submit(run_one, rank) for rank in range(lanes)]
    if errors := [error for one in running if (error := one.exception()) is not None]:
        raise min(errors, key=lambda one: isinstance(one, _OtherLaneEnded))
    return [one.result() for one in running]


class _OtherLaneEnded(Exception):
    """Another lane ended by an error, and takes part in no exchange anymore."""


class _Table:
    """Where each lane gives tensors and gets those of all."""

    def __init__(self, lanes: int) -> None:
        self.lanes = lanes
        self._given: dict[int, dict[int, list[Tensor]]] = {}
        """By the number of the exchange and the rank of the lane."""
        self._changed = Condition()
        self._ended = False

    def exchange(self, own: list[Tensor], *, rank: int, number: int) -> list[list[Tensor]]:
        """Return what each lane gave at its exchange of this number; waits for all of them.

        What all have given arrives, even if one of them ends at once: lanes that agree to stop do so, and the first one
        must save before. Raises _OtherLaneEnded if a lane can't give anything.
        """
        with self._changed:
            self._given.pop(number - 1, None)  # all lanes have come to it, and those that still wait there hold it
            given = self._given.setdefault(number, {})
            given[rank] = own
            self._changed.notify_all()
            self._changed.wait_for(lambda: len(given) == self.lanes or self._ended)
            if len(given) < self.lanes:
                raise _OtherLaneEnded
        return [given[one] for one in range(self.lanes)]

    def end(self) -> None:
        """Note that a lane has ended by an error."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()


class Lane:
    """The collective of one lane: sums are made in the order of the lanes, so that all have the same bits."""

    def __init__(self, rank: int, table: _Table) -> None:
        self.rank, self.world = rank, table.lanes
        self._table, self._exchanges = table, itertools.count()

    def sum_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replace each gradient by a new tensor, since other lanes may still read it."""
        trained = [one for one in parameters if one.requires_grad]
        # A gradient is missing if this lane had no sample yet, or the parameter does not affect the loss.
        first, *others = self._exchange([torch.zeros_like(one) if one.grad is None else one.grad for one in trained])
        sums = [one.clone() for one in first]
        for other in others:
            torch._foreach_add_(sums, other)
        for one, total in zip(trained, sums, strict=True):
            one.grad = total

    def sum_number(self, value: float) -> float:
        """Return the sum of the lanes' numbers, in float64."""
        return sum(float(number) for (number,) in self._exchange([torch.tensor(value, dtype=torch.float64)]))

    def _exchange(self, own: list[Tensor]) -> list[list[Tensor]]:
        return self._table.exchange(own, rank=self.rank, number=next(self._exchanges))
