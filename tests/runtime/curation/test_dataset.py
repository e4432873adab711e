"""The dataset: what was kept comes back beside its records."""

from pathlib import Path

import numpy as np
import pytest

from kubedistill_runtime.answers import Answer, Answered, TopK, Turn
from kubedistill_runtime.curation.dataset import read_dataset, write_dataset
from kubedistill_runtime.curation.given import given_answers
from kubedistill_runtime.records import Message, Record
from kubedistill_runtime.storage.store import Store

TOP = TopK(np.array([[3, 4]], np.int32), np.array([[-0.5, -2.0]], np.float16), np.array([0.25], np.float32))


def record(name: str) -> Record:
    return Record(name, (Message("system", "Sei nett."), Message("user", f"Größe {name}?")), ("gold",), ("tag",))


def kept(name: str, sample: int) -> Answered:
    turn = Turn((1, 2), (3,), f"{name} {sample}\u2028\n", "stop", TOP)
    return Answered(record(name), sample, Answer(f"key-{name}-{sample}", (turn,)))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


def test_records_and_answers_come_back_in_their_order(store: Store) -> None:
    written = [kept("b", 0), kept("a", 0), kept("b", 1)]
    write_dataset(store, "key", written)
    found = read_dataset(store, "key")
    assert [(one.record, one.sample, one.answer.row_key) for one in found] == [
        (one.record, one.sample, one.answer.row_key) for one in written
    ]
    for one, other in zip(found, written, strict=True):
        (turn,), (expected,) = one.answer.turns, other.answer.turns
        assert (turn.prompt_ids, turn.completion_ids, turn.text) == (
            expected.prompt_ids, expected.completion_ids, expected.text,
        )  # fmt: skip
        assert turn.top is not None
        np.testing.assert_array_equal(turn.top.logprobs_TK, TOP.logprobs_TK)
        np.testing.assert_array_equal(turn.top.tail_T, TOP.tail_T)


def test_samples_are_counted_anew_where_earlier_ones_were_rejected(store: Store) -> None:
    write_dataset(store, "key", [kept("a", 2), kept("a", 5), kept("b", 1)])
    assert [(one.record.id, one.sample) for one in read_dataset(store, "key")] == [("a", 0), ("a", 1), ("b", 0)]


def test_nothing_kept_comes_back_as_nothing(store: Store) -> None:
    write_dataset(store, "key", [])
    assert read_dataset(store, "key") == []


def test_given_answers_are_the_first_references_without_ids(store: Store) -> None:
    given = given_answers([Record("a", (Message("user", "x"),), ("first", "second"))])
    write_dataset(store, "key", given)
    (one,) = read_dataset(store, "key")
    assert one.answer.turns == (Turn((), (), "first", "stop"),)
