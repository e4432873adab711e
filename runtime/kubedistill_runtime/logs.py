"""Logs: JSON lines on standard error or in a file, and in the store, where they outlive the pod."""

import contextlib
import logging
import threading
from collections import deque
from collections.abc import Iterator
from pathlib import Path

from kubedistill.contract import StageJob
from kubedistill.errors import StorageUnavailable
from kubedistill.logs import JsonFormatter, Subject
from kubedistill_runtime.storage.sharing import make_folder, share
from kubedistill_runtime.storage.store import Store

_MAX_LINES = 20_000
_FIRST_SECONDS = 1.0


def log_to(path: Path | None, *, job: StageJob) -> None:
    """Send the root logger's records to a file, or to standard error; every line names the attempt."""
    handler: logging.Handler = logging.StreamHandler()
    if path is not None:
        make_folder(path.parent)
        handler = logging.FileHandler(path)
        share(path)
    handler.setFormatter(_formatter(job))
    root = logging.getLogger()
    for earlier in list(root.handlers):
        root.removeHandler(earlier)
        earlier.close()
    root.addHandler(handler)
    root.setLevel(logging.INFO)


@contextlib.contextmanager
def save_log(store: Store, name: str, *, job: StageJob, seconds: float = 10.0) -> Iterator[None]:
    """Save the last lines of the root logger in the store, since the log of a pod is deleted with it.

    The log is saved after a second, since a head pod may be lost at any moment, then every `seconds`, and at the end.
    """
    memory, ended = _Memory(), threading.Event()
    memory.setFormatter(_formatter(job))

    def save_repeatedly() -> None:
        pause = min(_FIRST_SECONDS, seconds)
        while not ended.wait(pause):
            memory.save(store, name)
            pause = min(2 * pause, seconds)

    saver = threading.Thread(target=save_repeatedly, name="log-saver", daemon=True)
    logging.getLogger().addHandler(memory)
    saver.start()
    try:
        yield
    finally:
        ended.set()
        saver.join()
        logging.getLogger().removeHandler(memory)
        memory.save(store, name)


def _formatter(job: StageJob) -> JsonFormatter:
    # No context variable: threads of a stage would not inherit it, and a process has one job at a time.
    subject: Subject = {**job.job.model_dump(), "stage": job.stage, "attempt": job.attempt}
    return JsonFormatter(lambda: subject)


class _Memory(logging.Handler):
    """Holds the last lines, saved or not."""

    def __init__(self) -> None:
        super().__init__()
        self._lines: deque[str] = deque(maxlen=_MAX_LINES)
        self._new = True

    def emit(self, record: logging.LogRecord) -> None:
        self._lines.append(self.format(record))
        self._new = True

    def save(self, store: Store, name: str) -> None:
        """Write the lines to the store, if there are new ones."""
        with self.lock or contextlib.nullcontext():
            text, new, self._new = "".join(f"{line}\n" for line in self._lines), self._new, False
        # If the disk is full, the stage fails too, and its result reports it.
        with contextlib.suppress(StorageUnavailable):
            if new:
                store.put(name, text.encode(errors="replace"))
