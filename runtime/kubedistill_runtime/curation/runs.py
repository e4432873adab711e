"""Runs: all sequences of a fixed number of words in texts, as arrays of 64-bit hashes.

Shapes: W items of all texts, end to end; R runs; N texts.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from kubedistill_runtime.curation.words import WORD, weigh

NGRAM = 13  # the length that GPT-3's decontamination used (arXiv 2005.14165, appendix C)
_BASE = 0x9E3779B97F4A7C15  # odd, so that it has an inverse modulo 2 ** 64

Places = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Runs:
    """Runs of the same number of words; in one process, equal runs have equal hashes, and collisions are rare."""

    hash_R: NDArray[np.uint64]
    record_R: Places
    """Place of the text."""
    start_R: Places
    """Place of the first item in the text."""
    end_R: Places
    """Place after the last item in the text."""

    def only(self, mask_R: NDArray[np.bool_]) -> Self:
        """Return the runs selected by a mask."""
        return replace(
            self,
            hash_R=self.hash_R[mask_R],
            record_R=self.record_R[mask_R],
            start_R=self.start_R[mask_R],
            end_R=self.end_R[mask_R],
        )


def find_runs(
    texts: Sequence[Sequence[str]], *, first: int = 0, words: int = NGRAM, code: Callable[[str], int] = hash
) -> Runs:
    """Return the runs of texts that are split into items; `first` is the place of the first text.

    A run ends where the weight of its items reaches that of `words` words. Hashes are polynomials of the items' hashes
    modulo 2 ** 64, computed from one cumulative sum (Karp and Rabin 1987). With a `code` of items that is the same in
    every process, hashes are too.
    """
    items = [item for text in texts for item in text]
    count_N = np.array([len(text) for text in texts], np.int64)
    offset_N = np.cumsum(count_N) - count_N
    record_W = np.repeat(np.arange(len(texts)), count_N)
    weight_W = np.fromiter(weigh(items), np.int64, len(items))
    sum_W = np.concatenate([[0], np.cumsum(weight_W)])
    end_W = np.searchsorted(sum_W, sum_W[:-1] + words * WORD)
    start_R = np.flatnonzero(end_W <= (offset_N + count_N)[record_W])
    end_R, record_R = end_W[start_R], record_W[start_R]
    code_W = np.fromiter(map(code, items), np.int64, len(items)).view(np.uint64)
    hash_R = hash_between(code_W, start_R, end_R)
    return Runs(hash_R, record_R + first, start_R - offset_N[record_R], end_R - offset_N[record_R])


def concatenate(parts: Sequence[Runs]) -> Runs:
    """Return the runs of all parts, in order."""
    return Runs(
        np.concatenate([np.empty(0, np.uint64), *(part.hash_R for part in parts)]),
        *(
            np.concatenate([np.empty(0, np.int64), *(getattr(part, name) for part in parts)])
            for name in ("record_R", "start_R", "end_R")
        ),
    )


def hash_between(code_W: NDArray[np.uint64], start_R: Places, end_R: Places) -> NDArray[np.uint64]:
    """Return the hash of each range of codes, from `start` up to but not including `end`."""
    sum_W = np.concatenate([np.zeros(1, np.uint64), np.cumsum(code_W * _powers(_BASE, len(code_W)))])
    return (sum_W[end_R] - sum_W[start_R]) * _powers(pow(_BASE, -1, 2**64), len(code_W) + 1)[start_R]


def _powers(base: int, count: int) -> NDArray[np.uint64]:
    """Return 1, base, base², … modulo 2 ** 64."""
    factors = np.full(count, base, np.uint64)
    factors[:1] = 1
    return np.cumprod(factors)
