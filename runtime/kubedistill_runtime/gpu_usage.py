"""GPU usage: the GPU-seconds that a driver holds, and those in which nothing is generated or learned.

A GPU is idle from one token or micro-batch of its group to the next if that takes 10 s or longer; then all of that
time counts. The time from when it is held to the first one, such as that of loading a model, is such a gap too.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Lock
from typing import Literal

IDLE_SECONDS = 10.0
"""The shortest time without a token or a micro-batch that counts as idle."""

Group = int | Literal["training"] | None
"""GPUs that work together: those of a replica, by its number, or those of a training. None: none have worked."""


@dataclass(slots=True)
class _Gpu:
    held_since: float
    worked_at: float
    """When its group last made a token or a micro-batch, or when it was first held."""
    group: Group = None

    def gap(self, now: float) -> float:
        """Return the idle seconds since its group last worked: 0, until it has been long enough."""
        gap = now - self.worked_at
        return gap if gap >= IDLE_SECONDS else 0.0


@dataclass(slots=True)
class GpuUsage:
    """Counts GPU-seconds from the events of a driver; methods may be called by several threads."""

    clock: Callable[[], float] = time.monotonic
    _gpus: list[_Gpu] = field(default_factory=list, init=False)
    _known: bool = field(default=False, init=False)
    _started: float = field(init=False)
    _held: float = field(default=0.0, init=False)
    """GPU-seconds of GPUs that are not held anymore."""
    _idle: float = field(default=0.0, init=False)
    """Idle GPU-seconds of gaps that have ended."""
    _lock: Lock = field(default_factory=Lock, init=False)

    def __post_init__(self) -> None:
        self._started = self.clock()

    def hold(self, gpus: int) -> None:
        """Note how many GPUs are held now; those that are known first have been held since the start.

        Those that are lost are the ones whose group has worked least recently.
        """
        with self._lock:
            now = self.clock()
            since = now if self._known else self._started
            self._known = self._known or gpus > 0
            self._gpus.sort(key=lambda gpu: gpu.worked_at, reverse=True)
            for lost in self._gpus[gpus:]:
                self._held += now - lost.held_since
                self._idle += lost.gap(now)
            self._gpus = self._gpus[:gpus] + [_Gpu(since, since) for _ in range(gpus - len(self._gpus))]

    def work(self, group: Group, *, gpus: int | None = None) -> None:
        """Note a token or a micro-batch of a group, which uses this number of GPUs, or all that are held."""
        with self._lock:
            now = self.clock()
            # Its own come first, then those that nobody uses, then those that have not been used for longest.
            order = sorted(self._gpus, key=lambda gpu: (gpu.group != group, gpu.group is not None, gpu.worked_at))
            working = order[:gpus]
            for gpu in order[len(working) :]:
                gpu.group = None if gpu.group == group else gpu.group
            for gpu in working:
                self._idle += gpu.gap(now)
                gpu.worked_at, gpu.group = now, group

    def held(self) -> int:
        """Return the number of GPUs that are held."""
        return len(self._gpus)

    def held_seconds(self) -> float:
        """Return the GPU-seconds that were held until now."""
        with self._lock:
            now = self.clock()
            return self._held + sum(now - gpu.held_since for gpu in self._gpus)

    def idle_seconds(self) -> float:
        """Return the GPU-seconds among them that were idle; a gap counts once it has lasted for 10 s."""
        with self._lock:
            now = self.clock()
            return self._idle + sum(gpu.gap(now) for gpu in self._gpus)
