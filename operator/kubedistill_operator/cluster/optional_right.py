"""A right that a cluster may withhold: after the server has refused a request, none is sent for a while."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from kubedistill_operator.cluster.api_errors import Refused

_REFUSED_SECONDS = 600.0
Answer = TypeVar("Answer")


@dataclass(slots=True)
class OptionalRight:
    """Remembers a refusal."""

    clock: Callable[[], float]
    allowed: bool = True
    """Whether we have the right according to the settings."""
    _refused: float = float("-inf")
    """When the server last refused."""

    @property
    def may_ask(self) -> bool:
        """Whether a request may succeed."""
        return self.allowed and self.clock() >= self._refused + _REFUSED_SECONDS

    async def ask(self, request: Awaitable[Answer]) -> Answer | None:
        """Return the answer; None if the server refuses the request."""
        try:
            return await request
        except Refused:  # the right was not granted, or the server has just started and does not know our roles yet
            self._refused = self.clock()
            return None
