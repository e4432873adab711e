"""Requests: which records to answer and how, and what comes of that."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from kubedistill.contract.artifacts import EndpointFigures, ServingFigures
from kubedistill_runtime.answers import AnsweredRecord
from kubedistill_runtime.records import Record
from kubedistill_runtime.serving.engine import Sampling
from kubedistill_runtime.storage.store import Store
from kubedistill_runtime.teachers.batches import collect_answers, count_ended
from kubedistill_runtime.teachers.cache import Row

_Figures_co = TypeVar("_Figures_co", bound=ServingFigures | EndpointFigures, covariant=True)


@dataclass(frozen=True, slots=True)
class Request:
    """A set of records to answer with one sampling."""

    records: Sequence[Record]
    sampling: Sampling
    samples: int = 1
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Pending:
    """The rows of one request, and the model key of their answers in the cache."""

    rows: list[Row]
    key: str

    def answers(self, store: Store) -> Iterator[AnsweredRecord]:
        """Yield the answers, in the order of the records."""
        return collect_answers(self.rows, key=self.key, store=store)

    def count_ended(self, store: Store) -> int:
        """Count the answers that ended by themselves."""
        return count_ended(self.rows, key=self.key, store=store)


@dataclass(frozen=True, slots=True)
class GenerationResult(Generic[_Figures_co]):
    """The rows of each request, the figures of the model, and how much was generated."""

    pending: dict[str, Pending]
    figures: _Figures_co
    tokens: int
    """Tokens generated now; 0 if the cache had every answer."""
    generated: int
    """Answers generated now."""
    measured: dict[str, bytes] = field(default_factory=dict)
    """Results of further measurements, by name, as JSON."""
