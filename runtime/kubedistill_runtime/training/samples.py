"""Samples: answers as token ids, with a mark on each id that the student is scored on.

Shapes: L ids of a sample, N scored ids among them, K alternatives stored per scored id.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kubedistill_runtime.answers import Answered, TopK, Turn
from kubedistill_runtime.chat import ChatFormat
from kubedistill_runtime.records import Message


@dataclass(frozen=True, slots=True)
class Sample:
    """One sequence to train on."""

    ids_L: NDArray[np.int32]
    scored_L: NDArray[np.bool_]
    """True where the id is a target; it is predicted from the position before it."""
    top: TopK | None
    """The teacher's distribution at each scored id, or None where none is known."""
    known_N: NDArray[np.bool_]
    """Whether the teacher's distribution is known at each scored id; where it is not, top holds zeros."""

    @property
    def scored(self) -> int:
        """Number of scored ids, N."""
        return len(self.known_N)


@dataclass(slots=True)
class Counts:
    """What became of answers on their way to samples."""

    samples: int = 0
    overlong: int = 0
    """Samples dropped for their length."""
    without_logprobs: int = 0
    """Samples at which the teacher's distribution is not known."""


@dataclass(frozen=True, slots=True)
class _Span:
    prompt: tuple[int, ...]
    completion: tuple[int, ...]
    top: TopK | None


def make_samples(
    answered: Iterable[Answered], *, chat: ChatFormat, stored_ids: bool, max_length: int, counts: Counts
) -> Iterator[Sample]:
    """Turn answers into samples, one after another, and count them.

    With stored_ids (one tokenizer) the teacher's own ids are used and nothing is tokenised again; without, and for
    answers that were given as text, the student's format renders them. Turns share a sample as long as each prompt
    begins with the whole turn before it.
    """
    for one in answered:
        for spans in _join(_spans(one, chat=chat, stored_ids=stored_ids)):
            sample = _make_sample(spans)
            if len(sample.ids_L) > max_length:
                counts.overlong += 1
            else:
                counts.samples += 1
                counts.without_logprobs += sample.top is None
                yield sample


def _spans(answered: Answered, *, chat: ChatFormat, stored_ids: bool) -> Iterator[_Span]:
    """One span per turn."""
    history: list[Message] = []
    questions = iter(message for message in answered.record.messages if message.role != "assistant")
    for turn in answered.answer.turns:
        for message in questions:
            history.append(message)
            if message.role == "user":
                break
        yield _stored(turn) if stored_ids and turn.completion_ids else _rendered(turn, history, chat=chat)
        history.append(Message("assistant", turn.text))


def _stored(turn: Turn) -> _Span:
    return _Span(turn.prompt_ids, turn.completion_ids, turn.top)


def _rendered(turn: Turn, history: list[Message], *, chat: ChatFormat) -> _Span:
    return _Span(tuple(chat.prompt_ids(history)), tuple(chat.reply_ids(turn.text)), None)


def _join(spans: Iterable[_Span]) -> Iterator[list[_Span]]:
    group: list[_Span] = []
    for span in spans:
        before = group[-1].prompt + group[-1].completion if group else ()
        if group and span.prompt[: len(before)] != before:
            yield group
            group = []
        group.append(span)
    if group:
        yield group


def _make_sample(spans: list[_Span]) -> Sample:
    ids = np.array(spans[-1].prompt + spans[-1].completion, dtype=np.int32)
    scored = np.zeros(len(ids), dtype=np.bool_)
    for span in spans:
        scored[len(span.prompt) : len(span.prompt) + len(span.completion)] = True
    known = np.repeat([span.top is not None for span in spans], [len(span.completion) for span in spans])
    return Sample(ids, scored, _join_tops(spans), known)


def _join_tops(spans: list[_Span]) -> TopK | None:
    """The distributions of all spans one after another, zeros for a span that has none."""
    k = next((span.top.ids_TK.shape[1] for span in spans if span.top is not None), None)
    if k is None:
        return None
    tops = [span.top or _zeros(len(span.completion), k=k) for span in spans]
    return TopK(
        np.concatenate([one.ids_TK for one in tops]),
        np.concatenate([one.logprobs_TK for one in tops]),
        np.concatenate([one.tail_T for one in tops]),
    )


def _zeros(count: int, *, k: int) -> TopK:
    return TopK(np.zeros((count, k), np.int32), np.zeros((count, k), np.float16), np.zeros(count, np.float32))
