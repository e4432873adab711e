"""Near-duplicates: records whose prompts share nearly all their words, found by MinHash (Broder 1997).

Shapes: N records; R different runs of words of one prompt; P permutations; G records in one group.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from hashlib import blake2b
from itertools import combinations
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from kubedistill_runtime.curation.runs import find_runs
from kubedistill_runtime.curation.words import join_operators, split_tokens
from kubedistill_runtime.records import Record

THRESHOLD = 0.9
MANY_PROMPTS = 10
_WORDS = 3
_BANDS, _BAND_ROWS = 16, 8  # they find 99.99 % of the pairs at the threshold; each found pair is compared exactly
_SEED = 1
_BATCH = 2048
_NUMBER = re.compile(r"\d")

Runs = NDArray[np.uint32]


def find_near_duplicates(records: Sequence[Record]) -> Mapping[str, Sequence[str]]:
    """Return the near-duplicates of each record that has some, by id; the order of the records does not matter.

    The runs of 3 words in the user messages are compared, in scripts without spaces by weight (6 Chinese characters).
    Two prompts are near-duplicates if 90 % of the runs that they have together are the same. Prompts with different
    numbers or other messages never are. Runs that 10 prompts have are a template and do not count, so that time and
    memory are linear in the number of words; prompts that are all template are near-duplicates if they are equal.
    """
    runs = list(_cut(records))
    every, count = np.unique(np.concatenate([np.empty(0, np.uint32), *runs]), return_counts=True)
    template = every[count >= MANY_PROMPTS]
    equal: dict[bytes, list[str]] = {}
    found: dict[str, list[str]] = {}
    own: dict[str, Runs] = {}
    for record, runs_R in zip(records, runs, strict=True):
        rest_R = np.setdiff1d(runs_R, template, assume_unique=True)
        if len(rest_R):
            own[record.id] = rest_R
        else:
            found[record.id] = equal.setdefault(runs_R.tobytes(), [])
            found[record.id].append(record.id)
    for one, other in _find_candidates(own):
        if _similarity(own[one], own[other]) >= THRESHOLD:
            found.setdefault(one, []).append(other)
            found.setdefault(other, []).append(one)
    return found


def _find_candidates(runs: Mapping[str, Runs]) -> set[tuple[str, str]]:
    """Return pairs of records with a band of equal minima; those above the threshold are almost surely among them."""
    from datasketch import MinHash  # it imports scipy.integrate, which takes a second; every stage imports this module

    ids, empty = list(runs), MinHash(_BANDS * _BAND_ROWS, seed=_SEED, hashfunc=int)
    signature_NP = np.empty((len(ids), _BANDS * _BAND_ROWS), np.uint32)
    for place, runs_R in enumerate(runs.values()):
        signature = empty.copy()
        signature.update_batch(runs_R.tolist())
        signature_NP[place] = signature.hashvalues
    pairs = set[tuple[str, str]]()
    for band in range(_BANDS):
        rows = np.ascontiguousarray(signature_NP[:, band * _BAND_ROWS : (band + 1) * _BAND_ROWS])
        for group_G in _group_equal(rows):
            pairs.update(combinations(sorted(ids[place] for place in group_G), 2))
    return pairs


def _group_equal(rows: NDArray[np.uint32]) -> Iterator[NDArray[np.int64]]:
    """Yield the places of each row that occurs several times."""
    values_N = rows.view(f"V{rows.dtype.itemsize * rows.shape[1]}")[:, 0] if len(rows) else np.empty(0, "V4")
    _, group_N, size_N = np.unique(values_N, return_inverse=True, return_counts=True)
    several_N = np.flatnonzero(size_N[group_N] > 1)
    several_N = several_N[np.argsort(group_N[several_N], kind="stable")]
    yield from np.split(several_N, np.flatnonzero(np.diff(group_N[several_N])) + 1) if len(several_N) else ()


def _cut(records: Sequence[Record]) -> Iterator[Runs]:
    """Yield the different runs of each prompt, as sorted hashes that are the same in every process."""
    for first in range(0, len(records), _BATCH):
        batch = records[first : first + _BATCH]
        items = [join_operators(split_tokens(_user_text(record))) for record in batch]
        runs = find_runs(items, words=_WORDS, code=_code)
        start = np.searchsorted(runs.record_R, np.arange(len(batch) + 1))
        for place, record in enumerate(batch):
            own_R = (runs.hash_R[start[place] : start[place + 1]] >> np.uint64(32)).astype(np.uint32)
            if not len(own_R):
                text = "\n".join(items[place]) or _user_text(record)  # signs alone are no words
                own_R = np.array([crc32(text.encode())], np.uint32)
            yield np.unique(own_R ^ np.uint32(_digest_context(record, items[place])))


def _user_text(record: Record) -> str:
    return "\n".join(message.content for message in record.messages if message.role == "user")


def _digest_context(record: Record, items: Sequence[str]) -> int:
    """Return a digest of the numbers and of all messages but the user's; prompts that differ in it share no run."""
    numbers = [item for item in items if _NUMBER.search(item)]
    others = [message.content for message in record.messages if message.role != "user"]
    return crc32("\n".join([*numbers, *others]).encode())


@lru_cache(maxsize=1 << 16)
def _code(item: str) -> int:
    """Return a hash of 64 bits; with 32, runs that differ in one word would have equal upper halves."""
    return int.from_bytes(blake2b(item.encode(), digest_size=8).digest(), signed=True)


def _similarity(one_R: Runs, other_R: Runs) -> float:
    """Return the Jaccard similarity of two prompts' runs."""
    shared = len(np.intersect1d(one_R, other_R, assume_unique=True))
    return shared / (len(one_R) + len(other_R) - shared)
