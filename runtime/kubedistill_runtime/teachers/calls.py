"""Calls: the shards that an engine answers as one batch, and the notes by which a killed call is repeated as a whole.

`rows/<model key>/calls/<sha of row keys>.json` says which rows of a call are asked, from its begin to its end.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pydantic import BaseModel

from kubedistill.canonical import digest
from kubedistill_runtime.teachers.cache import SHARD_ROWS, AnswerCache, Row

_LEAST_CALLS, _MOST_SHARDS = 8, 8
"""Longer calls wait less often for their longest reply, but a kill loses more, and every call is held in memory."""


class _Note(BaseModel):
    """The file of a call that has begun."""

    wanted: list[int]
    """Places of its rows among those of its shards."""


@dataclass(frozen=True, slots=True)
class Call:
    """The rows to ask of some consecutive shards, each once."""

    shards: tuple[tuple[Row, ...], ...]
    wanted: tuple[int, ...]
    note: str
    """Name of its note; empty for a single shard, which is stored as a whole or not at all."""

    @property
    def rows(self) -> list[Row]:
        """The rows of all its shards."""
        return [row for shard in self.shards for row in shard]

    def begin(self, cache: AnswerCache) -> None:
        """Note which rows are asked, before they are."""
        if self.note:
            cache.store.put_if_absent(self.note, _Note(wanted=list(self.wanted)).model_dump_json().encode())

    def end(self, cache: AnswerCache) -> None:
        """Forget the note of a call whose answers are stored."""
        if self.note:
            cache.store.delete(self.note)


def shards_per_call(rows: int) -> int:
    """Return how many shards of a list are one batch of an engine that repeats its replies: at least 8 batches."""
    return max(1, min(_MOST_SHARDS, rows // (_LEAST_CALLS * SHARD_ROWS)))


def plan_calls(rows: Sequence[Row], *, cache: AnswerCache, shards: int) -> Iterator[Call]:
    """Yield the calls for rows that the cache does not have, of this number of shards each.

    They are cut from the whole list and not from the missing rows, so a run that was killed continues with the same
    ones. A call that had begun is asked again for all rows of its note, since replies depend on the batch that they are
    in; of several shards, only those that are missing are stored then.
    """
    known, planned = cache.find_answers(), set[str]()
    for start in range(0, len(rows), shards * SHARD_ROWS):
        part = rows[start : start + shards * SHARD_ROWS]
        note = f"rows/{cache.key}/calls/{digest([row.key for row in part])}.json" if len(part) > SHARD_ROWS else ""
        missing = {place: row.key for place, row in enumerate(part) if row.key not in known and row.key not in planned}
        wanted = sorted({key: place for place, key in reversed(missing.items())}.values())
        if note and cache.store.exists(note):
            if wanted:
                wanted = _Note.model_validate_json(cache.store.read(note)).wanted
            else:
                cache.store.delete(note)
        if wanted:
            planned.update(part[place].key for place in wanted)
            cut = [
                tuple(part[place] for place in wanted if first <= place < first + SHARD_ROWS)
                for first in range(0, len(part), SHARD_ROWS)
            ]
            yield Call(tuple(shard for shard in cut if shard), tuple(wanted), note)
