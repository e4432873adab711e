"""Usage: what the answers of an endpoint cost in requests and tokens, as its shards say."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from kubedistill_runtime.answers import Turn, TurnUsage, decode_usages
from kubedistill_runtime.teachers.cache import AnswerCache, Row, shard_errors
from kubedistill_runtime.teachers.in_flight import count_lost


@dataclass(slots=True)
class Usage:
    """Requests and tokens of a set of answers."""

    requests: int = 0
    """All requests that led to these answers, including those that failed."""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    finishes: Counter[str] = field(default_factory=Counter)
    """Turns by how they ended; its total is the number of turns, and `requests` less that is the number of retries."""
    models: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Turns by the model's name and fingerprint, as the endpoint states them; more than one means a mixture."""
    default_temperature: int = 0
    """Turns that were drawn at the model's own temperature, since it refuses the one that was asked for."""
    unaccounted: int = 0
    """Requests, at most, whose replies were lost with a driver that was killed; their tokens are not known."""

    @property
    def retries(self) -> int:
        """Requests that had to be repeated."""
        return self.requests - self.finishes.total()

    def add(self, turn: Turn) -> None:
        """Count one turn, if it has a usage."""
        if turn.usage is not None:
            self.add_usage(turn.finish, turn.usage)

    def add_usage(self, finish: str, usage: TurnUsage) -> None:
        """Count how one turn ended; an endpoint that gave no reply states no model."""
        self.requests += usage.requests
        self.prompt_tokens += usage.prompt_tokens
        self.completion_tokens += usage.completion_tokens
        self.finishes[finish] += 1
        self.default_temperature += "temperature" in usage.left_out
        if usage.model:
            self.models[usage.model, usage.fingerprint] += 1


def read_usage(rows: Sequence[Row], *, cache: AnswerCache) -> Usage:
    """Return the usage of the stored answers of rows, each once, whichever run asked for them.

    Raises StorageUnavailable if a shard is damaged.
    """
    where, usage = cache.find_answers(), Usage()
    left = {row.key for row in rows}
    for name in sorted({where[row_key] for row_key in left if row_key in where}):
        with shard_errors(cache.store, name):
            for row_key, turns in decode_usages(cache.store.path(name)):
                if row_key in left and where[row_key] == name:
                    left.remove(row_key)
                    for finish, one in turns:
                        usage.add_usage(finish, one)
    usage.unaccounted = count_lost(cache.store, cache.key)
    return usage
