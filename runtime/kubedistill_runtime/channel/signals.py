"""Signals: a pod that must exit receives SIGTERM, which means the same as the operator's request: save and exit."""

import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from types import FrameType

from kubedistill.contract import StageProgress, StageResult
from kubedistill_runtime.channel import Channel

OnSignal = Callable[[int, FrameType | None], None]


@dataclass(slots=True)
class SignaledChannel:
    """A channel that treats a first SIGTERM as a request to stop, and passes a second one to `second`."""

    inner: Channel
    second: OnSignal
    """Handler of SIGTERM after the first one, as of signal.signal."""
    _asked: bool = field(default=False, init=False)

    def listen(self) -> None:
        """Handle SIGTERM from now on; call this in the main thread."""
        signal.signal(signal.SIGTERM, self._handle)

    def publish_progress(self, progress: StageProgress) -> None:
        """Pass the message on."""
        self.inner.publish_progress(progress)

    def publish_result(self, result: StageResult) -> None:
        """Pass the message on."""
        self.inner.publish_result(result)

    def asked_to_stop(self) -> bool:
        """Return whether the channel or a signal requests a stop."""
        return self._asked or self.inner.asked_to_stop()

    def _handle(self, _number: int, _frame: FrameType | None) -> None:
        self._asked = True
        signal.signal(signal.SIGTERM, self.second)
