"""Limits: requests at a time, requests per minute and tokens per minute of one endpoint."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

from kubedistill_runtime.endpoints.endpoint import Endpoint

_MINUTE = 60.0


@dataclass(slots=True)
class Bucket:
    """A token bucket: it holds `per_minute` at most, and fills at that rate; whoever waits is served in order."""

    per_minute: float
    clock: Callable[[], float]
    sleep: Callable[[float], Awaitable[None]]
    _held: float = field(init=False)
    _at: float = field(init=False)
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock, init=False)

    def __post_init__(self) -> None:
        self._held, self._at = self.per_minute, self.clock()

    async def take(self, amount: float) -> None:
        """Take an amount as soon as it is there; an amount that never could be is taken from a full bucket."""
        wanted = min(amount, self.per_minute)
        async with self._turn:
            while (missing := wanted - self._fill()) > 1e-6:
                await self.sleep(missing * _MINUTE / self.per_minute)
            self._held -= amount

    def correct(self, more: float) -> None:
        """Take more than was estimated, at once, or return what was not used."""
        self._held -= more

    def _fill(self) -> float:
        now = self.clock()
        self._held = min(self.per_minute, self._held + (now - self._at) * self.per_minute / _MINUTE)
        self._at = now
        return self._held


class Limits:
    """The limits of an endpoint, held by all its requests together.

    Endpoints count the limit of tokens of a reply when they receive the request; what was not used is returned here.
    """

    __slots__ = ("_in_flight", "_requests", "_tokens")

    def __init__(
        self, endpoint: Endpoint, *, clock: Callable[[], float], sleep: Callable[[float], Awaitable[None]]
    ) -> None:
        self._in_flight = asyncio.Semaphore(endpoint.max_in_flight)
        limits = (endpoint.requests_per_minute, endpoint.tokens_per_minute)
        self._requests, self._tokens = (Bucket(limit, clock, sleep) if limit else None for limit in limits)

    @contextlib.asynccontextmanager
    async def slot(self, tokens: int) -> AsyncIterator[None]:
        """Wait until a request with an estimated number of tokens may be sent."""
        async with self._in_flight:
            if self._requests:
                await self._requests.take(1)
            if self._tokens:
                await self._tokens.take(tokens)
            yield

    def correct(self, *, estimated: int, used: int) -> None:
        """Count the tokens that a request used instead of its estimate."""
        if self._tokens:
            self._tokens.correct(used - estimated)
