"""The work queue: keys to reconcile, each once however often it is added, and by one worker at a time."""

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
    """A set of keys with timers, and a lane for urgent keys: under load, progress is delayed first.

    A key that is added while it is processed is processed again. Taking a key clears its timer, which the following
    reconcile sets again.
    """

    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    random_fraction: Callable[[], float] = random.random
    """A number from 0 to 1, for jitter."""
    _lanes: tuple[deque[Key], deque[Key]] = field(default_factory=lambda: (deque(), deque()))
    """Urgent keys and others; an entry counts only while its key is dirty and is not being processed."""
    _dirty: dict[Key, float] = field(default_factory=dict)
    """Keys to process, and since when."""
    _urgent: set[Key] = field(default_factory=set)
    """Keys that are urgent, from the time when that is known until they are taken."""
    _running: set[Key] = field(default_factory=set)
    _due: dict[Key, float] = field(default_factory=dict)
    _timers: list[tuple[float, Key]] = field(default_factory=list)
    """A heap; an entry counts only if it agrees with _due."""
    _failures: dict[Key, int] = field(default_factory=dict)
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def depth(self) -> int:
        """Number of keys that wait to be taken now."""
        return len(self._dirty.keys() - self._running)

    def add(self, key: Key, *, urgent: bool = False) -> None:
        """Queue a key for the next free worker; urgent keys come before all others."""
        if key in self._dirty and (not urgent or key in self._urgent):
            return
        if urgent:
            self._urgent.add(key)
        self._dirty.setdefault(key, self.clock())
        if key not in self._running:
            self._enqueue(key)

    def add_after(self, key: Key, seconds: float, *, urgent: bool = False) -> None:
        """Queue a key in so many seconds at the latest."""
        if seconds <= 0 or (urgent and key in self._dirty):  # taking the key clears its timer
            self.add(key, urgent=urgent)
            return
        if urgent:
            self._urgent.add(key)
        due = self.clock() + seconds
        if due < self._due.get(key, float("inf")):
            self._due[key] = due
            heapq.heappush(self._timers, (due, key))
            self._news.set()

    def retry(self, key: Key, *, min_delay: float = 0.0) -> float:
        """Queue a key that failed, with a delay that grows with each failure in a row; return the seconds."""
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        seconds = FIRST_BACKOFF_SECONDS * 2.0 ** min(failures, _MOST_DOUBLINGS)
        seconds = max(min_delay, min(MAX_BACKOFF_SECONDS, seconds) * (1 - _JITTER * self.random_fraction()))
        self.add_after(key, seconds)
        return seconds

    def reset_backoff(self, key: Key) -> None:
        """Forget a key's failures after a success."""
        self._failures.pop(key, None)

    def forget(self, key: Key) -> None:
        """Forget the failures and the timer of a key that is gone."""
        self.reset_backoff(key)
        self._due.pop(key, None)
        self._urgent.discard(key)

    def take(self) -> tuple[Key, float] | None:
        """Return the next key and the seconds that it waited, or None; the caller must call done for it."""
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
        """Note that a key that was taken is no longer being processed."""
        self._running.remove(key)
        if key in self._dirty:
            self._enqueue(key)

    async def get(self) -> tuple[Key, float]:
        """Wait for a key, and take it."""
        while (taken := self.take()) is None:
            self._news.clear()
            await self._wait()
        return taken

    def seconds_until_due(self) -> float | None:
        """Return the seconds until the next timer is due; None if there is none."""
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
        """Wait until a key is added or a timer is due."""
        waits: list[asyncio.Future[Any]] = [asyncio.ensure_future(self._news.wait())]
        if (left := self.seconds_until_due()) is not None:
            waits.append(asyncio.ensure_future(self.sleep(left)))
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
