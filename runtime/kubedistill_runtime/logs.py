"""Logs: lines of JSON on standard error or in a file, and in the store, where they outlive their pod."""

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

_KEPT_LINES = 20_000
_FIRST_SECONDS = 1.0


def log_to(path: Path | None, *, job: StageJob) -> None:
    """Send the root logger's records to a file, or to standard error; every line speaks of that attempt."""
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
def keep_log(store: Store, name: str, *, job: StageJob, seconds: float = 10.0) -> Iterator[None]:
    """Keep the last lines of the root logger in the store, at the end and meanwhile: a pod takes its own along.

    The first ones are kept after a second, since a head may be lost at any moment, and then every `seconds`.
    """
    memory, over = _Memory(), threading.Event()
    memory.setFormatter(_formatter(job))

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


def _formatter(job: StageJob) -> JsonFormatter:
    # Not by context: the threads of a stage have none of ours, and a process has one job at a time.
    subject: Subject = {**job.job.model_dump(), "stage": job.stage, "attempt": job.attempt}
    return JsonFormatter(lambda: subject)


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
