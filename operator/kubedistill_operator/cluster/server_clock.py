"""The server clock: the time of the API server, which dates all objects and is the same for all replicas."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

_RESOLUTION_SECONDS = 1.0
"""Resolution of the Date header, which is rounded down."""
TOLERANCE_SECONDS = 5.0
"""A difference that is not corrected: synchronized clocks differ by less, and the time should not jump."""

log = logging.getLogger(__name__)


@dataclass(slots=True)
class ServerClock:
    """This machine's clock, corrected if the API server's answers prove it wrong."""

    wall: Callable[[], float] = time.time
    _offset: float = 0.0

    def __call__(self) -> float:
        """Return the time in seconds since the epoch."""
        return self.wall() + self._offset

    def note(self, date: str, *, began: float) -> None:
        """Note the Date header of an answer to a request that began at `began`, by `wall`.

        The server wrote it at some time between then and now, so a slow answer proves little.
        """
        try:
            server = parsedate_to_datetime(date).timestamp()
        except ValueError:  # a proxy may omit it, or write anything
            return
        least, most = server - self.wall(), server + _RESOLUTION_SECONDS - began
        if least - TOLERANCE_SECONDS <= self._offset <= most + TOLERANCE_SECONDS:
            return
        self._offset = (least + most) / 2
        log.warning("this machine's clock differs by %+.0f s from the API server's, which is used", -self._offset)
