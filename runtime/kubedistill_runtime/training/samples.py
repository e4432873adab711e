"""Samples: answers as token ids, with a mark on each id that the student is scored on.

Shapes: L ids of a sample, N scored ids among them, K alternatives stored per scored id.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kubedistill_runtime.answers import Answered, TopK
from kubedistill_runtime.training.rendering import Rendering, Span


@dataclass(frozen=True, slots=True)
class Sample:
    """One sequence to train on."""

    ids_L: NDArray[np.int32]
    scored_L: NDArray[np.bool_]
    """True where the id is a target; it is predicted from the position before it."""
    top: TopK | None
    """The teacher's distribution at each scored id, or None where it is known at none."""
    known_N: NDArray[np.bool_]
    """Whether the teacher's distribution is known at each scored id."""

    @property
    def scored(self) -> int:
        """Number of scored ids, N."""
        return int(self.scored_L.sum())


def make_samples(answered: Iterable[Answered], *, rendering: Rendering, max_length: int) -> tuple[list[Sample], int]:
    """Turn answers into samples; returns them and the number dropped for their length.

    Turns share a sample as long as each prompt begins with the whole turn before it.
    """
    samples, overlong = [], 0
    for one in answered:
        for spans in join_spans(rendering.spans(one)):
            sample = _make_sample(spans)
            if len(sample.ids_L) > max_length:
                overlong += 1
            else:
                samples.append(sample)
    return samples, overlong


def join_spans(spans: Iterable[Span]) -> Iterator[list[Span]]:
    """Group the turns of one answer that can share a sample."""
    group: list[Span] = []
    for span in spans:
        before = group[-1].prompt + group[-1].completion if group else ()
        if group and span.prompt[: len(before)] != before:
            yield group
            group = []
        group.append(span)
    if group:
        yield group


def _make_sample(spans: list[Span]) -> Sample:
    ids = np.array(spans[-1].prompt + spans[-1].completion, dtype=np.int32)
    scored = np.zeros(len(ids), dtype=np.bool_)
    for span in spans:
        scored[len(span.prompt) : len(span.prompt) + len(span.completion)] = True
    known_N = np.concatenate([_known(span) for span in spans])
    return Sample(ids, scored, _join_tops(spans) if known_N.any() else None, known_N)


def _known(span: Span) -> NDArray[np.bool_]:
    if span.top is not None and span.known_N is not None:
        return span.known_N
    return np.full(len(span.completion), span.top is not None)


def _join_tops(spans: list[Span]) -> TopK:
    """Lay the distributions of several turns end to end; a turn without any has rows of zeros."""
    k = max(span.top.ids_TK.shape[1] for span in spans if span.top is not None)
    tops = [span.top or _blank(len(span.completion), k=k) for span in spans]
    return TopK(
        np.concatenate([one.ids_TK for one in tops]),
        np.concatenate([one.logprobs_TK for one in tops]),
        np.concatenate([one.tail_T for one in tops]),
    )


def _blank(count: int, *, k: int) -> TopK:
    return TopK(np.zeros((count, k), np.int32), np.zeros((count, k), np.float16), np.ones(count, np.float32))
