"""Batches: answer rows call by call, and generate only the answers that the cache does not have."""

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from threading import Event, Lock

from kubedistill.errors import EngineLost, Stopped
from kubedistill_runtime.answers import Answer, AnsweredRecord
from kubedistill_runtime.serving.engine import NoEngine, Watch
from kubedistill_runtime.teachers.cache import AnswerCache, Row, ShardReader
from kubedistill_runtime.teachers.calls import Call, plan_calls, shards_per_call
from kubedistill_runtime.teachers.conversation import Generator, converse

log = logging.getLogger(__name__)
_REPORT_SECONDS = 1.0
_ENGINE_LIVES = 2
"""Crashes of the engine on the same rows after which the rows are the cause."""


def missing_rows(rows: Sequence[Row], *, cache: AnswerCache) -> list[Row]:
    """Return the rows without an answer in the cache, each once; a failure of an endpoint is not an answer."""
    known = cache.find_final()
    return list({row.key: row for row in rows if row.key not in known}.values())


def answer_rows(
    rows: Sequence[Row], *, cache: AnswerCache, generator: Generator, report: Callable[[int, int], None]
) -> int:
    """Generate the answers that the cache does not have, and return the number of generated tokens.

    While the engine works, the prompts of the next call are made and the answers of the last one are stored. `report`
    receives the numbers of answered rows and of generated tokens, at least once a second; if it raises Stopped, the
    calls in progress are given up, and nothing that is stored is lost.
    """
    known = cache.find_answers()
    left = Counter(row.key for row in rows if row.key not in known)
    shards = shards_per_call(len(rows)) if generator.engine.repeats else 1
    work = _Work(generator, cache, left, report, done=len(rows) - left.total())
    return work.answer_all(plan_calls(rows, cache=cache, shards=shards))


def collect_answers(rows: Sequence[Row], *, cache: AnswerCache, distributions: bool = True) -> Iterator[AnsweredRecord]:
    """Yield the cached answers of rows, in the order of the rows, optionally without log-probabilities."""
    shards = ShardReader(cache.store, where=cache.find_answers(), distributions=distributions)
    return (AnsweredRecord(row.record, row.sample, shards.answer(row.key)) for row in rows)


def count_ended(rows: Sequence[Row], *, cache: AnswerCache) -> int:
    """Count the rows whose answer ended by itself."""
    ended = cache.find_ended()
    return sum(row.key in ended for row in rows)


@dataclass(slots=True)
class _Work:
    """The calls in progress."""

    generator: Generator
    cache: AnswerCache
    left: Counter[str]
    """How many rows wait for each answer: records may be equal."""
    report: Callable[[int, int], None]
    done: int
    tokens: int = field(default=0, init=False)
    _in_progress: dict[int, tuple[int, int]] = field(default_factory=dict, init=False)
    """Rows and tokens of each call so far."""
    _counting: Lock = field(default_factory=Lock, init=False)
    _storing: Lock = field(default_factory=Lock, init=False)
    _stopping: Event = field(default_factory=Event, init=False)

    def answer_all(self, calls: Iterable[Call]) -> int:
        """Answer calls, and return the number of generated tokens; raises the first error of any of them."""
        self._report()
        # One more than the engine takes: its prompts are made, or its answers stored, while the others generate.
        with ThreadPoolExecutor(self.generator.engine.lanes + 1, thread_name_prefix="call") as pool:
            pending = {pool.submit(self._answer, number, call) for number, call in enumerate(calls)}
            try:
                while pending:
                    ended, pending = wait(pending, timeout=_REPORT_SECONDS, return_when=FIRST_COMPLETED)
                    for call in ended:
                        call.result()
                    self._report()
            except BaseException:
                self._stopping.set()
                pool.shutdown(cancel_futures=True)
                raise
        return self.tokens

    def _report(self) -> None:
        with self._counting:
            done, tokens = self.done, self.tokens
            for rows, made in self._in_progress.values():
                done, tokens = done + rows, tokens + made
        self.report(done, tokens)

    def _answer(self, number: int, call: Call) -> None:
        asked, new = len(call.rows), sum(row.key in self.left for row in call.rows)  # some are asked once more

        def watch(rows: int, tokens: int) -> None:
            if self._stopping.is_set():
                raise Stopped("the stage is ending")
            with self._counting:
                self._in_progress[number] = (rows * new // asked, tokens)

        call.begin(self.cache)
        answers = {answer.row_key: answer for answer in _answer_batch(call.rows, generator=self.generator, watch=watch)}
        with self._storing:
            for shard in call.shards:
                if any(row.key in self.left for row in shard):
                    self.cache.add([answers[row.key] for row in shard])
            call.end(self.cache)
        with self._counting:
            self._in_progress.pop(number, None)
            for answer in answers.values():
                self.done += self.left.pop(answer.row_key, 0)
                self.tokens += sum(len(turn.completion_ids) for turn in answer.turns)


def _answer_batch(rows: Sequence[Row], *, generator: Generator, watch: Watch) -> list[Answer]:
    """Answer rows in one batch, next to others if the engine takes several; a crash of those says nothing."""
    if not generator.engine.repeats:
        try:
            return converse(rows, generator=generator, watch=watch)
        except NoEngine:
            raise
        except EngineLost as error:
            log.warning("a batch is asked again alone", exc_info=error)
    return _answer_alone(rows, generator=generator, watch=watch)


def _answer_alone(rows: Sequence[Row], *, generator: Generator, watch: Watch) -> list[Answer]:
    """Answer rows in one batch; if they crash the engine, split them until the row that crashes it is alone.

    That row is quarantined: its answer has no turns, and Curate counts it as Unanswered.
    """
    for life in range(_ENGINE_LIVES):
        try:
            return converse(rows, generator=generator, watch=watch, alone=True)
        except NoEngine:
            raise
        except EngineLost:
            if life + 1 < _ENGINE_LIVES:
                continue
            if len(rows) == 1:
                return [Answer(rows[0].key)]
    half = len(rows) // 2
    return [
        *_answer_alone(rows[:half], generator=generator, watch=watch),
        *_answer_alone(rows[half:], generator=generator, watch=watch),
    ]
