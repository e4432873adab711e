"""Processes in the background, each remembered by a file with its pid and start time."""

import contextlib
import os
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

LINES_SHOWN = 20
PATIENCE_SECONDS = 10.0


class StartFailed(Exception):
    """A process that ended, or was not ready in time; with the last lines of its log."""


@dataclass(frozen=True, slots=True)
class Background:
    """A process by its name; `folder` holds its pid file and its log."""

    folder: Path
    name: str

    @property
    def log(self) -> Path:
        return self.folder / f"{self.name}.log"

    @property
    def pid(self) -> int | None:
        """Its pid while it runs. A recycled pid has another start time, and is not ours."""
        try:
            pid, started = map(int, self._pid_file.read_text().split())
        except FileNotFoundError:
            return None
        state, start = _stat(pid)
        if start != started:
            return None
        return pid if state != "Z" or _is_ending(pid) else None

    def start(self, command: Sequence[str], *, dies_with_us: bool = False) -> None:
        """Start it, unless it runs, in a session of its own; with `dies_with_us` the kernel ends it when we end."""
        if self.pid is not None:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        if dies_with_us:
            command = ["setpriv", "--pdeathsig", "KILL", *command]
        # Not subprocess: a Popen that nobody waits for complains when it is collected.
        pid = os.posix_spawnp(
            command[0],
            command,
            os.environ,
            setsid=True,
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644),
                (os.POSIX_SPAWN_DUP2, 1, 2),
            ],
        )
        self._pid_file.write_text(f"{pid} {_stat(pid)[1]}")

    def stop(self, *, gently: bool) -> None:
        """End it and wait until it has ended; gently: SIGTERM first, and SIGKILL 10 seconds later."""
        if gently:
            self._signal(signal.SIGTERM)
            self._await_end()
        self._signal(signal.SIGKILL)
        self._await_end()
        self._pid_file.unlink(missing_ok=True)

    def failure(self, problem: str) -> StartFailed:
        """Return an error that shows the end of the log."""
        lines = self.log.read_text(errors="replace").splitlines()[-LINES_SHOWN:]
        return StartFailed("\n".join([f"{self.name} {problem}; the end of {self.log}:", *lines]))

    @property
    def _pid_file(self) -> Path:
        return self.folder / f"{self.name}.pid"

    def _signal(self, number: int) -> None:
        if (pid := self.pid) is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def _await_end(self) -> None:
        until = time.monotonic() + PATIENCE_SECONDS
        while self.pid is not None and time.monotonic() < until:
            time.sleep(0.05)


def _is_ending(zombie: int) -> bool:
    """Return whether some threads of it still run.

    A child of ours stays a zombie until it is waited for, which this does.
    """
    try:
        return os.waitpid(zombie, os.WNOHANG)[0] == 0
    except ChildProcessError:
        return False


def _stat(pid: int) -> tuple[str, int]:
    """Return state and start time in clock ticks since the machine's start; ("", 0) where there is no such process."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return "", 0
    return fields[0], int(fields[19])
