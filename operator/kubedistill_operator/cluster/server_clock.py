"""The server clock: the time of the API server, by which all objects and all replicas of the operator are dated."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

_RESOLUTION_SECONDS = 1.0
"""Of the header Date, which is rounded down."""
TOLERANCE_SECONDS = 5.0
"""A difference that is not corrected: clocks that are kept in step differ by less, and time should not jump."""

log = logging.getLogger(__name__)


@dataclass(slots=True)
class ServerClock:
    """This machine's clock, corrected where the answers of the API server prove it wrong."""

    wall: Callable[[], float] = time.time
    _offset: float = 0.0

    def __call__(self) -> float:
        """Return the time in seconds since the epoch."""
        return self.wall() + self._offset

    def note(self, date: str, *, began: float) -> None:
        """Take in the header Date of an answer whose request began at a time of `wall`.

        The server wrote it at some moment between then and now, so that a slow answer proves little.
        """
        try:
            server = parsedate_to_datetime(date).timestamp()
        except ValueError:  # a proxy may leave it out, or write what it likes
            return
        least, most = server - self.wall(), server + _RESOLUTION_SECONDS - began
        if least - TOLERANCE_SECONDS <= self._offset <= most + TOLERANCE_SECONDS:
            return
        self._offset = (least + most) / 2
        log.warning("the clock of this machine is %+.0f s off that of the API server, which counts", -self._offset)
