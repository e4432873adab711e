"""A pod that has to leave is told by SIGTERM, which is the same wish as the operator's: save, and leave."""

import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from types import FrameType

from kubedistill.contract import StageProgress, StageResult
from kubedistill_runtime.channel import Channel

OnSignal = Callable[[int, FrameType | None], None]


@dataclass(slots=True)
class SignalledChannel:
    """A channel that takes a first SIGTERM for a wish to stop, and leaves a second one to `second`."""

    inner: Channel
    second: OnSignal
    _asked: bool = field(default=False, init=False)

    def listen(self) -> None:
        """Take SIGTERM from now on; only the main thread may."""
        signal.signal(signal.SIGTERM, self._hear)

    def publish_progress(self, progress: StageProgress) -> None:
        """Pass it on."""
        self.inner.publish_progress(progress)

    def publish_result(self, result: StageResult) -> None:
        """Pass it on."""
        self.inner.publish_result(result)

    def asked_to_stop(self) -> bool:
        """Whether the channel or a signal asks for it."""
        return self._asked or self.inner.asked_to_stop()

    def _hear(self, _number: int, _frame: FrameType | None) -> None:
        self._asked = True
        signal.signal(signal.SIGTERM, self.second)
