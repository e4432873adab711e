"""Repetition: texts that repeat one phrase many times, in any script; regular texts, such as tables, are accepted."""

import zlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from kubedistill_runtime.curation.runs import find_runs
from kubedistill_runtime.curation.words import join_operators, split_tokens, weigh

_SHORTEST_WORDS = 10
_LEAST_OCCURRENCES = 3
_MAX_SHARE = 0.2
_LEAST_BYTES = 200  # for shorter texts, zlib's overhead is too large
_MAX_COMPRESSION = 12.0  # rows of JSON that differ only in a number reach 10


def is_repetitive(text: str) -> bool:
    """Return whether a phrase of 10 words or more occurs 3 times and covers over 20 % of a string.

    A string that zlib shrinks 12 times is repetitive too.
    In scripts without spaces, characters count by their weight: 20 Chinese characters are 10 words. White space counts
    as one space.
    """
    data = " ".join(text.split()).encode()
    if len(data) >= _LEAST_BYTES and len(data) / len(zlib.compress(data)) > _MAX_COMPRESSION:
        return True
    items = join_operators(split_tokens(text))
    weight_W = np.fromiter(weigh(items), np.int64, len(items))
    words = _SHORTEST_WORDS
    while words * _LEAST_OCCURRENCES <= len(items):  # a phrase covers at least half of the next length
        if _largest_share(items, weight_W, words=words) > _MAX_SHARE:
            return True
        words *= 2
    return False


def _largest_share(items: Sequence[str], weight_W: NDArray[np.int64], *, words: int) -> float:
    """Return the share of the most frequent run of `words` words in the text's weight, if it occurs 3 times.

    Overlapping occurrences are not counted.
    """
    runs = find_runs([items], words=words)
    _, group_R, count_R = np.unique(runs.hash_R, return_inverse=True, return_counts=True)
    frequent_R = np.flatnonzero(count_R[group_R] >= _LEAST_OCCURRENCES)
    sum_W = np.concatenate([[0], np.cumsum(weight_W)])
    found: dict[int, tuple[int, int, int]] = {}  # group: occurrences, their weight, where the last one ends
    for group, start, end in zip(
        group_R[frequent_R].tolist(), runs.start_R[frequent_R].tolist(), runs.end_R[frequent_R].tolist(), strict=True
    ):
        count, weight, after = found.get(group, (0, 0, 0))
        if start >= after:
            found[group] = count + 1, weight + int(sum_W[end] - sum_W[start]), end
    heaviest = max((weight for count, weight, _ in found.values() if count >= _LEAST_OCCURRENCES), default=0)
    return heaviest / int(sum_W[-1])
