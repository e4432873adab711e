"""Containment: which prompts are contained in other prompts, found by their runs.

Shapes: C runs of several prompts, in the order of prompt and place; R those of the test prompts; K distinct runs;
N training prompts; I inner prompts; P pairs of an inner prompt and a place in an outer prompt.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kubedistill_runtime.curation.runs import Places, hash_between

_MANY_TEST_PROMPTS = 3


@dataclass(frozen=True, slots=True)
class Chains:
    """The runs of prompts, in the order of prompt and place."""

    known: Places
    """Place of the run among the distinct ones; shape (C,), as the others."""
    record: Places
    start: Places

    def only(self, mask: NDArray[np.bool_]) -> "Chains":
        """Return the runs selected by a mask."""
        return Chains(self.known[mask], self.record[mask], self.start[mask])


@dataclass(frozen=True, slots=True)
class Related:
    """For each run of a test prompt, the number of prompts with it that contain the test prompt or are part of it."""

    train_R: Places
    test_R: Places
    """The test prompt itself is not counted."""


@dataclass(frozen=True, slots=True)
class _Pairs:
    first_P: Places
    """Place of the inner prompt's first run in its chains."""
    place_P: Places
    """Place of that run in the outer chains."""
    size_P: Places
    """Runs of the inner prompt."""

    def only(self, mask_P: NDArray[np.bool_]) -> "_Pairs":
        return _Pairs(self.first_P[mask_P], self.place_P[mask_P], self.size_P[mask_P])


def count_related(test: Chains, train: Chains, *, size_N: Places, hash_K: NDArray[np.uint64]) -> Related:
    """Count, for each run of the test prompts, the different prompts that have it only by containment.

    `train` has the runs of distinct training prompts that test prompts have too; `size_N` is the number of all runs of
    each training prompt.
    """
    runs_N = np.bincount(train.record, minlength=len(size_N))
    whole = train.only((runs_N == size_N)[train.record])
    size_R = np.bincount(test.record)[test.record]
    train_R = _mark_whole(_find_contained(test, train, hash_K=hash_K), test, train)
    train_R += _mark_parts(_find_contained(whole, test, hash_K=hash_K), size_R)
    pairs = _find_contained(test, test, hash_K=hash_K)
    others = pairs.only(test.record[pairs.first_P] != test.record[pairs.place_P])
    wholes = others.only(~_are_templates(others, test))
    return Related(train_R, _mark_whole(wholes, test, test) + _mark_parts(others, size_R))


def _are_templates(pairs: _Pairs, test: Chains) -> NDArray[np.bool_]:
    """Return which inner test prompts are templates: those contained in several outermost prompts."""
    inner_P, outer_P = test.record[pairs.first_P], test.record[pairs.place_P]
    final_P = ~np.isin(outer_P, inner_P)
    different = np.unique(np.stack([inner_P[final_P], outer_P[final_P]]), axis=1)
    return np.bincount(different[0], minlength=int(inner_P.max(initial=-1)) + 1)[inner_P] >= _MANY_TEST_PROMPTS


def _find_contained(inner: Chains, outer: Chains, *, hash_K: NDArray[np.uint64]) -> _Pairs:
    """Return the places where an outer prompt contains all of an inner one, searched by the inner one's rarest run."""
    _, first_I, size_I = np.unique(inner.record, return_index=True, return_counts=True)
    frequency_K = np.bincount(outer.known, minlength=len(hash_K))
    rarest_C = np.lexsort((frequency_K[inner.known], inner.record))
    anchor_I = rarest_C[first_I]  # sorted by prompt first, so prompts keep their places
    order_C = np.argsort(outer.known, kind="stable")
    begin_I = np.searchsorted(outer.known[order_C], inner.known[anchor_I])
    count_I = frequency_K[inner.known[anchor_I]]
    inner_P = np.repeat(np.arange(len(first_I)), count_I)
    turn_P = np.arange(len(inner_P)) - np.repeat(np.cumsum(count_I) - count_I, count_I)
    place_P = order_C[begin_I[inner_P] + turn_P] - (anchor_I - first_I)[inner_P]
    pairs = _Pairs(first_I[inner_P], place_P, size_I[inner_P])
    pairs = pairs.only((place_P >= 0) & (place_P + pairs.size_P <= len(outer.known)))
    last_P = pairs.place_P + pairs.size_P - 1
    in_a_row_P = outer.record[last_P] == outer.record[pairs.place_P]
    in_a_row_P &= outer.start[last_P] - outer.start[pairs.place_P] == pairs.size_P - 1
    inner_hash_P = hash_between(hash_K[inner.known], pairs.first_P, pairs.first_P + pairs.size_P)
    return pairs.only(in_a_row_P & (hash_between(hash_K[outer.known], pairs.place_P, last_P + 1) == inner_hash_P))


def _mark_whole(pairs: _Pairs, inner: Chains, outer: Chains) -> Places:
    """Return, for each run of the inner prompts, the number of outer prompts that contain the prompt."""
    prompts = np.stack([pairs.first_P, outer.record[pairs.place_P]])
    _, different_P = np.unique(prompts, axis=1, return_index=True)
    pairs = pairs.only(np.isin(np.arange(len(pairs.first_P)), different_P))
    return _count_stretches(pairs.first_P, pairs.size_P, length=len(inner.known))


def _mark_parts(pairs: _Pairs, size_R: Places) -> Places:
    """Return, for each run of the outer prompts, the number of smaller inner prompts that cover it."""
    smaller = pairs.only(pairs.size_P < size_R[pairs.place_P])
    return _count_stretches(smaller.place_P, smaller.size_P, length=len(size_R))


def _count_stretches(first_P: Places, size_P: Places, *, length: int) -> Places:
    edge = np.zeros(length + 1, np.int64)
    np.add.at(edge, first_P, 1)
    np.add.at(edge, first_P + size_P, -1)
    return np.cumsum(edge)[:length]
