"""Batches: answer rows shard by shard, and generate only the answers that the cache does not have."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence

from kubedistill.errors import EngineLost
from kubedistill_runtime.answers import Answer, AnsweredRecord
from kubedistill_runtime.teachers.cache import (
    SHARD_ROWS,
    AnswerCache,
    Row,
    ShardReader,
)
from kubedistill_runtime.teachers.conversation import Generator, converse

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

    Shards are cut from the whole list and not from the missing rows, so a run that was killed continues with the same
    shards and, since a shard is one batch, with the same token ids. `report` receives the numbers of answered rows and
    of generated tokens; it may raise Stopped, and nothing is lost.
    """
    known = cache.find_answers()
    left = Counter(row.key for row in rows if row.key not in known)
    done, tokens = len(rows) - left.total(), 0
    for shard in _cut(rows):
        wanted = list({row.key: row for row in shard if row.key in left}.values())
        report(done, tokens)
        if not wanted:
            continue
        answers = _answer_shard(wanted, generator=generator)
        cache.add(answers)
        done += sum(left.pop(row.key) for row in wanted)
        tokens += sum(len(turn.completion_ids) for answer in answers for turn in answer.turns)
    report(done, tokens)
    return tokens


def collect_answers(rows: Sequence[Row], *, cache: AnswerCache, distributions: bool = True) -> Iterator[AnsweredRecord]:
    """Yield the cached answers of rows, in the order of the rows, optionally without log-probabilities."""
    shards = ShardReader(cache.store, where=cache.find_answers(), distributions=distributions)
    return (AnsweredRecord(row.record, row.sample, shards.answer(row.key)) for row in rows)


def count_ended(rows: Sequence[Row], *, cache: AnswerCache) -> int:
    """Count the rows whose answer ended by itself."""
    ended = cache.find_ended()
    return sum(row.key in ended for row in rows)


def _cut(rows: Sequence[Row]) -> Iterator[Sequence[Row]]:
    for start in range(0, len(rows), SHARD_ROWS):
        yield rows[start : start + SHARD_ROWS]


def _answer_shard(rows: Sequence[Row], *, generator: Generator) -> list[Answer]:
    """Answer rows in one batch; if they crash the engine, split them until the row that crashes it is alone.

    That row is quarantined: its answer has no turns, and Curate counts it as Unanswered.
    """
    for life in range(_ENGINE_LIVES):
        try:
            return converse(rows, generator=generator)
        except EngineLost:
            if life + 1 < _ENGINE_LIVES:
                continue
            if len(rows) == 1:
                return [Answer(rows[0].key)]
    half = len(rows) // 2
    return [*_answer_shard(rows[:half], generator=generator), *_answer_shard(rows[half:], generator=generator)]
