"""Spending: what drivers have spent, and what a budget leaves to one that runs on this machine."""

from dataclasses import dataclass, field
from typing import TypeVar

from kubedistill.contract import StageProgress, StageResult
from kubedistill.errors import BudgetSpent
from kubedistill.v1alpha1 import Budget

_Message = TypeVar("_Message", StageProgress, StageResult)


@dataclass(frozen=True, slots=True)
class Spent:
    """What drivers have spent."""

    gpu_seconds: float = 0.0
    dollars: float = 0.0
    """US dollars that endpoints have charged."""
    idle_gpu_seconds: float = 0.0
    """The part of gpu_seconds in which nothing was generated or learned."""

    def add_to(self, message: _Message) -> _Message:
        """Return the message of a later driver with this in addition."""
        return message.model_copy(
            update={
                "gpu_seconds": self.gpu_seconds + message.gpu_seconds,
                "dollars": self.dollars + message.dollars,
                "idle_gpu_seconds": self.idle_gpu_seconds + message.idle_gpu_seconds,
            }
        )


@dataclass(slots=True)
class Meter:
    """Adds up what the stages of one command spend, and compares it with the budget."""

    budget: Budget | None
    _ended: Spent = field(default=Spent(), init=False)
    """By stages that have ended."""
    _latest: Spent = field(default=Spent(), init=False)
    """By all stages, as of the latest message."""

    def note(self, progress: StageProgress) -> None:
        """Take over what the running stage has spent."""
        total = self._ended.add_to(progress)
        self._latest = Spent(total.gpu_seconds, total.dollars)

    def end_stage(self, result: StageResult) -> None:
        """Take over what a stage has spent in all."""
        total = self._ended.add_to(result)
        self._ended = self._latest = Spent(total.gpu_seconds, total.dollars)

    @property
    def is_spent(self) -> bool:
        """Whether the budget is spent."""
        return bool(self._describe())

    def check(self) -> None:
        """Raise BudgetSpent if the budget is spent."""
        if end := self._describe():
            raise BudgetSpent(end, fix="Raise it and run again to continue from here; that run counts from 0")

    def _describe(self) -> str:
        if self.budget is None:
            return ""
        return self.budget.describe_end(gpu_hours=self._latest.gpu_seconds / 3600, dollars=self._latest.dollars)
