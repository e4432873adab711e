"""Unfinished files: temporary names for files while they are written, and how to tell that the writer is gone.

A name contains its writer: a process id, and the machine and namespace in which the id is valid. For a writer of this
namespace, the kernel says whether it is alive. One in another pod or on another machine is alive as long as it writes.
"""

import contextlib
import functools
import hashlib
import os
import re
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

from kubedistill_runtime.storage.failures import explain_link_failure
from kubedistill_runtime.storage.sharing import make_folder, share

ABANDONED_SECONDS = 6 * 3600.0
"""Time without a write after which a writer elsewhere counts as dead; longer than clocks differ."""
PREFIX = ".tmp-"
"""Beginning of unfinished names in a store; exports, whose folders belong to users, have another."""
_WRITER = re.compile(r"(?P<where>[0-9a-f]{12})-(?P<process>\d+)-[0-9a-f]{32}")
_WRITER_OF_0_1 = re.compile(r"\d+-[0-9a-f]{32}")


def unfinished_name(prefix: str = PREFIX) -> str:
    """Return a unique name for a file that this process writes."""
    return f"{prefix}{_here()}-{os.getpid()}-{uuid.uuid4().hex}"


def is_unfinished(name: str, prefix: str = PREFIX) -> bool:
    """Return whether unfinished_name of this version or of version 0.1 made a name."""
    writer = name.removeprefix(prefix)
    return writer != name and bool(_WRITER.fullmatch(writer) or _WRITER_OF_0_1.fullmatch(writer))


@contextlib.contextmanager
def write_temporary(target: Path, data: bytes | Path) -> Iterator[Path]:
    """Write bytes, or the content of a file, under a temporary name next to a target, and yield its path.

    It is flushed to the disk, and removed when the context ends unless it was renamed. Raises OSError.
    """
    make_folder(target.parent)
    temporary = target.with_name(unfinished_name())
    try:
        if isinstance(data, Path):
            shutil.copyfile(data, temporary)
        else:
            temporary.write_bytes(data)
        share(temporary)
        sync(temporary)
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)


def try_writing(folder: Path) -> None:
    """Write a file in a folder, publish it in both ways that the store uses, and delete it.

    Raises StorageNotWritable if only the hard link failed, and OSError if anything else failed.
    """
    published = folder / unfinished_name()
    with write_temporary(published, b"probe") as temporary:
        temporary.replace(published)
        published.unlink()
    with write_temporary(published, b"probe") as temporary:
        try:
            os.link(temporary, published)
        except OSError as error:
            raise explain_link_failure(error, folder=folder) from error
        published.unlink()


def copy_folder(source: Path, target: Path) -> None:
    """Copy a folder without its unfinished files; unlike shutil.copytree, raise the first OSError at once."""
    make_folder(target)
    for one in source.iterdir():
        if is_unfinished(one.name):
            continue
        if one.is_dir():
            copy_folder(one, target / one.name)
        else:
            share(shutil.copyfile(one, target / one.name))


def sync(path: Path) -> None:
    """Flush a file or folder to its disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def is_abandoned(path: Path, *, prefix: str = PREFIX, seconds: float = ABANDONED_SECONDS) -> bool:
    """Return whether the writer of an unfinished file or folder is gone.

    It is gone if it was a process of this machine and namespace that has ended, or if nothing was written for
    `seconds` by the clock of the file system.
    """
    writer = _WRITER.fullmatch(path.name.removeprefix(prefix))
    if writer and writer["where"] == _here() and not _is_alive(int(writer["process"])):
        return True
    try:
        written = max(one.lstat().st_mtime for one in (path, *path.rglob("*")))
        return _file_system_time(path.parent) - written > seconds
    except OSError:  # it was removed meanwhile, or belongs to another user
        return False


def discard(path: Path, *, prefix: str = PREFIX) -> None:
    """Rename an unfinished file or folder, then remove it, so that a live writer can't publish a part of it."""
    try:
        leaving = path.rename(path.with_name(unfinished_name(prefix)))
    except OSError:  # its writer or another sweep was faster, or it belongs to another user
        return
    if leaving.is_dir():
        shutil.rmtree(leaving, ignore_errors=True)
    else:
        leaving.unlink(missing_ok=True)


def _file_system_time(folder: Path) -> float:
    """Return the current time of the file system, which may differ from this machine's clock."""
    with write_temporary(folder / "now", b"") as temporary:
        return temporary.stat().st_mtime


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # it belongs to another user
        return True
    return True


@functools.cache
def _here() -> str:
    """Return a digest of this machine, its boot and its process namespace; no two that are alive have the same."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text()
    here = f"{os.uname().nodename} {boot} {Path('/proc/self/ns/pid').stat().st_ino}"
    return hashlib.sha256(here.encode()).hexdigest()[:12]
