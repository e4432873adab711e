"""Leaks: training prompts that equal a test prompt, or share 13 words in a row with one.

A run is a sequence of 13 words, known by its hash. Runs that otherwise different prompts share (an instruction, a
passage with several questions) are boilerplate, not leaks. A prompt that contains all of another one does not count as
different. `find_leaks` works in these steps:

1. Hash all runs of the test prompts. Only the first of several equal test prompts is used.
2. Find these hashes among the runs of the training prompts, which are hashed in batches and not kept.
3. Count the prompts that have each run, except those that contain the test prompt or that it contains. Of the test runs
   only those stay that share no word with boilerplate.
4. A training prompt with one of the runs that stayed is a leak, if its words are really the same.

Shapes: N prompts; R runs of the test prompts; K distinct hashes of these runs, sorted; H hits, which are places in
training prompts with one of these hashes; W words of several prompts, end to end. `record` counts prompts, `start` and
`end` count words within a prompt, and `known` counts distinct hashes, all from 0.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from kubedistill_runtime.curation.containment import Chains, count_related
from kubedistill_runtime.curation.runs import Places, Runs, concatenate, find_runs
from kubedistill_runtime.curation.words import join_items, join_operators, split_tokens
from kubedistill_runtime.records import Record

MANY_TRAINING_PROMPTS = 3
"""Different training prompts with a run that make it boilerplate."""
SEVERAL_TEST_PROMPTS = 2
"""Different test prompts with a run that make it boilerplate, the prompt itself included."""
_BATCH = 2048
"""Prompts whose words are in memory at one time."""
_SHOWN = 120
"""Characters of a prompt that a message quotes."""


@dataclass(frozen=True, slots=True)
class Leak:
    """The text that a training prompt shares with a test prompt."""

    shared: str
    """The common words: 13 in a row, or the beginning of the prompt if all of it is equal."""
    test: str
    """The id of the test record."""


@dataclass(frozen=True, slots=True)
class _Prompts:
    """Records for comparison: all messages that a model sees, concatenated."""

    records: Sequence[Record]
    common: str | None
    """A system message that all records of both sides have, which is ignored."""

    def text(self, place: int) -> str:
        """Return the messages of a record as one string, without the common system message."""
        messages = self.records[place].messages
        shown = [one.content for one in messages if (one.role, one.content) != ("system", self.common)]
        return "\n".join(shown)

    def tokens(self, place: int) -> list[str]:
        """Return the words and signs of a record, for comparison as a whole."""
        return split_tokens(self.text(place))

    def items(self, place: int) -> list[str]:
        """Return the words of a record, of which its runs consist."""
        return join_operators(self.tokens(place))

    def identify(self, place: int, tokens: Sequence[str]) -> bytes:
        """Return a digest that is the same for equal prompts; one without words or signs equals only the same text."""
        text = "\n".join(tokens) if tokens else f"\n{self.text(place)}"
        return blake2b(text.encode(), digest_size=16).digest()

    def shorten(self, place: int) -> str:
        """Return the beginning of a record's text on one line, for a message."""
        text = " ".join(self.text(place).split())
        return text if len(text) <= _SHOWN else f"{text[:_SHOWN]} …"


@dataclass(frozen=True, slots=True)
class _Hits:
    """The places in training prompts with the hash of a run of a test prompt, in the order of prompt and place."""

    known_H: Places
    """Place of the hash among the distinct ones."""
    record_H: Places
    """Place of the training prompt."""
    start_H: Places
    """Place of the run's first word in the training prompt."""
    size_N: Places
    """Number of all runs of each training prompt, including those that no test prompt has."""


def find_leaks(train: Sequence[Record], test: Sequence[Record]) -> dict[str, Leak]:
    """Return the training records that leak test records, by id, in their order.

    All messages of a record are concatenated, without a system message that every record of both sides has. Equal
    prompts (case folded, NFC, signs kept, punctuation removed) always leak. Other prompts leak if they share 13 words
    in a row, none of which is boilerplate. Boilerplate is 13 words in a row that 3 different training prompts or 2
    different test prompts have, not counting prompts that contain the test prompt or that it contains. Time and memory
    are linear in the number of words, as long as few prompts contain each other.
    """
    trained, tested = _without_common_system(train, test)
    test_identities, runs = _hash_prompts(tested)
    runs = runs.only(_mark_first(test_identities)[runs.record_R])
    hash_K, known_R = np.unique(runs.hash_R, return_inverse=True)
    identities, hits = _find_hits(trained, hash_K)
    run_K = _find_leaking(runs, known_R, hits, hash_K=hash_K, distinct_N=_mark_first(identities))
    twins = _find_twins(identities, test_identities, trained=trained, tested=tested)
    is_twin_N = np.array([record.id in twins for record in train], np.bool_)
    leaking_H = np.flatnonzero((run_K[hits.known_H] >= 0) & ~is_twin_N[hits.record_H])
    found = twins | _explain(runs, run_K, hits, leaking_H, trained=trained, tested=tested)
    return {record.id: found[record.id] for record in train if record.id in found}


def find_equal(train: Sequence[Record], others: Sequence[Record]) -> dict[str, Leak]:
    """Return the training records whose whole prompt equals that of another record, by id, in their order."""
    trained, tested = _without_common_system(train, others)
    found = [
        [prompts.identify(place, prompts.tokens(place)) for place in range(len(prompts.records))]
        for prompts in (trained, tested)
    ]
    return _find_twins(*found, trained=trained, tested=tested)


def _without_common_system(train: Sequence[Record], test: Sequence[Record]) -> tuple[_Prompts, _Prompts]:
    """Return both sides for comparison; a system message is ignored if it is the only one of every record."""
    systems = {
        tuple(message.content for message in record.messages if message.role == "system")
        for records in (train, test)
        for record in records
    }
    common = next(iter(systems)) if len(systems) == 1 else ()
    system = common[0] if len(common) == 1 else None
    return _Prompts(train, system), _Prompts(test, system)


def _find_twins(
    identities: Sequence[bytes], test_identities: Sequence[bytes], *, trained: _Prompts, tested: _Prompts
) -> dict[str, Leak]:
    """Return the training records that equal a test record as a whole, each with the first such record."""
    first = {identity: place for place, identity in reversed(list(enumerate(test_identities)))}
    return {
        trained.records[place].id: Leak(trained.shorten(place), tested.records[first[identity]].id)
        for place, identity in enumerate(identities)
        if identity in first
    }


def _hash_prompts(prompts: _Prompts) -> tuple[list[bytes], Runs]:
    """Return the identity of each prompt, and all runs of the prompts."""
    identities, runs = zip(*_hash_batches(prompts), strict=True) if prompts.records else ((), ())
    return [identity for batch in identities for identity in batch], concatenate(runs)


def _hash_batches(prompts: _Prompts) -> Iterator[tuple[list[bytes], Runs]]:
    """Yield the identities and runs of prompts in batches, since words take far more memory than their hashes."""
    count = len(prompts.records)
    for first in range(0, count, _BATCH):
        places = range(first, min(first + _BATCH, count))
        tokens = [prompts.tokens(place) for place in places]
        identities = [prompts.identify(place, found) for place, found in zip(places, tokens, strict=True)]
        yield identities, find_runs([join_operators(found) for found in tokens], first=first)


def _find_hits(train: _Prompts, hash_K: NDArray[np.uint64]) -> tuple[list[bytes], _Hits]:
    """Return the identity of each training prompt, and the places with a hash of a test run in the prompts."""
    identities: list[bytes] = []
    size_N = np.zeros(len(train.records), np.int64)
    columns = [(np.empty(0, np.int64),) * 3]
    for batch, runs in _hash_batches(train):
        first = len(identities)
        identities += batch
        size_N[first : len(identities)] = np.bincount(runs.record_R - first, minlength=len(batch))
        known_R = _look_up(runs.hash_R, hash_K)
        hit_R = known_R >= 0
        columns.append((known_R[hit_R], runs.record_R[hit_R], runs.start_R[hit_R]))
    known_H, record_H, start_H = (np.concatenate(parts) for parts in zip(*columns, strict=True))
    return identities, _Hits(known_H, record_H, start_H, size_N)


def _look_up(hash_R: NDArray[np.uint64], hash_K: NDArray[np.uint64]) -> Places:
    """Return the place of each hash in a sorted array, or -1; lookups are in order, which is cache-friendly."""
    known_R = np.full(len(hash_R), -1, np.int64)
    if len(hash_K):
        order_R = np.argsort(hash_R)
        place_R = np.minimum(np.searchsorted(hash_K, hash_R[order_R]), len(hash_K) - 1)
        known_R[order_R] = np.where(hash_K[place_R] == hash_R[order_R], place_R, -1)
    return known_R


def _find_leaking(
    runs: Runs, known_R: Places, hits: _Hits, *, hash_K: NDArray[np.uint64], distinct_N: NDArray[np.bool_]
) -> Places:
    """Return, for each distinct hash, a test run that has it and shares no word with boilerplate, or -1.

    `known_R` is the place of each run's hash in `hash_K`. Of several equal training prompts, `distinct_N` marks the
    one that counts.
    """
    size = len(hash_K)
    counted_H = distinct_N[hits.record_H]
    test = Chains(known_R, runs.record_R, runs.start_R)
    train = Chains(hits.known_H[counted_H], hits.record_H[counted_H], hits.start_H[counted_H])
    related = count_related(test, train, size_N=hits.size_N, hash_K=hash_K)
    train_R = _count_prompts(train.known, train.record, size=size)[known_R] - related.train_R
    test_R = _count_prompts(test.known, test.record, size=size)[known_R] - related.test_R
    own_R = _have_own_words(runs, (train_R >= MANY_TRAINING_PROMPTS) | (test_R >= SEVERAL_TEST_PROMPTS))
    run_K = np.full(size, -1, np.int64)
    place_R = np.flatnonzero(own_R)
    run_K[known_R[place_R]] = place_R
    return run_K


def _count_prompts(known: Places, record: Places, *, size: int) -> Places:
    """Return the number of different prompts with each hash, for pairs of a hash and a prompt; shape (size,)."""
    count = int(record.max(initial=0)) + 1
    pair_H = np.sort(known * count + record)
    is_first_H = np.concatenate([[True], pair_H[1:] != pair_H[:-1]])[: len(pair_H)]
    return np.bincount(pair_H[is_first_H] // count, minlength=size)


def _have_own_words(runs: Runs, boilerplate_R: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return which runs share no word with a boilerplate run of the same prompt."""
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
    runs: Runs, run_K: Places, hits: _Hits, leaking_H: Places, *, trained: _Prompts, tested: _Prompts
) -> dict[str, Leak]:
    """Return the first shared words of each training record with a hit of `leaking_H`.

    The words are compared, and a record whose first hit is only a collision of hashes is left out.
    """
    leaks = {}
    for record, first in zip(*np.unique(hits.record_H[leaking_H], return_index=True), strict=True):
        hit = leaking_H[first]
        run, start = run_K[hits.known_H[hit]], hits.start_H[hit]
        other = runs.record_R[run]
        shared = tested.items(other)[runs.start_R[run] : runs.end_R[run]]
        if trained.items(record)[start : start + len(shared)] == shared:
            leaks[trained.records[record].id] = Leak(join_items(shared), tested.records[other].id)
    return leaks


def _mark_first(identities: Sequence[bytes]) -> NDArray[np.bool_]:
    """Return which prompts are the first with their identity."""
    first = {identity: place for place, identity in reversed(list(enumerate(identities)))}
    marked_N = np.zeros(len(identities), np.bool_)
    marked_N[list(first.values())] = True
    return marked_N
