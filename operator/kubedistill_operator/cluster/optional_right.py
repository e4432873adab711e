"""A right that a cluster may withhold: once the server has refused a request for it, none is made for a while."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from kubedistill_operator.cluster.failures import Refused

_REFUSED_SECONDS = 600.0
Answer = TypeVar("Answer")


@dataclass(slots=True)
class OptionalRight:
    """Remembers a refusal."""

    clock: Callable[[], float]
    allowed: bool = True
    """Whether the settings say that we have it."""
    _refused: float = float("-inf")
    """When the server last refused."""

    @property
    def may_ask(self) -> bool:
        """Whether a request is worth making."""
        return self.allowed and self.clock() >= self._refused + _REFUSED_SECONDS

    async def ask(self, request: Awaitable[Answer]) -> Answer | None:
        """Return the answer; None where the server refuses it."""
        try:
            return await request
        except Refused:  # the right is optional; or the server has just started, and does not know our roles yet
            self._refused = self.clock()
            return None
