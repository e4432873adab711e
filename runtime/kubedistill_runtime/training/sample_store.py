"""Stored samples: a split of the samples artifact, written once and read as views of memory maps.

`<split>-<number>.bin` is a shard: samples one after another, each as flat little-endian arrays (ids int32, top ids
int32, tails float32, top logprobs float16, score mask and known mask of one byte per id), aligned to 8 bytes.
`<split>-index.bin` has five int64 numbers per sample: shard, offset in bytes, L, N and K (0 without distributions).
Shapes: L ids of a sample, N scored ids among them, K alternatives stored per scored id.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, overload

import numpy as np
from numpy.typing import DTypeLike, NDArray

from kubedistill_runtime.answers import TopK
from kubedistill_runtime.storage.store import Store
from kubedistill_runtime.training.samples import Sample

SHARD_BYTES = 64 * 2**20
_COLUMNS, _ALIGNMENT = 5, 8


def write_samples(store: Store, folder: str, split: str, samples: Iterable[Sample]) -> None:
    """Write a split, with at most one shard in memory; equal samples give equal bytes."""
    index: list[int] = []
    for number, shard in enumerate(_cut(_encode(sample) for sample in samples)):
        offset = 0
        for data, sizes in shard:
            index += [number, offset, *sizes]
            offset += len(data)
        store.put(f"{folder}/{split}-{number:06d}.bin", b"".join(data for data, _ in shard))
    store.put(f"{folder}/{split}-index.bin", np.array(index, "<i8").tobytes())


def open_samples(store: Store, folder: str, split: str) -> "SampleStore":
    """Open a split that write_samples wrote; raises FileNotFoundError if there is none."""
    return SampleStore(store.path(folder), split, _map(store.path(f"{folder}/{split}-index.bin"), "<i8"))


@dataclass(slots=True, eq=False)
class SampleStore(Sequence[Sample]):
    """The samples of a split; the arrays of an item are read from disk on access."""

    folder: Path
    split: str
    table: NDArray[np.int64]
    """The index."""
    _shards: dict[int, NDArray[np.uint8]] = field(default_factory=dict, init=False)

    def __len__(self) -> int:
        return len(self.table) // _COLUMNS

    @property
    def mean_length(self) -> float:
        """Mean number of ids of a sample; 0 without samples."""
        lengths_S = self.table[2::_COLUMNS]
        return float(lengths_S.mean()) if len(lengths_S) else 0.0

    @overload
    def __getitem__(self, place: int) -> Sample: ...
    @overload
    def __getitem__(self, place: slice) -> list[Sample]: ...
    def __getitem__(self, place: int | slice) -> Sample | list[Sample]:
        if isinstance(place, slice):
            return [self[one] for one in range(*place.indices(len(self)))]
        start = _COLUMNS * range(len(self))[place]
        shard, offset, length, scored, k = self.table[start : start + _COLUMNS].tolist()
        if shard not in self._shards:
            self._shards[shard] = _map(self.folder / f"{self.split}-{shard:06d}.bin", np.uint8)
        return _decode(self._shards[shard], offset, length=length, scored=scored, k=k)


def _encode(sample: Sample) -> tuple[bytes, tuple[int, int, int]]:
    """Return the bytes of a sample, and its L, N and K."""
    top, k = sample.top, 0
    parts: list[NDArray[np.generic]] = [sample.ids_L.astype("<i4")]
    if top is not None:
        k = top.ids_TK.shape[1]
        parts += [top.ids_TK.astype("<i4"), top.tail_T.astype("<f4"), top.logprobs_TK.astype("<f2")]
    parts += [sample.scored_L.astype(np.uint8), sample.known_N.astype(np.uint8)]
    data = b"".join(part.tobytes() for part in parts)
    return data + bytes(-len(data) % _ALIGNMENT), (len(sample.ids_L), sample.scored, k)


def _decode(shard: NDArray[np.uint8], offset: int, *, length: int, scored: int, k: int) -> Sample:
    def take(count: int, kind: DTypeLike) -> NDArray[Any]:
        nonlocal offset
        size = count * np.dtype(kind).itemsize
        view = shard[offset : offset + size].view(kind)
        offset += size
        return view

    ids_L = take(length, "<i4")
    top = None
    if k:
        ids_NK, tail_N = take(scored * k, "<i4").reshape(scored, k), take(scored, "<f4")
        top = TopK(ids_NK, take(scored * k, "<f2").reshape(scored, k), tail_N)
    return Sample(ids_L, take(length, np.bool_), top, take(scored, np.bool_))


def _cut(encoded: Iterable[tuple[bytes, tuple[int, int, int]]]) -> Iterator[list[tuple[bytes, tuple[int, int, int]]]]:
    """Yield shards of at most SHARD_BYTES; a larger sample becomes a separate shard."""
    shard: list[tuple[bytes, tuple[int, int, int]]] = []
    size = 0
    for data, sizes in encoded:
        if shard and size + len(data) > SHARD_BYTES:
            yield shard
            shard, size = [], 0
        shard.append((data, sizes))
        size += len(data)
    if shard:
        yield shard


def _map(path: Path, kind: DTypeLike) -> NDArray[Any]:
    """Return a file as a memory-mapped array, or an empty array for an empty file, which can't be mapped."""
    return np.memmap(path, kind, mode="r").view(np.ndarray) if path.stat().st_size else np.empty(0, kind)
