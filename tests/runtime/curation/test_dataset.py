"""The dataset: what was kept comes back with its records."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from kubedistill_runtime.answers import Answer, AnsweredRecord, TopK, Turn, decode_answers
from kubedistill_runtime.curation import dataset
from kubedistill_runtime.curation.dataset import read_dataset, write_dataset
from kubedistill_runtime.curation.given import given_answers
from kubedistill_runtime.records import Message, Record
from kubedistill_runtime.storage.store import Store

LOGPROBS = np.array([-0.75], np.float32)
TOP = TopK(np.array([[3, 4]], np.int32), np.array([[-0.5, -2.0]], np.float16), np.array([0.25], np.float32))


def record(name: str) -> Record:
    return Record(name, (Message("system", "Sei nett."), Message("user", f"Größe {name}?")), ("gold",), ("tag",))


def kept(name: str, sample: int) -> AnsweredRecord:
    turn = Turn((1, 2), (3,), f"{name} {sample}\u2028\n", "stop", TOP, LOGPROBS)
    return AnsweredRecord(record(name), sample, Answer(f"key-{name}-{sample}", (turn,)))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


def test_records_and_answers_come_back_in_their_order(store: Store) -> None:
    written = [kept("b", 0), kept("a", 0), kept("b", 1)]
    write_dataset(store, "artifacts/dataset/key", written)
    found = list(read_dataset(store, "key"))
    assert [(one.record, one.sample, one.answer.row_key) for one in found] == [
        (one.record, one.sample, one.answer.row_key) for one in written
    ]
    for one, other in zip(found, written, strict=True):
        (turn,), (expected,) = one.answer.turns, other.answer.turns
        assert (turn.prompt_ids, turn.completion_ids, turn.text) == (
            expected.prompt_ids,
            expected.completion_ids,
            expected.text,
        )
        assert turn.top is not None
        np.testing.assert_array_equal(turn.top.logprobs_TK, TOP.logprobs_TK)
        np.testing.assert_array_equal(turn.top.tail_T, TOP.tail_T)
        np.testing.assert_array_equal(turn.logprobs_T, LOGPROBS)


def test_samples_are_counted_again_where_earlier_ones_were_rejected(store: Store) -> None:
    write_dataset(store, "artifacts/dataset/key", [kept("a", 2), kept("a", 5), kept("b", 1)])
    assert [(one.record.id, one.sample) for one in read_dataset(store, "key")] == [("a", 0), ("a", 1), ("b", 0)]


def test_nothing_kept_comes_back_as_nothing(store: Store) -> None:
    write_dataset(store, "artifacts/dataset/key", [])
    assert list(read_dataset(store, "key")) == []


def test_given_answers_are_the_first_references_without_ids(store: Store) -> None:
    given = given_answers([Record("a", (Message("user", "x"),), ("first", "second"))])
    write_dataset(store, "artifacts/dataset/key", given)
    (one,) = read_dataset(store, "key")
    assert one.answer.turns == (Turn((), (), "first", "stop"),)


def names_of(store: Store) -> list[str]:
    return [name.rpartition("/")[2] for name in store.names("artifacts/dataset/key")]


@pytest.mark.parametrize(
    ("count", "rows", "answers_per_part", "sizes"),
    [
        (5, 2, 100, [2, 2, 1]), (4, 2, 100, [2, 2]), (5, 100, 2, [2, 2, 1]), (3, 100, 0, [1, 1, 1]),
        (5, 100, 100, [5]),
    ],
    ids=["by rows", "by rows, none left", "by bytes", "each larger than a part", "one part"],
)  # fmt: skip
def test_a_dataset_is_cut_into_parts_by_rows_and_bytes(
    count: int, rows: int, answers_per_part: int, sizes: list[int], store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One table of all answers could not be read again past 2^31 bytes of top ids: 16.8 M tokens at top-32."""
    monkeypatch.setattr(dataset, "PART_ROWS", rows)
    monkeypatch.setattr(dataset, "PART_BYTES", answers_per_part * kept("a", 0).answer.nbytes)
    written = [kept("a", sample) for sample in range(count)]
    write_dataset(store, "artifacts/dataset/key", written)
    parts = [name for name in store.names("artifacts/dataset/key") if name.endswith(".parquet")]
    assert [len(decode_answers(store.read(name))) for name in parts] == sizes
    found = list(read_dataset(store, "key"))
    assert [one.answer.row_key for one in found] == [one.answer.row_key for one in written]
    assert [one.sample for one in found] == list(range(count)), "samples are counted over parts"


def test_no_part_is_over_64_mib_and_256_rows_as_shipped() -> None:
    """The limit that matters is Arrow's: 2^31 bytes in one column of one part."""
    assert (dataset.PART_ROWS, dataset.PART_BYTES) == (256, 64 * 2**20)


def test_answers_are_taken_no_faster_than_their_parts_are_written(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dataset, "PART_ROWS", 2)
    there: list[int] = []

    def answers() -> Iterator[AnsweredRecord]:
        for sample in range(6):
            there.append(len(names_of(store)))
            yield kept("a", sample)

    write_dataset(store, "artifacts/dataset/key", answers())
    assert there == [0, 0, 0, 2, 2, 4]


def test_a_dataset_is_read_part_by_part(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dataset, "PART_ROWS", 2)
    write_dataset(store, "artifacts/dataset/key", [kept("a", sample) for sample in range(6)])
    reading = read_dataset(store, "key")
    assert [next(reading).answer.row_key for _ in range(2)] == ["key-a-0", "key-a-1"]
    store.delete("artifacts/dataset/key/answers-000001.parquet")
    with pytest.raises(FileNotFoundError):
        next(reading)
