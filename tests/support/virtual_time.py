"""Time that passes only when everybody waits, so that minutes of coroutines take milliseconds."""

import asyncio
import heapq
import itertools
from dataclasses import dataclass, field


@dataclass
class VirtualTime:
    """A clock and its sleep."""

    now: float = 1000.0
    _sleepers: list[tuple[float, int, "asyncio.Future[None]"]] = field(default_factory=list)
    _order: "itertools.count[int]" = field(default_factory=itertools.count)

    def clock(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        """Return when the clock shows so many seconds more."""
        waking = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self.now + max(0.0, seconds), next(self._order), waking))
        await waking

    async def run(self, seconds: float) -> None:
        """Let so many seconds pass."""
        end = self.now + seconds
        await self._settle()
        while self._sleepers and self._sleepers[0][0] <= end:
            due, _, waking = heapq.heappop(self._sleepers)
            self.now = max(self.now, due)
            if not waking.done():
                waking.set_result(None)
            await self._settle()
        self.now = end

    async def _settle(self) -> None:
        for _ in range(20):
            await asyncio.sleep(0)
