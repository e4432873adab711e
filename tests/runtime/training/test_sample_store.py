"""Stored samples: what is written is read again, from the pages that are looked at and no others."""

import gc
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from kubedistill_runtime.storage.store import Store
from kubedistill_runtime.training import sample_store
from kubedistill_runtime.training.batches import make_batch, split_step
from kubedistill_runtime.training.sample_store import SampleStore, open_samples, write_samples
from kubedistill_runtime.training.samples import Sample
from support import tiny_training as tiny

LENGTHS = [(3, 4), (1, 9), (6, 1), (2, 2), (5, 5), (1, 1)]
KNOWN, UNKNOWN = tiny.make_samples(LENGTHS), tiny.make_samples(LENGTHS, seed=1, known=False)
SILENT = Sample(np.array([5, 6, 7], np.int32), np.zeros(3, np.bool_), None, np.empty(0, np.bool_))
PARTLY = Sample(KNOWN[0].ids_L, KNOWN[0].scored_L, KNOWN[0].top, np.array([True, False, True, True]))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


def plain(sample: Sample) -> Any:
    top = sample.top and [sample.top.ids_TK, sample.top.logprobs_TK, sample.top.tail_T]
    arrays = [sample.ids_L, sample.scored_L, sample.known_N, *(top or [])]
    return [(array.tolist(), array.dtype, array.shape) for array in arrays]


def written(store: Store, samples: list[Sample]) -> SampleStore:
    write_samples(store, "folder", "train", samples)
    return open_samples(store, "folder", "train")


def test_samples_of_every_kind_come_back_in_any_order(store: Store) -> None:
    samples = [*KNOWN, SILENT, *UNKNOWN, PARTLY]
    found = written(store, samples)
    assert len(found) == len(samples)
    for place in np.random.default_rng(0).permutation(len(samples)):
        assert plain(found[int(place)]) == plain(samples[place])
    assert [plain(one) for one in found] == [plain(one) for one in samples]
    assert [plain(one) for one in found[-3:]] == [plain(one) for one in samples[-3:]]
    assert plain(found[-1]) == plain(samples[-1])
    with pytest.raises(IndexError):
        found[len(samples)]


@given(
    st.lists(st.tuples(st.integers(1, 6), st.integers(1, 6), st.booleans()), max_size=12), st.integers(1, 5),
    st.integers(0, 2000),
)  # fmt: skip
def test_any_samples_come_back_however_they_are_cut_into_shards(
    shape: list[tuple[int, int, bool]], k: int, most: int
) -> None:
    generator = np.random.default_rng(0)
    samples = [
        tiny.make_sample(generator, prompt=prompt, reply=reply, k=k, known=known) for prompt, reply, known in shape
    ]
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder:
        patch.setattr(sample_store, "SHARD_BYTES", most)
        found = written(Store(Path(folder)), samples)
        assert [plain(one) for one in found] == [plain(one) for one in samples]


def test_shards_are_cut_by_bytes_and_a_larger_sample_has_its_own(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sample_store, "SHARD_BYTES", 200)
    small, large = tiny.make_samples([(2, 2)] * 6, known=False), tiny.make_samples([(4, 60)])
    found = written(store, [*small, *large, *small])
    sizes = {name: len(store.read(name)) for name in store.names("folder") if not name.endswith("index.bin")}
    assert list(sizes) == [f"folder/train-{number:06d}.bin" for number in range(3)]
    assert [size <= 200 for size in sizes.values()] == [True, False, True]
    assert len(found) == 13


def test_samples_are_taken_no_faster_than_their_shards_are_written(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sample_store, "SHARD_BYTES", 1)
    there: list[int] = []

    def samples() -> Iterator[Sample]:
        for sample in UNKNOWN[:4]:
            there.append(len(store.names("folder")))
            yield sample

    write_samples(store, "folder", "train", samples())
    assert there == [0, 0, 1, 2]


def test_equal_samples_give_equal_bytes_and_the_splits_keep_apart(store: Store) -> None:
    for folder in ("one", "two"):
        for split, samples in (("train", KNOWN), ("validation", UNKNOWN)):
            write_samples(store, folder, split, samples)
    contents = [
        {name.rpartition("/")[2]: store.read(name) for name in store.names(folder)} for folder in ("one", "two")
    ]
    assert contents[0] == contents[1]
    assert len(open_samples(store, "one", "validation")) == len(UNKNOWN)


def test_no_samples_are_an_empty_sequence(store: Store) -> None:
    found = written(store, [])
    assert (len(found), list(found), bool(found)) == (0, [], False)


def test_a_split_that_nobody_wrote_is_not_there(store: Store) -> None:
    with pytest.raises(FileNotFoundError):
        open_samples(store, "folder", "train")


def test_lengths_and_scored_ids_are_known_without_the_data(store: Store) -> None:
    """A step is put together from all its samples on every worker, which reads only its own."""
    found = written(store, KNOWN)
    data = store.path("folder/train-000000.bin")
    data.write_bytes(bytes(data.stat().st_size))
    assert [(len(one.ids_L), one.scored) for one in found] == [(len(one.ids_L), one.scored) for one in KNOWN]


def test_arrays_are_views_of_the_file_that_nobody_can_write_to(store: Store) -> None:
    sample = written(store, KNOWN)[0]
    for array in (sample.ids_L, sample.scored_L, sample.known_N, sample.top.ids_TK, sample.top.logprobs_TK):
        assert not array.flags.owndata
        assert not array.flags.writeable
        assert array.flags.aligned


def test_views_outlive_the_store_that_gave_them(store: Store) -> None:
    sample = written(store, KNOWN)[3]
    gc.collect()
    assert plain(sample) == plain(KNOWN[3])


def test_batches_of_stored_samples_are_those_of_the_samples(store: Store) -> None:
    samples = [*KNOWN, *UNKNOWN, PARTLY]
    found = written(store, samples)
    for rank in range(2):
        mine = [list(split_step(one, rank=rank, world=2, micro=3)) for one in (samples, found)]
        for expected, part in zip(*mine, strict=True):
            one, other = (make_batch(list(some), device=torch.device("cpu")) for some in (expected, part))
            for name in one.__slots__:
                assert torch.equal(getattr(one, name), getattr(other, name)), name


def test_training_from_the_store_gives_the_bits_of_training_from_memory(store: Store) -> None:
    training = tiny.make_training(globalBatchSize=4, epochs=2, validation={"everySteps": 2})
    found = written(store, KNOWN)
    one, other = (
        tiny.run(training, tiny.make_student(), train=samples, validation=UNKNOWN) for samples in (KNOWN, found)
    )
    assert one.losses == other.losses
    assert all(torch.equal(value, other.weights[name]) for name, value in one.weights.items())
