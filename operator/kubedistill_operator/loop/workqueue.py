"""The work queue: keys that must be looked at, each once however often it is added, and by one worker at a time."""

import asyncio
import heapq
import random
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from kubedistill_operator.job import Key

FIRST_BACKOFF_SECONDS, MAX_BACKOFF_SECONDS = 1.0, 300.0
_JITTER = 0.25
_MOST_DOUBLINGS = 16


@dataclass(slots=True)
class WorkQueue:
    """A dirty set with timers, and a lane for what is urgent: an overloaded operator is late with progress first.

    A key that is added while it runs runs again afterwards. Taking a key clears its timer: the run that follows
    says anew when it wants to be repeated.
    """

    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    random_fraction: Callable[[], float] = random.random
    """A number from 0 to 1, for jitter."""
    _lanes: tuple[deque[Key], deque[Key]] = field(default_factory=lambda: (deque(), deque()))
    """Urgent ones and others; an entry counts only while its key is dirty and does not run."""
    _dirty: dict[Key, float] = field(default_factory=dict)
    """Keys to be taken, and since when."""
    _urgent: set[Key] = field(default_factory=set)
    """Keys that are urgent, from the moment when that is known until they are taken."""
    _running: set[Key] = field(default_factory=set)
    _due: dict[Key, float] = field(default_factory=dict)
    _timers: list[tuple[float, Key]] = field(default_factory=list)
    """A heap; an entry counts only while it agrees with _due."""
    _failures: dict[Key, int] = field(default_factory=dict)
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def depth(self) -> int:
        """Keys that wait to be taken now."""
        return len(self._dirty.keys() - self._running)

    def add(self, key: Key, *, urgent: bool = False) -> None:
        """Have a key looked at as soon as there is a worker; an urgent one before all that are not."""
        if key in self._dirty and (not urgent or key in self._urgent):
            return
        if urgent:
            self._urgent.add(key)
        self._dirty.setdefault(key, self.clock())
        if key not in self._running:
            self._enqueue(key)

    def add_after(self, key: Key, seconds: float, *, urgent: bool = False) -> None:
        """Have a key looked at in so many seconds at the latest."""
        if seconds <= 0 or (urgent and key in self._dirty):  # whoever takes it clears its timer
            self.add(key, urgent=urgent)
            return
        if urgent:
            self._urgent.add(key)
        due = self.clock() + seconds
        if due < self._due.get(key, float("inf")):
            self._due[key] = due
            heapq.heappush(self._timers, (due, key))
            self._news.set()

    def retry(self, key: Key, *, least: float = 0.0) -> float:
        """Have a key that failed looked at again, later with each failure in a row; gives the seconds."""
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        seconds = FIRST_BACKOFF_SECONDS * 2.0 ** min(failures, _MOST_DOUBLINGS)
        seconds = max(least, min(MAX_BACKOFF_SECONDS, seconds) * (1 - _JITTER * self.random_fraction()))
        self.add_after(key, seconds)
        return seconds

    def reset_backoff(self, key: Key) -> None:
        """Forget a key's failures, since it succeeded."""
        self._failures.pop(key, None)

    def forget(self, key: Key) -> None:
        """Forget a key that is gone: its failures and its timer."""
        self.reset_backoff(key)
        self._due.pop(key, None)
        self._urgent.discard(key)

    def take(self) -> tuple[Key, float] | None:
        """The next key and the seconds that it waited, or None; whoever takes it must say when it is done."""
        self._fire_timers()
        for lane in self._lanes:
            while lane:
                key = lane.popleft()
                if key in self._dirty and key not in self._running:
                    waited = self.clock() - self._dirty.pop(key)
                    self._due.pop(key, None)
                    self._urgent.discard(key)
                    self._running.add(key)
                    return key, waited
        return None

    def done(self, key: Key) -> None:
        """Say that a key that was taken runs no more."""
        self._running.remove(key)
        if key in self._dirty:
            self._enqueue(key)

    async def get(self) -> tuple[Key, float]:
        """Wait for a key; the same as take otherwise."""
        while (taken := self.take()) is None:
            self._news.clear()
            await self._wait()
        return taken

    def seconds_until_due(self) -> float | None:
        """Seconds until the next timer rings; None where there is none."""
        while self._timers and self._due.get(self._timers[0][1]) != self._timers[0][0]:
            heapq.heappop(self._timers)
        return max(0.0, self._timers[0][0] - self.clock()) if self._timers else None

    def _enqueue(self, key: Key) -> None:
        self._lanes[0 if key in self._urgent else 1].append(key)
        self._news.set()

    def _fire_timers(self) -> None:
        while (left := self.seconds_until_due()) is not None and left <= 0:
            _, key = heapq.heappop(self._timers)
            del self._due[key]
            self.add(key)

    async def _wait(self) -> None:
        """Until something is added or a timer rings."""
        waits: list[asyncio.Future[Any]] = [asyncio.ensure_future(self._news.wait())]
        if (left := self.seconds_until_due()) is not None:
            waits.append(asyncio.ensure_future(self.sleep(left)))
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
