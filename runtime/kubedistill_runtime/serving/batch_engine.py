"""Engines that answer batches in slices of time, so that whoever waits can watch and stop them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from kubedistill_runtime.serving.engine import Completion, Sampling


@dataclass(frozen=True, slots=True)
class Advance:
    """How far a batch has come."""

    replies: int
    """Finished replies."""
    tokens: int
    """Tokens of the finished replies."""
    generated: int
    """A number that grows with each step of the engine that makes tokens, of this batch or others."""
    completions: list[Completion] | None = None
    """All replies, in the order of the prompts, once the last is finished."""


class BatchEngine(Protocol):
    """A vLLM engine in the process of its actor."""

    def start(
        self, batch: int, prompts: Sequence[Sequence[int]], *, sampling: Sampling, seeds: Sequence[int], seconds: float
    ) -> Advance:
        """Begin a batch, whose number is new, and advance it."""
        ...

    def advance(self, batch: int, *, seconds: float) -> Advance:
        """Return once a batch is finished, or about these seconds have passed."""
        ...

    def abort(self, batch: int) -> None:
        """Give up a batch; its replies are lost."""
        ...

    def load_weights(self, path: str) -> None:
        """Load the weights of another folder of the same architecture."""
        ...

    def close(self) -> None:
        """Stop the engine."""
        ...


class Replies:
    """The replies to one batch so far."""

    __slots__ = ("_found", "prompts")

    def __init__(self, prompts: int) -> None:
        self.prompts = prompts
        self._found: dict[int, Completion] = {}

    @property
    def complete(self) -> bool:
        """Whether each prompt has its reply."""
        return len(self._found) == self.prompts

    def add(self, place: int, completion: Completion) -> None:
        """Add the reply to the prompt at a place."""
        self._found[place] = completion

    def advance(self, *, generated: int) -> Advance:
        """Return how far the batch has come, as an Advance."""
        found = dict(self._found)
        whole = [found[place] for place in range(self.prompts)] if len(found) == self.prompts else None
        return Advance(len(found), sum(len(one.ids) for one in found.values()), generated, whole)
