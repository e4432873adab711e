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
    """The teacher's distribution at each scored id, or None where it is not known."""

    @property
    def scored(self) -> int:
        """Number of scored ids, N."""
        return int(self.scored_L.sum())


@dataclass(frozen=True, slots=True)
class _Span:
    prompt: tuple[int, ...]
    completion: tuple[int, ...]
    top: TopK | None


def make_samples(
    answered: Iterable[Answered], *, chat: ChatFormat, stored_ids: bool, max_length: int
) -> tuple[list[Sample], int]:
    """Turn answers into samples; returns them and the number dropped for their length.

    With stored_ids (one tokenizer) the teacher's own ids are used and nothing is tokenised again; without, and for
    answers that were given as text, the student's format renders them. Turns share a sample as long as each prompt
    begins with the whole turn before it.
    """
    samples, overlong = [], 0
    for one in answered:
        for spans in _join(_spans(one, chat=chat, stored_ids=stored_ids)):
            sample = _make_sample(spans)
            if len(sample.ids_L) > max_length:
                overlong += 1
            else:
                samples.append(sample)
    return samples, overlong


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
    tops = [span.top for span in spans if span.top is not None]
    top = None
    if len(tops) == len(spans):
        top = TopK(
            np.concatenate([one.ids_TK for one in tops]),
            np.concatenate([one.logprobs_TK for one in tops]),
            np.concatenate([one.tail_T for one in tops]),
        )
    return Sample(ids, scored, top)
