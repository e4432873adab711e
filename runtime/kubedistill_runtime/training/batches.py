"""Batches: the samples of each step, as tensors.

Shapes: B samples, L ids of the longest one, N scored ids of the batch, K alternatives stored per scored id.
"""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kubedistill_runtime.training.samples import Sample


@dataclass(frozen=True, slots=True)
class Batch:
    """Padded samples, and flat tensors for their scored ids."""

    ids_BL: Tensor
    attention_BL: Tensor
    """1 for ids, 0 for padding; computed from lengths, since padding may have the id of the stop token."""
    positions_N: Tensor
    """Index of the position that predicts each scored id, in the flat B * L positions."""
    targets_N: Tensor
    has_top_N: Tensor
    """Whether the teacher's distribution is known at this scored id."""
    top_ids_NK: Tensor
    top_logprobs_NK: Tensor
    tail_N: Tensor


def order_samples(count: int, *, seed: int, epoch: int) -> NDArray[np.int64]:
    """Return the order of the samples in an epoch, which is the same for the same seed on any machine."""
    return np.random.default_rng([seed, epoch]).permutation(count)


def split_step(samples: Sequence[Sample], *, rank: int, world: int, micro: int) -> Iterator[list[Sample]]:
    """Yield one worker's micro-batches of a step.

    Samples of similar length are together, which saves padding, and workers get as many padded ids as one another, so
    those with shorter samples get more of them.
    """
    lengths = [len(sample.ids_L) for sample in samples]
    order = sorted(range(len(samples)), key=lengths.__getitem__)
    start, end = _share([lengths[place] for place in order], rank=rank, world=world, micro=micro)
    for first in range(start, end, micro):
        yield [samples[place] for place in order[first : min(first + micro, end)]]


def _share(lengths: Sequence[int], *, rank: int, world: int, micro: int) -> tuple[int, int]:
    """Return the first and the last place, exclusive, of a worker's samples, whose lengths ascend."""
    if world == 1 or not lengths:
        return 0, len(lengths)
    limits = range(lengths[-1], len(lengths) * lengths[-1] + 1)
    least = bisect_left(limits, True, key=lambda limit: len(_fill(lengths, limit=limit, micro=micro)) <= world + 1)
    places = _fill(lengths, limit=limits[least], micro=micro)
    places += [len(lengths)] * world  # the last workers may have no sample
    return places[rank], places[rank + 1]


def _fill(lengths: Sequence[int], *, limit: int, micro: int) -> list[int]:
    """Return the places at which shares begin, and the last end, if each takes so many padded ids at most."""
    places, whole, count = [0], 0, 0
    for place, length in enumerate(lengths):
        padded = whole + (count + 1) * length  # it is the longest of its micro-batch so far
        if padded > limit:
            places.append(place)
            whole, count, padded = 0, 0, length
        count += 1
        if count == micro:
            whole, count = padded, 0
    return [*places, len(lengths)]


def make_batch(samples: Sequence[Sample], *, device: torch.device) -> Batch:
    """Pad samples on the right and collect their scored ids."""
    lengths = [len(sample.ids_L) for sample in samples]
    shape = (len(samples), max(lengths))
    ids_BL, attention_BL = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    positions = []
    for row, sample in enumerate(samples):
        ids_BL[row, : lengths[row]] = sample.ids_L
        attention_BL[row, : lengths[row]] = 1
        targets = np.flatnonzero(sample.scored_L)
        assert targets.size == 0 or targets[0] > 0, "the first id has no position before it"
        positions.append(row * shape[1] + targets - 1)
    has_top_N, ids_NK, logprobs_NK, tail_N = _stack_top(samples)

    def tensor(array: NDArray[np.generic]) -> Tensor:
        return torch.from_numpy(array).to(device)

    positions_N = np.concatenate(positions)
    return Batch(
        ids_BL=tensor(ids_BL),
        attention_BL=tensor(attention_BL),
        positions_N=tensor(positions_N),
        targets_N=tensor(ids_BL.reshape(-1)[positions_N + 1]),
        has_top_N=tensor(has_top_N),
        top_ids_NK=tensor(ids_NK),
        top_logprobs_NK=tensor(logprobs_NK),
        tail_N=tensor(tail_N),
    )


def _stack_top(
    samples: Sequence[Sample],
) -> tuple[NDArray[np.bool_], NDArray[np.int64], NDArray[np.float32], NDArray[np.float32]]:
    """Return the teacher's distributions for all scored ids, with zeros where has_top_N is false."""
    k = max((sample.top.ids_TK.shape[1] for sample in samples if sample.top), default=1)
    count = sum(sample.scored for sample in samples)
    has = np.zeros(count, np.bool_)
    ids, logprobs, tail = np.zeros((count, k), np.int64), np.zeros((count, k), np.float32), np.zeros(count, np.float32)
    start = 0
    for sample in samples:
        place = slice(start, start + sample.scored)
        start = place.stop
        if sample.top is not None:
            has[place], ids[place], tail[place] = sample.known_N, sample.top.ids_TK, sample.top.tail_T
            logprobs[place] = sample.top.logprobs_TK
    return has, ids, logprobs, tail
