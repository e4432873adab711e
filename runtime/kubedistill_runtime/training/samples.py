"""Samples: answers as token ids, with a mask of the scored ids.

Shapes: L ids of a sample, N scored ids among them, K alternatives stored per scored id.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kubedistill.errors import InvalidData
from kubedistill_runtime.answers import AnsweredRecord, TopK
from kubedistill_runtime.training.rendering import Rendering, Span


@dataclass(frozen=True, slots=True)
class Sample:
    """One sequence to train on."""

    ids_L: NDArray[np.int32]
    scored_L: NDArray[np.bool_]
    """True if the id is a target, which is predicted from the position before it."""
    top: TopK | None
    """The teacher's distribution at each scored id, or None if it is not known for any id."""
    known_N: NDArray[np.bool_]
    """Whether the teacher's distribution is known at each scored id."""

    @property
    def scored(self) -> int:
        """Number of scored ids, N."""
        return len(self.known_N)


@dataclass(slots=True)
class Counts:
    """Counts of the samples that were made from answers."""

    samples: int = 0
    overlong: int = 0
    """Samples dropped for their length."""
    without_logprobs: int = 0
    """Samples without any known distribution of the teacher."""
    unspelled: int = 0
    """Answers with the text of a special token that the student's tokenizer can't encode as text."""
    split: int = 0
    """Answers of several turns that became several samples, since the template rewrites earlier turns."""


def make_samples(
    answered: Iterable[AnsweredRecord], *, rendering: Rendering, max_length: int, counts: Counts
) -> Iterator[Sample]:
    """Turn answers into samples, one after another, and count them.

    Turns share a sample as long as each prompt begins with the whole previous turn.
    """
    for one in answered:
        try:
            groups = list(join_spans(rendering.spans(one)))
        except InvalidData:  # Prepare checked that the record can be encoded, so the answer is the cause
            counts.unspelled += 1
            continue
        counts.split += len(groups) > 1
        for spans in groups:
            sample = _make_sample(spans)
            if len(sample.ids_L) > max_length:
                counts.overlong += 1
            else:
                counts.samples += 1
                counts.without_logprobs += sample.top is None
                yield sample


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
    """Concatenate the distributions of several turns; a turn without any gets rows of zeros."""
    k = max(span.top.ids_TK.shape[1] for span in spans if span.top is not None)
    tops = [span.top or _blank(len(span.completion), k=k) for span in spans]
    return TopK(
        np.concatenate([one.ids_TK for one in tops]),
        np.concatenate([one.logprobs_TK for one in tops]),
        np.concatenate([one.tail_T for one in tops]),
    )


def _blank(count: int, *, k: int) -> TopK:
    return TopK(np.zeros((count, k), np.int32), np.zeros((count, k), np.float16), np.zeros(count, np.float32))
