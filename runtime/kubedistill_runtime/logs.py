"""Logs: one JSON object a line, with the same keys in every process."""

import contextlib
import json
import logging
import threading
from collections import deque
from collections.abc import Iterator
from pathlib import Path

from kubedistill.errors import StorageUnavailable
from kubedistill_runtime.progress import now
from kubedistill_runtime.storage.store import Store

_KEPT_LINES = 20_000
_FIRST_SECONDS = 1.0
_STANDARD = set(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class JsonFormatter(logging.Formatter):
    """Turns a log record and its extra fields into one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """Encode a record; the traceback, where there is one, is a field. Ray marks records with fields of its own."""
        fields = {key: value for key, value in vars(record).items() if key not in _STANDARD and key[0] != "_"}
        line = {"at": now(), "level": record.levelname, "logger": record.name, "message": record.getMessage(), **fields}
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def log_to(path: Path | None) -> None:
    """Send the root logger's records to a file, or to standard error."""
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
    handler = logging.FileHandler(path) if path else logging.StreamHandler()
    handler.setFormatter(JsonFormatter())
    root = logging.getLogger()
    for earlier in list(root.handlers):
        root.removeHandler(earlier)
        earlier.close()
    root.addHandler(handler)
    root.setLevel(logging.INFO)


@contextlib.contextmanager
def keep_log(store: Store, name: str, *, seconds: float = 10.0) -> Iterator[None]:
    """Keep the last lines of the root logger in the store, at the end and meanwhile: a pod takes its own along.

    The first ones are kept after a second, since a head may be lost at any moment, and then every `seconds`.
    """
    memory, over = _Memory(), threading.Event()
    memory.setFormatter(JsonFormatter())

    def keep() -> None:
        pause = min(_FIRST_SECONDS, seconds)
        while not over.wait(pause):
            memory.save(store, name)
            pause = min(2 * pause, seconds)

    keeper = threading.Thread(target=keep, name="log-keeper", daemon=True)
    logging.getLogger().addHandler(memory)
    keeper.start()
    try:
        yield
    finally:
        over.set()
        keeper.join()
        logging.getLogger().removeHandler(memory)
        memory.save(store, name)


class _Memory(logging.Handler):
    """Remembers lines until they are saved, and after."""

    def __init__(self) -> None:
        super().__init__()
        self._lines: deque[str] = deque(maxlen=_KEPT_LINES)
        self._new = True

    def emit(self, record: logging.LogRecord) -> None:
        self._lines.append(self.format(record))
        self._new = True

    def save(self, store: Store, name: str) -> None:
        """Put the lines into the store, if there are new ones."""
        with self.lock or contextlib.nullcontext():
            text, new, self._new = "".join(f"{line}\n" for line in self._lines), self._new, False
        # On a full disk the stage itself has more to say, and says it to the operator.
        with contextlib.suppress(StorageUnavailable):
            if new:
                store.put(name, text.encode(errors="replace"))
