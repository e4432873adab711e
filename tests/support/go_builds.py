"""Programs built from Go modules, once, and kept in the user's cache."""

import fcntl
import hashlib
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

NOTHING_TO_RUN = 3
"""Exit code where a program is missing and cannot be built or fetched."""


class NoBinaries(Exception):
    """A binary that is missing and cannot be built or fetched; the message says what to do."""


def cache_of(module: Path, *, name: str) -> Path:
    """Return one folder for each set of versions that a module's go.mod and go.sum name."""
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    versions = hashlib.sha256((module / "go.mod").read_bytes() + (module / "go.sum").read_bytes()).hexdigest()
    return root / "kubedistill" / name / versions[:16]


def build(programs: Mapping[str, str], *, module: Path, into: Path, flags: str = "-s -w") -> None:
    """Build programs by their names and import paths, all or none of them; `flags` are the linker's.

    Raises CalledProcessError where Go fails, which has said why.
    """
    with tempfile.TemporaryDirectory(dir=into) as folder, _heartbeat():
        for name, program in programs.items():
            subprocess.run(
                [
                    "nice",
                    "-n",
                    "19",
                    "go",
                    "build",
                    "-buildvcs=false",
                    "-trimpath",
                    f"-ldflags={flags}",
                    "-o",
                    f"{folder}/{name}",
                    program,
                ],
                cwd=module,
                check=True,
                env=os.environ | {"CGO_ENABLED": "0", "GOFLAGS": "-mod=readonly", "GOWORK": "off"},
            )
        for built in Path(folder).iterdir():
            built.replace(into / built.name)


def have(make: Callable[[], Iterable[Path]]) -> int:
    """Make programs and print where they are; return the exit code of a command that does nothing else."""
    try:
        for program in make():
            sys.stdout.write(f"{program}\n")
    except NoBinaries as error:
        say(str(error))
        return NOTHING_TO_RUN
    except subprocess.CalledProcessError as error:  # Go has said itself what it lacks
        say(str(error))
        return 1
    return 0


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Two builds at once would take twice as long: the second waits, and finds what the first has built."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def say(text: str) -> None:
    """Tell whoever waits."""
    sys.stderr.write(f"build: {text}\n")
    sys.stderr.flush()


@contextmanager
def _heartbeat() -> Iterator[None]:
    """Say every minute that the build is still running."""
    done, started = threading.Event(), time.monotonic()

    def beat() -> None:
        while not done.wait(60):
            say(f"still building, {(time.monotonic() - started) / 60:.0f} min")

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
