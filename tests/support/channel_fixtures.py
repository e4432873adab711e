"""Fixtures of the tests of a cluster channel: what the driver is told, and a clock that a test advances."""

from collections.abc import Callable
from dataclasses import dataclass, field

from kubedistill_runtime.channel.config_map_channel import ConfigMapChannel

JOB_UID = "job-uid"
TOKEN = "job-train-abcde.uid"
Claim = Callable[..., ConfigMapChannel]
"""Claims the attempt for a driver, by name."""


@dataclass(slots=True)
class Time:
    """Seconds since the start, and the pauses that were made."""

    now: float = 0.0
    pauses: list[float] = field(default_factory=list)
    on_sleep: Callable[[], None] = lambda: None
    """What happens in each pause."""

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds
        self.on_sleep()
