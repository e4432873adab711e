"""Rendering: one answer as the ids that the student learns from, with the teacher's distributions where they fit.

Shapes: T ids of a reply as the teacher gave it, N ids of the same reply as the student is taught it, K alternatives
stored per id.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from kubedistill_runtime.answers import AnsweredRecord, TopK, Turn
from kubedistill_runtime.chat import ChatFormat
from kubedistill_runtime.records import Message, open_turns

Form = Literal["Generated", "Rendered", "Text"]
"""How a stored reply becomes ids. Generated: the teacher's own. Rendered: the student's rendering, with the teacher's
distributions moved to it (one vocabulary, two chat formats). Text: the student's rendering alone (two vocabularies)."""
NO_TOKEN = 2**31 - 1
"""An id past every vocabulary, in the place of one whose mass another id has taken over."""


@dataclass(frozen=True, slots=True)
class Span:
    """One turn: a prompt, and the reply that is scored."""

    prompt: tuple[int, ...]
    completion: tuple[int, ...]
    top: TopK | None = None
    """The teacher's distribution at each id of the completion; None where it is known at none of them."""
    known_N: NDArray[np.bool_] | None = None
    """Where the distribution is known; None: wherever there is one."""


@dataclass(frozen=True, slots=True)
class Rendering:
    """How the answers of one job become the student's samples."""

    chat: ChatFormat
    """The student's."""
    form: Form
    teacher_stop_ids: frozenset[int] = frozenset()

    def spans(self, answered: AnsweredRecord) -> Iterator[Span]:
        """Give one span for each turn of an answer."""
        history: list[Message] = []
        for asked, turn in zip(open_turns(answered.record), answered.answer.turns, strict=False):
            history += asked
            yield self._span(turn, history)
            history.append(Message("assistant", turn.text))

    def _span(self, turn: Turn, history: Sequence[Message]) -> Span:
        stored = bool(turn.completion_ids)
        if self.form == "Generated" and stored and not self.chat.has_reasoning(turn.completion_ids):
            return Span(turn.prompt_ids, turn.completion_ids, turn.top)
        prompt, completion = (tuple(ids) for ids in self.chat.turn_ids(history, turn.text))
        if self.form == "Text" or turn.top is None:
            return Span(prompt, completion)
        top, known_N = move_top(
            turn.top, turn.completion_ids, completion, stop_ids=self.teacher_stop_ids, end_id=self.chat.end_id
        )
        return Span(prompt, completion, top if known_N.any() else None, known_N)


def move_top(
    top: TopK, said: Sequence[int], shown: Sequence[int], *, stop_ids: frozenset[int], end_id: int
) -> tuple[TopK, NDArray[np.bool_]]:
    """Move distributions to another rendering of the same reply, where the two renderings' ids agree.

    `said` (T) are the ids that the distributions belong to, `shown` (N) the ids that are taught; both end with the
    token that ends a reply. Returns N rows and which of them are known. The mass of every stop id goes to `end_id`.
    """
    assert said[-1] in stop_ids, "an answer that came to its end"
    assert shown[-1] == end_id, "a reply as the template renders it"
    source_N, known_N = _match(said, shown)
    ids_NK, logprobs_NK = top.ids_TK[source_N].copy(), top.logprobs_TK[source_N].copy()
    _merge_ends(ids_NK, logprobs_NK, stop_ids=stop_ids | {end_id}, end_id=end_id)
    return TopK(ids_NK, logprobs_NK, top.tail_T[source_N]), known_N


def _match(said: Sequence[int], shown: Sequence[int]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return for each shown id the place of the same id among the said, and whether there is one.

    Renderings differ in what a template puts around a reply, so their common start and their common end are matched.
    """
    body, taught = list(said[:-1]), list(shown[:-1])
    shorter = min(len(body), len(taught))
    start = next((place for place in range(shorter) if body[place] != taught[place]), shorter)
    rest = shorter - start
    end = next((back for back in range(rest) if body[-1 - back] != taught[-1 - back]), rest)
    source_N = np.zeros(len(shown), np.int64)
    known_N = np.zeros(len(shown), np.bool_)
    source_N[:start], known_N[:start] = np.arange(start), True
    if end:
        source_N[len(taught) - end : -1] = np.arange(len(body) - end, len(body))
        known_N[len(taught) - end : -1] = True
    source_N[-1], known_N[-1] = len(said) - 1, True
    return source_N, known_N


def _merge_ends(
    ids_NK: NDArray[np.int32], logprobs_NK: NDArray[np.float16], *, stop_ids: frozenset[int], end_id: int
) -> None:
    """Give the mass of all stop ids of a row to the first of them, under the id of the end that is taught."""
    ends_NK = np.isin(ids_NK, list(stop_ids))
    rows = np.flatnonzero(ends_NK.any(axis=1))
    for row in rows:
        columns = np.flatnonzero(ends_NK[row])
        mass = np.exp(logprobs_NK[row, columns].astype(np.float64)).sum()
        ids_NK[row, columns], logprobs_NK[row, columns] = NO_TOKEN, -np.inf
        ids_NK[row, columns[0]], logprobs_NK[row, columns[0]] = end_id, np.log(mass)
