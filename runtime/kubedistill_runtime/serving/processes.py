"""Processes of a session: found by a variable in their environment, and ended.

Ray starts many processes, some of which outlive their parent, so a session is a folder whose name all of them have in
their environment. A file records the folder before any of them starts; it is what a killed session leaves.
"""

import contextlib
import json
import logging
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from kubedistill_runtime.storage.store import Store

if TYPE_CHECKING:
    import psutil

log = logging.getLogger(__name__)

_SESSION_VARIABLE = "KUBEDISTILL_SESSION"


def record_session(path: Path, *, folder: str) -> None:
    """Mark the processes that this one will start as those of a session, and record its folder in a file."""
    os.environ[_SESSION_VARIABLE] = folder
    Store(path.parent).put(path.name, json.dumps({"folder": folder}).encode())


def reap_leftovers(path: Path) -> None:
    """End the processes of a killed session, and remove its folder and the file that records it."""
    try:
        folder = str(json.loads(path.read_text())["folder"])
    except FileNotFoundError:
        return
    except (ValueError, KeyError, TypeError):  # the file is not ours, so it names no processes
        path.unlink()
        return
    found = session_processes(folder)
    log.info("ending processes of a killed session", extra={"processes": len(found)})
    end_processes(found)
    shutil.rmtree(folder, ignore_errors=True)
    path.unlink()


def session_processes(folder: str) -> list["psutil.Process"]:
    """Return the processes of a session."""
    import psutil

    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):  # ended, or of another user
            if process.environ().get(_SESSION_VARIABLE) == folder:
                found.append(process)
    return found


def descendants() -> list["psutil.Process"]:
    """Return the living processes that this one and its children started."""
    import psutil

    return [
        process for process in psutil.Process().children(recursive=True) if process.status() != psutil.STATUS_ZOMBIE
    ]


def guard_children() -> "subprocess.Popen[bytes]":
    """Start a process that kills the present children of this one if it is killed; else they would keep its GPUs."""
    children = [str(process.pid) for process in descendants()]
    script = 'while kill -0 "$0" 2>/dev/null; do sleep 1; done; kill -9 "$@"'
    return subprocess.Popen(["/bin/sh", "-c", script, str(os.getpid()), *children], start_new_session=True)


def peak_bytes_of_children() -> int:
    """Return the sum of the peak memory of the processes that this one and its children started."""
    total = 0
    for process in descendants():
        with contextlib.suppress(OSError):  # it has ended
            status = Path(f"/proc/{process.pid}/status").read_text()
            total += sum(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM:"))
    return total


def end_processes(processes: Sequence["psutil.Process"]) -> None:
    """Kill the processes that do not end by themselves within half a second."""
    import psutil

    _, alive = psutil.wait_procs(processes, timeout=0.5)
    for process in alive:
        with contextlib.suppress(psutil.NoSuchProcess):  # it ended before the kill
            process.kill()
    psutil.wait_procs(alive, timeout=5)
