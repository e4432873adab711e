"""Requests: which records to answer and how, one after another, and what comes of that."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from kubedistill.contract.artifacts import EndpointFigures, ServingFigures
from kubedistill_runtime.answers import AnsweredRecord
from kubedistill_runtime.progress import Progress
from kubedistill_runtime.records import Record
from kubedistill_runtime.serving.engine import Sampling
from kubedistill_runtime.storage.store import Store
from kubedistill_runtime.teachers.batches import collect_answers, count_ended, missing_rows
from kubedistill_runtime.teachers.cache import Row, make_rows
from kubedistill_runtime.teachers.probe import Judge, pick_probes

Report = Callable[[int, int], None]
"""Receives the numbers of answered rows and of generated tokens of one request; it may raise Stopped."""
_Figures_co = TypeVar("_Figures_co", bound=ServingFigures | EndpointFigures, covariant=True)


@dataclass(frozen=True, slots=True)
class Request:
    """A set of records to answer with one sampling."""

    records: Sequence[Record]
    sampling: Sampling
    samples: int = 1
    seed: int = 0
    judge: Judge | None = None
    """Judges the answers of a probe; None answers all records without one."""


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


def plan_rows(requests: Mapping[str, Request], *, key_of: Callable[[Request], str]) -> dict[str, Pending]:
    """Return the rows of each request, by name; `key_of` returns the model key for a request's sampling and seed."""
    pending = {}
    for name, request in requests.items():
        key = key_of(request)
        pending[name] = Pending(make_rows(request.records, key=key, samples=request.samples), key)
    return pending


def count_missing(pending: Mapping[str, Pending], *, store: Store) -> int:
    """Count the answers that the cache does not have, each once."""
    return len({row.key for part in pending.values() for row in missing_rows(part.rows, key=part.key, store=store)})


def answer_in_turn(
    requests: Mapping[str, Request],
    pending: Mapping[str, Pending],
    *,
    answer: Callable[[Request, Pending, Report], int],
    store: Store,
    progress: Progress,
) -> int:
    """Answer requests one after another, each after its probe, and return the number of generated tokens.

    `answer` returns the tokens that it generated for one request; the progress is that of all of them.
    Raises LowYield if a probe's answers are not good enough.
    """
    total, before, tokens = sum(len(part.rows) for part in pending.values()), 0, 0
    for name, request in requests.items():
        for part in _find_steps(request, pending[name], store=store):

            def report(done: int, made: int, *, before: int = before, tokens: int = tokens) -> None:
                progress.working(done=before + done, total=total, unit="answers", figures={"tokens": tokens + made})

            tokens += answer(request, part, report)
        before += len(pending[name].rows)
    return tokens


def _find_steps(request: Request, pending: Pending, *, store: Store) -> Iterator[Pending]:
    """Yield the rows to answer next: those of probes, whose answers are judged before the step after, then all."""
    if request.judge is not None and missing_rows(pending.rows, key=pending.key, store=store):
        for rows in pick_probes(pending.rows):
            yield Pending(rows, pending.key)
            answers = collect_answers(rows, key=pending.key, store=store, distributions=False)
            if not request.judge(answers, len(request.records)):
                break
    yield pending
