"""Symbolic equality of two mathematical answers, decided by math-verify in a separate process."""

import atexit
import json
import os
import select
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from kubedistill.errors import MissingDependency

COMMAND = (sys.executable, "-m", "kubedistill_runtime.evaluation.symbolic_worker")
_SECONDS, _START_SECONDS = 5.0, 300.0
"""Limits for one comparison, and for the imports of the worker, which take 40 s from a cold disk."""
_MOST_CHARACTERS = 2000
"""A longer answer is not an expression that a person would write; it also keeps a request within a pipe's buffer."""


@dataclass(slots=True)
class SymbolicJudge:
    """Compares answers one at a time; the worker starts on demand, and again after a kill."""

    command: Sequence[str] = COMMAND
    seconds: float = _SECONDS
    _worker: "subprocess.Popen[bytes] | None" = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def are_equal(self, answer: str, reference: str) -> bool:
        """Return whether two expressions have the same value; False if that is not known in time.

        Raises MissingDependency if the worker does not start.
        """
        if max(len(answer), len(reference)) > _MOST_CHARACTERS:
            return False
        with self._lock:
            worker = self._started()
            assert worker.stdin is not None
            try:
                worker.stdin.write(json.dumps([answer, reference]).encode() + b"\n")
                worker.stdin.flush()
                reply = _read_byte(worker, seconds=self.seconds)
            except BrokenPipeError:  # the kernel killed it since the last reply, for its memory
                reply = b""
            if not reply:
                self._stop()
            return reply == b"1"

    def close(self) -> None:
        """End the worker."""
        with self._lock:
            self._stop()

    def _started(self) -> "subprocess.Popen[bytes]":
        if self._worker is None:
            self._worker = subprocess.Popen(list(self.command), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            if _read_byte(self._worker, seconds=_START_SECONDS) != b"r":
                self._stop()
                raise MissingDependency(
                    "the process that compares mathematical answers did not start",
                    at="math-verify",
                    fix="Install kubedistill[runtime] again; the log has the cause",
                )
        return self._worker

    def _stop(self) -> None:
        if self._worker is not None:
            self._worker.kill()
            self._worker.communicate()  # closes the pipes too
            self._worker = None


def _read_byte(worker: "subprocess.Popen[bytes]", *, seconds: float) -> bytes:
    """Return the next byte of a worker; empty if it ends or writes nothing in time."""
    assert worker.stdout is not None
    ready, _, _ = select.select([worker.stdout], [], [], seconds)
    return os.read(worker.stdout.fileno(), 1) if ready else b""


@lru_cache(maxsize=65_536)
def are_equal(answer: str, reference: str) -> bool:
    """Return whether two expressions have the same value, by the judge of this process; raises MissingDependency."""
    return _judge().are_equal(answer, reference)


@lru_cache(maxsize=1)
def _judge() -> SymbolicJudge:
    judge = SymbolicJudge()
    atexit.register(judge.close)
    return judge
