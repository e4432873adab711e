"""Batches: which samples meet in which step, and what the tensors say about them."""

import itertools

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from kubedistill_runtime.training.batches import make_batch, order_samples, split_step
from kubedistill_runtime.training.samples import Sample
from support import tiny_training as tiny

CPU = torch.device("cpu")
lengths = st.lists(st.tuples(st.integers(1, 6), st.integers(1, 6)), min_size=1, max_size=12)


@given(st.integers(0, 50), st.integers(0, 2**31 - 1), st.integers(0, 1000))
def test_order_is_a_permutation_that_seed_and_epoch_decide(count: int, seed: int, epoch: int) -> None:
    order = order_samples(count, seed=seed, epoch=epoch)
    assert sorted(order) == list(range(count))
    assert order.tolist() == order_samples(count, seed=seed, epoch=epoch).tolist()


def test_each_epoch_and_each_seed_has_an_order_of_its_own() -> None:
    orders = {tuple(order_samples(20, seed=seed, epoch=epoch)) for seed in range(4) for epoch in range(4)}
    assert len(orders) == 16


def test_order_of_a_seed_never_changes() -> None:
    """A kill under one version and a resume under the next must meet the same samples."""
    assert order_samples(8, seed=0, epoch=0).tolist() == [2, 4, 3, 6, 5, 0, 1, 7]
    assert order_samples(8, seed=1, epoch=2).tolist() == [6, 0, 7, 5, 1, 4, 3, 2]


@given(lengths, st.integers(1, 5), st.integers(1, 5))
def test_workers_and_micro_batches_share_a_step_without_loss_or_double(
    shape: list[tuple[int, int]], world: int, micro: int
) -> None:
    samples = tiny.make_samples(shape)
    shares = [list(split_step(samples, rank=rank, world=world, micro=micro)) for rank in range(world)]
    parts = [part for share in shares for part in share]
    assert sorted(id(sample) for part in parts for sample in part) == sorted(id(sample) for sample in samples)
    assert all(0 < len(part) <= micro for part in parts)
    assert max(map(padded_ids, shares)) == fewest_padded_ids(samples, world=world, micro=micro)


def padded_ids(parts: list[list[Sample]]) -> int:
    """Return the ids of micro-batches with their padding."""
    return sum(len(part) * max(len(sample.ids_L) for sample in part) for part in parts)


def fewest_padded_ids(samples: list[Sample], *, world: int, micro: int) -> int:
    """Return the padded ids of the worker that has most, in the best of all splits of the samples by length."""
    ordered = sorted(samples, key=lambda sample: len(sample.ids_L))
    splits = itertools.combinations_with_replacement(range(len(ordered) + 1), world - 1)
    cut = ([0, *split, len(ordered)] for split in splits)
    return min(
        max(
            padded_ids([ordered[first : min(first + micro, end)] for first in range(start, end, micro)])
            for start, end in itertools.pairwise(places)
        )
        for places in cut
    )


def test_workers_of_one_step_share_its_padded_ids_evenly() -> None:
    samples = tiny.make_samples([(length, 1) for length in (40, 41, 42, 43, 44, 55, 56, 57)])
    shares = [list(split_step(samples, rank=rank, world=2, micro=16)) for rank in range(2)]
    assert [[len(part) for part in share] for share in shares] == [[5], [3]]
    assert [padded_ids(share) for share in shares] == [225, 174]


@given(lengths, st.data())
def test_each_target_is_the_id_after_its_position(shape: list[tuple[int, int]], data: st.DataObject) -> None:
    known = data.draw(st.lists(st.booleans(), min_size=len(shape), max_size=len(shape)))
    generator = np.random.default_rng(0)
    samples = [
        tiny.make_sample(generator, prompt=prompt, reply=reply, known=one)
        for (prompt, reply), one in zip(shape, known, strict=True)
    ]
    batch = make_batch(samples, device=CPU)
    width = batch.ids_BL.shape[1]
    places = batch.positions_N.tolist()
    assert len(places) == sum(reply for _, reply in shape)
    for place, target in zip(places, batch.targets_N.tolist(), strict=True):
        row, column = divmod(place, width)
        assert samples[row].scored_L[column + 1]
        assert samples[row].ids_L[column + 1] == target
    assert batch.attention_BL.sum(1).tolist() == [len(sample.ids_L) for sample in samples]
    expected = [one for one, sample in zip(known, samples, strict=True) for _ in range(sample.scored)]
    assert batch.has_top_N.tolist() == expected
    stored = [sample.top.ids_TK for sample in samples if sample.top]
    if stored:
        assert np.array_equal(batch.top_ids_NK[batch.has_top_N].numpy(), np.concatenate(stored))


def test_sample_without_scored_ids_has_no_targets() -> None:
    silent = Sample(np.array([5, 6, 7], np.int32), np.zeros(3, np.bool_), None, np.empty(0, np.bool_))
    batch = make_batch([silent], device=CPU)
    assert (len(batch.targets_N), len(batch.positions_N), batch.attention_BL.tolist()) == (0, 0, [[1, 1, 1]])
    assert float(tiny.make_student()(batch).detach()) == 0.0
