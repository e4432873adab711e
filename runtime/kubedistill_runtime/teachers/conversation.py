"""Conversations: generate the replies of several records turn by turn, each model reply part of the next prompt."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from kubedistill.errors import InvalidData
from kubedistill_runtime.answers import Answer, Turn
from kubedistill_runtime.chat import ChatFormat
from kubedistill_runtime.records import Message, open_turns
from kubedistill_runtime.serving.engine import Completion, Engine, Sampling, Watch
from kubedistill_runtime.teachers.cache import Row


@dataclass(frozen=True, slots=True)
class Generator:
    """A model that generates: its engine, its chat format and its sampling."""

    engine: Engine
    chat: ChatFormat
    sampling: Sampling
    max_model_len: int
    seed: int


def converse(rows: Sequence[Row], *, generator: Generator, watch: Watch, alone: bool = False) -> list[Answer]:
    """Return the answer of each row; all rows advance turn by turn.

    `watch` receives about how many rows are answered, and the number of generated tokens; `alone` is that of
    Engine.generate.
    """
    conversations = [_Conversation(row, questions=open_turns(row.record)) for row in rows]
    count = _TurnCount(rows=len(rows), turns=sum(len(one.questions) for one in conversations), watch=watch, alone=alone)
    for turn in range(max(len(conversation.questions) for conversation in conversations)):
        active = [conversation for conversation in conversations if conversation.continues(turn)]
        prompts = [conversation.next_prompt(turn, chat=generator.chat) for conversation in active]
        fitting = [place for place, ids in enumerate(prompts) if ids is not None and len(ids) < generator.max_model_len]
        seeds = [turn_seed(active[place].row, turn=turn, seed=generator.seed) for place in fitting]
        batch = [ids for place in fitting if (ids := prompts[place]) is not None]
        completions = count.generate(batch, generator=generator, seeds=seeds) if batch else []
        replies = dict(zip(fitting, completions, strict=True))
        for place, conversation in enumerate(active):
            reply = replies.get(place)
            if reply is None:  # longer than the model's limit, or not encodable
                conversation.append(Turn(tuple(prompts[place] or ()), (), "", "length"))
            else:
                text = generator.chat.text(reply.ids)
                conversation.append(
                    Turn(tuple(prompts[place] or ()), reply.ids, text, reply.finish, reply.top, reply.logprobs_T)
                )
    return [Answer(conversation.row.key, tuple(conversation.turns)) for conversation in conversations]


@dataclass(slots=True)
class _TurnCount:
    """The replies so far, of all turns of a batch."""

    rows: int
    turns: int
    watch: Watch
    alone: bool
    replies: int = 0
    tokens: int = 0

    def generate(
        self, prompts: Sequence[Sequence[int]], *, generator: Generator, seeds: Sequence[int]
    ) -> list[Completion]:
        """Return the replies to one turn, as Engine.generate does."""

        def watch(replies: int, tokens: int) -> None:
            self.watch(self.rows * (self.replies + replies) // self.turns, self.tokens + tokens)

        completions = generator.engine.generate(
            prompts, sampling=generator.sampling, seeds=seeds, watch=watch, alone=self.alone
        )
        self.replies += len(completions)
        self.tokens += sum(len(completion.ids) for completion in completions)
        return completions


class _Conversation:
    """One conversation in progress."""

    __slots__ = ("history", "questions", "row", "turns")

    def __init__(self, row: Row, *, questions: list[tuple[Message, ...]]) -> None:
        self.row, self.questions = row, questions
        self.history: list[Message] = []
        self.turns: list[Turn] = []

    def continues(self, turn: int) -> bool:
        """Return whether this turn has a question, and every earlier reply ended by itself."""
        return turn < len(self.questions) and all(earlier.finish == "stop" for earlier in self.turns)

    def next_prompt(self, turn: int, *, chat: ChatFormat) -> list[int] | None:
        """Return the ids of the next prompt; None if a reply of the model cannot be encoded as text."""
        self.history += self.questions[turn]
        try:
            return chat.prompt_ids(self.history)
        except InvalidData:  # Prepare checks that the record can be encoded, so the cause is the model's reply
            return None

    def append(self, turn: Turn) -> None:
        self.turns.append(turn)
        self.history.append(Message("assistant", turn.text))


def turn_seed(row: Row, *, turn: int, seed: int) -> int:
    """Return the seed of a turn, 31 bits, which depends on nothing but the row and the seed of the job."""
    return int.from_bytes(hashlib.sha256(f"{row.key}/{turn}/{seed}".encode()).digest()[:4], "big") >> 1
