"""Progress: the messages of a running stage, and the request to stop it."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from threading import Lock
from typing import Literal

from kubedistill.contract import StageProgress
from kubedistill.errors import Stopped
from kubedistill_runtime.gpu_usage import GpuUsage
from kubedistill_runtime.spending import Spent

State = Literal["Loading", "Working", "Stopping"]


@dataclass(slots=True)
class Progress:
    """Publishes the counts of a stage with their rate and the time left."""

    publish: Callable[[StageProgress], None]
    asked_to_stop: Callable[[], bool] = lambda: False
    clock: Callable[[], float] = time.monotonic
    gpus: Callable[[], int | None] = lambda: None
    """Return the number of GPUs that are reserved for this driver; None if that is not known."""
    _dollars: float = field(default=0.0, init=False)
    """US dollars that endpoints have charged since the attempt started."""
    _usage: GpuUsage = field(init=False)
    _lock: Lock = field(default_factory=Lock, init=False)
    """One message at a time: downloads are reported by threads of their own."""
    _loads: bool = field(default=True, init=False)
    """Whether the latest message was about loading."""
    _bytes: tuple[int, int] = field(default=(0, 0), init=False)
    """Bytes of the download that was reported last."""
    _started: float = field(init=False)
    _first: tuple[float, int] | None = field(default=None, init=False)
    _last: int = field(default=0, init=False)
    _before: int = field(default=0, init=False)
    _total: int | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self._started = self.clock()
        self._usage = GpuUsage(self.clock)

    def seconds(self) -> float:
        """Return the seconds since the attempt started."""
        return self.clock() - self._started

    def spent(self) -> Spent:
        """Return what was spent since the attempt started, by the GPUs at each report so far."""
        return Spent(self._usage.held_seconds(), self._dollars, self._usage.idle_seconds())

    def generated(self, replica: int, gpus: int) -> None:
        """Note that a replica has made tokens with this number of GPUs; any thread may call it."""
        self._usage.work(replica, gpus=gpus)

    def learned(self) -> None:
        """Note that the training has computed, with all GPUs."""
        self._usage.work("training")

    def charge(self, dollars: float) -> None:
        """Count what an endpoint has charged; the next report has it."""
        self._dollars += dollars

    def loading(self, message: str) -> None:
        """Report what is being loaded, before any work is counted."""
        with self._lock:
            self._loads = True
            self._publish(StageProgress(at=now(), state="Loading", message=message))

    def downloading(self, what: str, done: int, total: int) -> None:
        """Report the bytes of a download if it has advanced, before any work is counted; any thread may call it.

        One that comes later, of a replica that is started again, reports nothing: the others work. Raises Stopped if a
        stop was requested.
        """
        with self._lock:
            if self._loads and (done, total) != self._bytes:
                self._bytes = (done, total)
                message = f"downloading {what}: {done / 1e9:.1f} of {total / 1e9:.1f} GB"[:1024]
                self._publish(
                    StageProgress(at=now(), state="Loading", done=done, total=total, unit="bytes", message=message)
                )
        if self.asked_to_stop():
            raise _stopped()

    @contextmanager
    def part(self, *, before: int, total: int) -> Iterator[None]:
        """Report the work of the block as a part of a total, of which so much is done already."""
        self._before, self._total = before, total
        try:
            yield
        finally:
            self._before, self._total = 0, None

    def working(
        self, *, done: int, total: int, unit: str, message: str = "", figures: Mapping[str, float] | None = None
    ) -> None:
        """Report how much is done; raises Stopped if a stop was requested, so call it where no work would be lost."""
        with self._lock:
            self._loads = False
            state = self._work(done=done, total=total, unit=unit, message=message, figures=figures or {})
        if state == "Stopping":
            raise _stopped()

    def _work(self, *, done: int, total: int, unit: str, message: str, figures: Mapping[str, float]) -> State:
        done, total = self._before + done, total if self._total is None else self._total
        if self._first is None or done < self._last:  # a new count has its own rate
            self._first = (self.clock(), done)
        self._last = done
        seconds = self.clock() - self._first[0]
        rate = (done - self._first[1]) / seconds if seconds > 0 and done > self._first[1] else None
        state: State = "Stopping" if self.asked_to_stop() else "Working"
        self._publish(
            StageProgress(
                at=now(),
                state=state,
                done=done,
                total=total,
                unit=unit,
                rate=rate,
                eta_seconds=(total - done) / rate if rate else None,
                figures=dict(figures),
                message=message,
            )
        )
        return state

    def _publish(self, progress: StageProgress) -> None:
        if (gpus := self.gpus()) is not None:
            self._usage.hold(gpus)
        self.publish(self.spent().add_to(progress.model_copy(update={"gpus": self._usage.held()})))


def _stopped() -> Stopped:
    return Stopped("the stage was asked to stop", fix="Start the job again to continue from here")


def now() -> str:
    """Return the current time, RFC 3339 in UTC."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
