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
from kubedistill_runtime.teachers.cache import AnswerCache, Row, make_rows
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
    """The rows of one request, and the cache of their model's answers."""

    rows: list[Row]
    cache: AnswerCache

    @property
    def key(self) -> str:
        """The model key of the answers."""
        return self.cache.key

    def answers(self) -> Iterator[AnsweredRecord]:
        """Yield the answers, in the order of the records."""
        return collect_answers(self.rows, cache=self.cache)

    def count_ended(self) -> int:
        """Count the answers that ended by themselves."""
        return count_ended(self.rows, cache=self.cache)


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


def plan_rows(requests: Mapping[str, Request], *, key_of: Callable[[Request], str], store: Store) -> dict[str, Pending]:
    """Return the rows of each request, by name; `key_of` returns the model key for a request's sampling and seed."""
    pending, caches = dict[str, Pending](), dict[str, AnswerCache]()
    for name, request in requests.items():
        key = key_of(request)
        cache = caches.setdefault(key, AnswerCache(store, key))
        pending[name] = Pending(make_rows(request.records, key=key, samples=request.samples), cache)
    return pending


def find_missing(pending: Mapping[str, Pending]) -> list[Row]:
    """Return the rows whose answers the cache does not have, each once."""
    missing = (row for part in pending.values() for row in missing_rows(part.rows, cache=part.cache))
    return list({row.key: row for row in missing}.values())


def answer_in_turn(
    requests: Mapping[str, Request],
    pending: Mapping[str, Pending],
    *,
    answer: Callable[[Request, Pending, Report], int],
    progress: Progress,
) -> int:
    """Answer requests one after another, each after its probe, and return the number of generated tokens.

    `answer` returns the tokens that it generated for one request; the progress is that of all of them.
    Raises LowYield if a probe's answers are not good enough.
    """
    total, before, tokens = sum(len(part.rows) for part in pending.values()), 0, 0
    for name, request in requests.items():
        for part in _find_steps(request, pending[name]):

            def report(done: int, made: int, *, before: int = before, tokens: int = tokens) -> None:
                progress.working(done=before + done, total=total, unit="answers", figures={"tokens": tokens + made})

            tokens += answer(request, part, report)
        before += len(pending[name].rows)
    return tokens


def _find_steps(request: Request, pending: Pending) -> Iterator[Pending]:
    """Yield the rows to answer next: those of probes, whose answers are judged before the step after, then all."""
    if request.judge is not None and missing_rows(pending.rows, cache=pending.cache):
        for rows in pick_probes(pending.rows):
            yield Pending(rows, pending.cache)
            answers = collect_answers(rows, cache=pending.cache, distributions=False)
            if not request.judge(answers, len(request.records)):
                break
    yield pending
