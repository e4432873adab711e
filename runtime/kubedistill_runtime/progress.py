"""Progress: what a stage says while it works, and whether it was asked to leave."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal

from kubedistill.contract import StageProgress
from kubedistill.errors import Stopped

State = Literal["Loading", "Working", "Stopping"]


@dataclass(slots=True)
class Progress:
    """Turns a stage's counts into messages with rate and time left, and hands them to `publish`."""

    publish: Callable[[StageProgress], None]
    asked_to_stop: Callable[[], bool] = lambda: False
    clock: Callable[[], float] = time.monotonic
    gpus: Callable[[], int] = lambda: 0
    """GPUs that are held for this driver, as far as is known by now."""
    _held: int = field(default=0, init=False)
    _started: float = field(init=False)
    _begun: tuple[float, int] | None = field(default=None, init=False)
    _last: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self._started = self.clock()

    def seconds(self) -> float:
        """Return the seconds since the attempt started."""
        return self.clock() - self._started

    def gpu_seconds(self) -> float:
        """Return the GPU-seconds since the attempt started, by the most GPUs held at any report so far."""
        return self._held * self.seconds()

    def loading(self, message: str) -> None:
        """Say what is being loaded; no work is counted yet."""
        self._say(StageProgress(at=now(), state="Loading", message=message))

    def working(
        self, *, done: int, total: int, unit: str, message: str = "", figures: Mapping[str, float] | None = None
    ) -> None:
        """Say how much is done; raises Stopped if asked to leave, so call it where leaving loses nothing."""
        if self._begun is None or done < self._last:  # a count that starts anew has a rate of its own
            self._begun = (self.clock(), done)
        self._last = done
        seconds = self.clock() - self._begun[0]
        rate = (done - self._begun[1]) / seconds if seconds > 0 and done > self._begun[1] else None
        state: State = "Stopping" if self.asked_to_stop() else "Working"
        self._say(
            StageProgress(
                at=now(),
                state=state,
                done=done,
                total=total,
                unit=unit,
                rate=rate,
                eta_seconds=(total - done) / rate if rate else None,
                figures=dict(figures or {}),
                message=message,
            )
        )
        if state == "Stopping":
            raise Stopped("the stage was asked to stop", fix="Start the job again to go on from here")

    def _say(self, progress: StageProgress) -> None:
        self._held = max(self._held, self.gpus())
        self.publish(progress.model_copy(update={"gpu_seconds": self.gpu_seconds(), "gpus": self._held}))


def now() -> str:
    """The time, RFC 3339 in UTC."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
