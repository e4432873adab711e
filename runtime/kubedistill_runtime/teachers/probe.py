"""The probe: a teacher answers a few records first, and all others only if those answers are good enough."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from hashlib import blake2b

from kubedistill_runtime.answers import AnsweredRecord
from kubedistill_runtime.teachers.cache import Row

LOOKS = (16, 256)
"""Records that are answered before each judgment."""

Judge = Callable[[Iterable[AnsweredRecord], int], bool]
"""Receives the answers to the records of a probe, record by record, and the number of all records. Returns whether to
look at more before all are answered; raises LowYield if too few answers will be good enough."""


def pick_probes(rows: Sequence[Row]) -> Iterator[list[Row]]:
    """Yield the rows of the records of each look, picked by a hash of their ids since the file may be sorted.

    A look that has all records comes too late, and is left out.
    """
    records = sorted({row.record.id for row in rows}, key=_rank)
    for look in LOOKS:
        if look < len(records):
            picked = set(records[:look])
            yield [row for row in rows if row.record.id in picked]


def _rank(record: str) -> bytes:
    return blake2b(record.encode(), digest_size=8).digest()
