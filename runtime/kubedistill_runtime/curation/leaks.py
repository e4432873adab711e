"""Leaks: training prompts that are a test prompt, or share 13 words in a row with one.

Words that many prompts share (an instruction, a passage with several questions) are boilerplate, not leaks.
Shapes: N prompts; R runs of the test prompts; K distinct ones of them; H places where training prompts have one.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from kubedistill_runtime.curation.runs import Places, Runs, concatenate, find_runs
from kubedistill_runtime.curation.words import join_items, join_operators, split_tokens
from kubedistill_runtime.records import Record

MANY_TRAINING_PROMPTS = 3
SEVERAL_TEST_PROMPTS = 2
_BATCH = 2048
_SHOWN = 120


@dataclass(frozen=True, slots=True)
class Leak:
    """What a training prompt shares with a test prompt."""

    shared: str
    """The words in common: 13 in a row, or the beginning of the prompt where all of it is."""
    test: str
    """The id of the test record."""


@dataclass(frozen=True, slots=True)
class _Hits:
    """Where training prompts have a run that a test prompt has."""

    known_H: Places
    """Place of the run among the distinct ones."""
    record_H: Places
    start_H: Places


def find_leaks(train: Sequence[Record], test: Sequence[Record]) -> dict[str, Leak]:
    """Return the training records that leak test records, by id, in their order.

    Compared are the user messages, laid end to end: a short message in common is not a leak, a conversation is. Equal
    prompts (case folded, NFC, signs kept, punctuation not) always leak. Longer ones leak by 13 words in a row none of
    which is boilerplate, that is, in 13 words that 3 different training prompts or 2 different test prompts have. Time
    and memory are linear in the number of words.
    """
    test_identities, runs = _cut(test)
    twins = {identity: place for place, identity in reversed(list(enumerate(test_identities)))}
    runs = runs.only(_mark_first(test_identities)[runs.record_R])
    hash_K, known_R = np.unique(runs.hash_R, return_inverse=True)
    identities, hits = _meet(train, hash_K)
    run_K = _find_leaking(runs, known_R, hits, distinct_N=_mark_first(identities))
    is_twin_N = np.array([identity in twins for identity in identities], np.bool_)
    leaking_H = np.flatnonzero((run_K[hits.known_H] >= 0) & ~is_twin_N[hits.record_H])
    partial = _explain(runs, run_K, hits, leaking_H, train=train, test=test)
    leaks = {}
    for record, identity in zip(train, identities, strict=True):
        if identity in twins:
            leaks[record.id] = Leak(_shorten(record), test[twins[identity]].id)
        elif record.id in partial:
            leaks[record.id] = partial[record.id]
    return leaks


def _cut(records: Sequence[Record]) -> tuple[list[bytes], Runs]:
    identities, runs = zip(*_cut_batches(records), strict=True) if records else ((), ())
    return [identity for batch in identities for identity in batch], concatenate(runs)


def _cut_batches(records: Sequence[Record]) -> Iterator[tuple[list[bytes], Runs]]:
    """Who each prompt is, and its runs, some prompts at a time: words take far more memory than their hashes."""
    for first in range(0, len(records), _BATCH):
        batch = records[first : first + _BATCH]
        tokens = [_tokens(record) for record in batch]
        identities = [_identify(found, record=record) for found, record in zip(tokens, batch, strict=True)]
        yield identities, find_runs([join_operators(found) for found in tokens], first=first)


def _meet(train: Sequence[Record], hash_K: NDArray[np.uint64]) -> tuple[list[bytes], _Hits]:
    """Who each training prompt is, and the runs of test prompts that are in it."""
    identities: list[bytes] = []
    columns = [(np.empty(0, np.int64),) * 3]
    for batch, runs in _cut_batches(train):
        identities += batch
        known_R = _look_up(runs.hash_R, hash_K)
        hit_R = known_R >= 0
        columns.append((known_R[hit_R], runs.record_R[hit_R], runs.start_R[hit_R]))
    return identities, _Hits(*(np.concatenate(parts) for parts in zip(*columns, strict=True)))


def _look_up(hash_R: NDArray[np.uint64], hash_K: NDArray[np.uint64]) -> Places:
    """The place of each hash in a sorted array, or -1; sought in order, since memory is slow to be read at random."""
    known_R = np.full(len(hash_R), -1, np.int64)
    if len(hash_K):
        order_R = np.argsort(hash_R)
        place_R = np.minimum(np.searchsorted(hash_K, hash_R[order_R]), len(hash_K) - 1)
        known_R[order_R] = np.where(hash_K[place_R] == hash_R[order_R], place_R, -1)
    return known_R


def _find_leaking(runs: Runs, known_R: Places, hits: _Hits, *, distinct_N: NDArray[np.bool_]) -> Places:
    """For each distinct run, a place of it in a test prompt where none of its words is boilerplate, or -1."""
    size = int(known_R.max(initial=-1)) + 1
    counted_H = distinct_N[hits.record_H]
    train_K = _count_prompts(hits.known_H[counted_H], hits.record_H[counted_H], size=size)
    test_K = _count_prompts(known_R, runs.record_R, size=size)
    boilerplate_R = ((train_K >= MANY_TRAINING_PROMPTS) | (test_K >= SEVERAL_TEST_PROMPTS))[known_R]
    own_R = _have_own_words(runs, boilerplate_R)
    run_K = np.full(size, -1, np.int64)
    place_R = np.flatnonzero(own_R)
    run_K[known_R[place_R]] = place_R
    return run_K


def _count_prompts(known: Places, record: Places, *, size: int) -> Places:
    """In how many different prompts each run is."""
    count = int(record.max(initial=0)) + 1
    pair_H = np.sort(known * count + record)
    is_first_H = np.concatenate([[True], pair_H[1:] != pair_H[:-1]])[: len(pair_H)]
    return np.bincount(pair_H[is_first_H] // count, minlength=size)


def _have_own_words(runs: Runs, boilerplate_R: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which runs share no item with a run that is boilerplate."""
    length_N = np.zeros(int(runs.record_R.max(initial=-1)) + 1, np.int64)
    np.maximum.at(length_N, runs.record_R, runs.end_R)
    offset_R = (np.cumsum(length_N) - length_N)[runs.record_R]
    start_R, end_R = runs.start_R + offset_R, runs.end_R + offset_R
    edge_W = np.zeros(int(length_N.sum()) + 1, np.int64)
    np.add.at(edge_W, start_R[boilerplate_R], 1)
    np.add.at(edge_W, end_R[boilerplate_R], -1)
    covered_W = np.concatenate([[0], np.cumsum(np.cumsum(edge_W) > 0)])
    return covered_W[start_R] == covered_W[end_R]


def _explain(
    runs: Runs, run_K: Places, hits: _Hits, leaking_H: Places, *, train: Sequence[Record], test: Sequence[Record]
) -> dict[str, Leak]:
    """The first words that each leaking record shares; what only hashes alike is left out."""
    leaks = {}
    for record, first in zip(*np.unique(hits.record_H[leaking_H], return_index=True), strict=True):
        hit = leaking_H[first]
        run, start = run_K[hits.known_H[hit]], hits.start_H[hit]
        other = test[runs.record_R[run]]
        shared = _items(other)[runs.start_R[run] : runs.end_R[run]]
        if _items(train[record])[start : start + len(shared)] == shared:
            leaks[train[record].id] = Leak(join_items(shared), other.id)
    return leaks


def _mark_first(identities: Sequence[bytes]) -> NDArray[np.bool_]:
    """Which prompts were not there before."""
    first = {identity: place for place, identity in reversed(list(enumerate(identities)))}
    marked_N = np.zeros(len(identities), np.bool_)
    marked_N[list(first.values())] = True
    return marked_N


def _identify(tokens: Sequence[str], *, record: Record) -> bytes:
    """What equal prompts have in common; one without words or signs is equal only to itself."""
    text = "\n".join(tokens) if tokens else f"\n{_text(record)}"
    return blake2b(text.encode(), digest_size=16).digest()


def _items(record: Record) -> list[str]:
    return join_operators(_tokens(record))


def _tokens(record: Record) -> list[str]:
    return split_tokens(_text(record))


def _text(record: Record) -> str:
    return "\n".join(message.content for message in record.messages if message.role == "user")


def _shorten(record: Record) -> str:
    text = " ".join(_text(record).split())
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]} …"
