"""Rendering: an answer as the ids that the student learns, with the teacher's distributions where they match.

Shapes: T ids of a reply in the teacher's rendering, N ids of the same reply in the student's rendering, K alternatives
stored per id.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from kubedistill_runtime.answers import NO_TOKEN, AnsweredRecord, TopK, Turn
from kubedistill_runtime.chat import ChatFormat
from kubedistill_runtime.records import Message, open_turns

Form = Literal["Generated", "Rendered", "Text"]
"""How a stored reply becomes ids. Generated: the teacher's ids. Rendered: the student's rendering, with the teacher's
distributions moved to it (same vocabulary, different chat formats). Text: only the student's rendering (different
vocabularies)."""


@dataclass(frozen=True, slots=True)
class Span:
    """One turn: a prompt, and the reply that is scored."""

    prompt: tuple[int, ...]
    completion: tuple[int, ...]
    top: TopK | None = None
    """The teacher's distribution at each id of the completion; None if it is not known for any id."""
    known_N: NDArray[np.bool_] | None = None
    """Whether the distribution is known at each id; None if it is known everywhere that there is one."""


@dataclass(frozen=True, slots=True)
class Rendering:
    """How the answers of one job become the student's samples."""

    chat: ChatFormat
    """The student's."""
    form: Form
    teacher_stop_ids: frozenset[int] = frozenset()
    """The stop ids of all served teachers."""
    thinks: bool = False
    """Whether the student learns the reasoning in a reply too; then the form is Generated."""

    def spans(self, answered: AnsweredRecord) -> Iterator[Span]:
        """Yield one span for each turn of an answer."""
        history: list[Message] = []
        for asked, turn in zip(open_turns(answered.record), answered.answer.turns, strict=False):
            history += asked
            yield self._span(turn, history)
            history.append(Message("assistant", turn.text))

    def _span(self, turn: Turn, history: Sequence[Message]) -> Span:
        stored = bool(turn.prompt_ids and turn.completion_ids)  # an endpoint may give only one of them
        if self.form == "Generated" and stored and (self.thinks or not self.chat.has_reasoning(turn.completion_ids)):
            return Span(turn.prompt_ids, turn.completion_ids, turn.top)
        prompt, completion = (tuple(ids) for ids in self.chat.turn_ids(history, turn.text))
        if self.form == "Text" or turn.top is None:
            return Span(prompt, completion)
        top, known_N = move_top(
            turn.top, turn.completion_ids, completion, stop_ids=self.teacher_stop_ids, end_id=self.chat.end_id
        )
        return Span(prompt, completion, top if known_N.any() else None, known_N)


def move_top(
    top: TopK, generated: Sequence[int], rendered: Sequence[int], *, stop_ids: frozenset[int], end_id: int
) -> tuple[TopK, NDArray[np.bool_]]:
    """Move distributions to another rendering of the same reply, where the ids of the two renderings agree.

    `generated` (T) are the ids that the distributions belong to, `rendered` (N) the ids to learn; both end with the
    token that ends a reply. Returns N rows, and which of them are known. The mass of all stop ids moves to `end_id`.
    """
    assert generated[-1] in stop_ids, "the answer ended by itself"
    assert rendered[-1] == end_id, "the reply is rendered by the template"
    source_N, known_N = _match(generated, rendered)
    ids_NK, logprobs_NK = top.ids_TK[source_N].copy(), top.logprobs_TK[source_N].copy()
    _merge_ends(ids_NK, logprobs_NK, stop_ids=stop_ids | {end_id}, end_id=end_id)
    tail_N = top.tail_T[source_N]
    known_N &= ~np.isnan(tail_N)
    return TopK(ids_NK, logprobs_NK, np.where(np.isnan(tail_N), np.float32(0), tail_N)), known_N


def _match(generated: Sequence[int], rendered: Sequence[int]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return, for each rendered id, the place of the same generated id, and whether there is one.

    Renderings differ in the text that a template puts around a reply, so the common start and the common end match.
    """
    body, taught = list(generated[:-1]), list(rendered[:-1])
    shorter = min(len(body), len(taught))
    start = next((place for place in range(shorter) if body[place] != taught[place]), shorter)
    rest = shorter - start
    end = next((back for back in range(rest) if body[-1 - back] != taught[-1 - back]), rest)
    source_N = np.zeros(len(rendered), np.int64)
    known_N = np.zeros(len(rendered), np.bool_)
    source_N[:start], known_N[:start] = np.arange(start), True
    if end:
        source_N[len(taught) - end : -1] = np.arange(len(body) - end, len(body))
        known_N[len(taught) - end : -1] = True
    source_N[-1], known_N[-1] = len(generated) - 1, True
    return source_N, known_N


def _merge_ends(
    ids_NK: NDArray[np.int32], logprobs_NK: NDArray[np.float16], *, stop_ids: frozenset[int], end_id: int
) -> None:
    """Move the mass of all stop ids of a row to the first of them, and set its id to `end_id`."""
    ends_NK = np.isin(ids_NK, list(stop_ids))
    rows = np.flatnonzero(ends_NK.any(axis=1))
    for row in rows:
        columns = np.flatnonzero(ends_NK[row])
        mass = np.exp(logprobs_NK[row, columns].astype(np.float64)).sum()
        ids_NK[row, columns], logprobs_NK[row, columns] = NO_TOKEN, -np.inf
        ids_NK[row, columns[0]], logprobs_NK[row, columns[0]] = end_id, np.log(mass)
