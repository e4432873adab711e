"""Answering: have a model answer records, shard by shard, asking only for what the library has not."""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from kubedistill.errors import EngineLost, InvalidData
from kubedistill_runtime.answers import Answer, Answered, Turn
from kubedistill_runtime.chat import ChatFormat
from kubedistill_runtime.records import Message, open_turns
from kubedistill_runtime.serving.engine import Engine, Sampling
from kubedistill_runtime.storage.store import Store
from kubedistill_runtime.teachers.library import SHARD_ROWS, Row, ShardReader, add_shard, find_answers, find_ended

_ENGINE_LIVES = 2
"""Deaths of the engine on the same rows after which the rows are to blame."""


@dataclass(frozen=True, slots=True)
class Asker:
    """A model that can be asked: its engine, its chat format and how its replies are drawn."""

    engine: Engine
    chat: ChatFormat
    sampling: Sampling
    max_model_len: int
    seed: int


def missing_rows(rows: Sequence[Row], *, key: str, store: Store) -> list[Row]:
    """The rows that the library has no answer to, each once."""
    known = find_answers(store, key)
    return list({row.key: row for row in rows if row.key not in known}.values())


def answer_rows(
    rows: Sequence[Row], *, key: str, asker: Asker, store: Store, report: Callable[[int, int], None]
) -> int:
    """Answer what the library has not; returns the tokens generated.

    Shards are cut from the whole list, not from what is missing, so a run that was killed goes on with the same
    shards and, since a shard is one batch, with the same token ids. `report` gets the rows answered and the tokens
    generated so far; it may raise Stopped, which loses nothing.
    """
    known = find_answers(store, key)
    left = Counter(row.key for row in rows if row.key not in known)
    done, tokens = len(rows) - left.total(), 0
    for shard in _cut(rows):
        wanted = list({row.key: row for row in shard if row.key in left}.values())
        report(done, tokens)
        if not wanted:
            continue
        answers = _answer_shard(wanted, asker=asker)
        add_shard(store, key, wanted, answers)
        done += sum(left.pop(row.key) for row in wanted)
        tokens += sum(len(turn.completion_ids) for answer in answers for turn in answer.turns)
    report(done, tokens)
    return tokens


def collect_answers(rows: Sequence[Row], *, key: str, store: Store) -> Iterator[Answered]:
    """The library's answers to rows, in their order."""
    shards = ShardReader(store, where=find_answers(store, key))
    return (Answered(row.record, row.sample, shards.answer(row.key)) for row in rows)


def count_ended(rows: Sequence[Row], *, key: str, store: Store) -> int:
    """How many rows have an answer that came to its end by itself."""
    ended = find_ended(store, key)
    return sum(row.key in ended for row in rows)


def _cut(rows: Sequence[Row]) -> Iterator[Sequence[Row]]:
    for start in range(0, len(rows), SHARD_ROWS):
        yield rows[start : start + SHARD_ROWS]


def _answer_shard(rows: Sequence[Row], *, asker: Asker) -> list[Answer]:
    """Answer rows in one batch; where the engine dies of them, halve them until the deadly row stands alone.

    That row is quarantined: its answer has no turns, and Curate counts it as Unanswered.
    """
    for life in range(_ENGINE_LIVES):
        try:
            return _converse(rows, asker=asker)
        except EngineLost:
            if life + 1 < _ENGINE_LIVES:
                continue
            if len(rows) == 1:
                return [Answer(rows[0].key)]
    half = len(rows) // 2
    return [*_answer_shard(rows[:half], asker=asker), *_answer_shard(rows[half:], asker=asker)]


def _converse(rows: Sequence[Row], *, asker: Asker) -> list[Answer]:
    """Advance all rows turn by turn, feeding the model's own replies back to it."""
    talks = [_Talk(row, questions=open_turns(row.record)) for row in rows]
    for turn in range(max(len(talk.questions) for talk in talks)):
        asked = [talk for talk in talks if talk.goes_on(turn)]
        prompts = [talk.ask(turn, chat=asker.chat) for talk in asked]
        fitting = [place for place, ids in enumerate(prompts) if ids is not None and len(ids) < asker.max_model_len]
        seeds = [_seed(asked[place].row, turn=turn, seed=asker.seed) for place in fitting]
        batch = [ids for place in fitting if (ids := prompts[place]) is not None]
        completions = asker.engine.generate(batch, sampling=asker.sampling, seeds=seeds) if batch else []
        replies = dict(zip(fitting, completions, strict=True))
        for place, talk in enumerate(asked):
            reply = replies.get(place)
            if reply is None:  # the conversation has outgrown the model, or can't be encoded
                talk.hear(Turn(tuple(prompts[place] or ()), (), "", "length"))
            else:
                text = asker.chat.text(reply.ids)
                talk.hear(Turn(tuple(prompts[place] or ()), reply.ids, text, reply.finish, reply.top, reply.logprobs_T))
    return [Answer(talk.row.key, tuple(talk.turns)) for talk in talks]


class _Talk:
    """One conversation under way."""

    __slots__ = ("history", "questions", "row", "turns")

    def __init__(self, row: Row, *, questions: list[tuple[Message, ...]]) -> None:
        self.row, self.questions = row, questions
        self.history: list[Message] = []
        self.turns: list[Turn] = []

    def goes_on(self, turn: int) -> bool:
        """Whether this turn is to be asked: there is a question, and every reply so far came to its end."""
        return turn < len(self.questions) and all(earlier.finish == "stop" for earlier in self.turns)

    def ask(self, turn: int, *, chat: ChatFormat) -> list[int] | None:
        """Return the ids of the next prompt; None where the model's own reply can't be written as text in it."""
        self.history += self.questions[turn]
        try:
            return chat.prompt_ids(self.history)
        except InvalidData:  # Prepare has seen that the record can be encoded, so the model's reply is to blame
            return None

    def hear(self, turn: Turn) -> None:
        self.turns.append(turn)
        self.history.append(Message("assistant", turn.text))


def _seed(row: Row, *, turn: int, seed: int) -> int:
    return int.from_bytes(hashlib.sha256(f"{row.key}/{turn}/{seed}".encode()).digest()[:4], "big") >> 1
