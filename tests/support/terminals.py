"""A terminal for tests: what a program writes to it, and what is left once rich's own commands are taken away."""

import contextlib
import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import termios
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

_COLOR, _CURSOR, _UP, _ERASE = r"\x1b\[[0-9;]*m", r"\x1b\[\?25[lh]", r"\x1b\[1A", r"\x1b\[2K"
_RICH = re.compile(f"{_COLOR}|{_CURSOR}|{_UP}|{_ERASE}|\r")
"""All that rich has a terminal do when it colors a string and draws a picture again."""


@dataclass(frozen=True, slots=True)
class Shown:
    """What a program wrote to its terminal, and its exit code."""

    raw: str
    returncode: int

    @property
    def text(self) -> str:
        """Without the commands that rich gives a terminal; any other is still in it."""
        return _RICH.sub("", self.raw)


def run_on_terminal(
    command: Sequence[str], environment: Mapping[str, str], *, rows: int = 24, columns: int = 120, interrupt: str = ""
) -> Shown:
    """Run a program on a terminal of a size to its end; Ctrl-C is typed once `interrupt` is on the screen."""
    controller, terminal = _open(rows, columns)
    sized = {name: value for name, value in environment.items() if name not in ("COLUMNS", "LINES")}
    process = subprocess.Popen(
        command, env=sized, stdin=terminal, stdout=terminal, stderr=terminal, start_new_session=True,
        preexec_fn=_take_terminal,  # noqa: PLW1509
    )  # fmt: skip
    os.close(terminal)
    written = _read(controller, typed={interrupt.encode(): b"\x03"} if interrupt else {})
    return Shown(written, process.wait(timeout=60))


def call_on_terminal(call: Callable[[], int], *, rows: int = 24, columns: int = 120) -> Shown:
    """Call a function whose standard output and error are a terminal; rich takes the width from COLUMNS."""
    controller, terminal = _open(rows, columns)
    written: list[str] = []
    reader = threading.Thread(target=lambda: written.append(_read(controller)))
    reader.start()
    with (
        open(terminal, "w", encoding="utf-8") as stream,  # noqa: PTH123
        contextlib.redirect_stdout(stream),
        contextlib.redirect_stderr(stream),
    ):
        code = call()
    reader.join()
    return Shown(written[0], code)


def _open(rows: int, columns: int) -> tuple[int, int]:
    controller, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    return controller, terminal


def _read(controller: int, *, typed: Mapping[bytes, bytes] | None = None) -> str:
    """Read until nobody holds the terminal any more; type each text once another one is on the screen."""
    left, written = dict(typed or {}), b""
    with contextlib.suppress(OSError):  # the kernel's way to say that nobody holds it
        while chunk := os.read(controller, 65536):
            written += chunk
            for awaited in [one for one in left if one in written]:
                time.sleep(0.5)
                os.write(controller, left.pop(awaited))
    os.close(controller)
    return written.decode()


def _take_terminal() -> None:
    """Have Ctrl-C on standard input's terminal interrupt this process, even where the tests run in the background."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
