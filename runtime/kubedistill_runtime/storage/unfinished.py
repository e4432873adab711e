"""Unfinished files: what has a temporary name while somebody writes it, and when nobody does any more.

A name holds its writer: a process id, and the machine and namespace in which that id means something. Whether a writer
of this namespace lives can be asked; one in another pod or on another machine shows it by writing alone.
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
"""Time without a write after which a writer that can't be asked counts as dead: more than clocks differ."""
PREFIX = ".tmp-"
_WRITER = re.compile(r"(?P<where>[0-9a-f]{12})-(?P<process>\d+)-[0-9a-f]{32}")
_WRITER_OF_0_1 = re.compile(r"\d+-[0-9a-f]{32}")


def unfinished_name(prefix: str = PREFIX) -> str:
    """A name that nobody else uses, for what this process is writing."""
    return f"{prefix}{_here()}-{os.getpid()}-{uuid.uuid4().hex}"


def is_unfinished(name: str, prefix: str = PREFIX) -> bool:
    """Whether unfinished_name, or that of version 0.1, made a name."""
    writer = name.removeprefix(prefix)
    return writer != name and bool(_WRITER.fullmatch(writer) or _WRITER_OF_0_1.fullmatch(writer))


@contextlib.contextmanager
def written_beside(target: Path, data: bytes | Path) -> Iterator[Path]:
    """Write bytes, or a file's, under a temporary name beside a target; it is gone afterwards, unless renamed."""
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
    """Write a file in a folder, publish it in both ways of the store, and delete it.

    Raises StorageNotWritable where all but the hard link went well, and OSError where more failed.
    """
    published = folder / unfinished_name()
    with written_beside(published, b"probe") as temporary:
        temporary.replace(published)
        published.unlink()
    with written_beside(published, b"probe") as temporary:
        try:
            os.link(temporary, published)
        except OSError as error:
            raise explain_link_failure(error, folder=folder) from error
        published.unlink()


def copy_folder(source: Path, target: Path) -> None:
    """Copy a folder, but not what is unfinished in it; raises the first OSError, as shutil.copytree does not."""
    make_folder(target)
    for one in source.iterdir():
        if is_unfinished(one.name):
            continue
        if one.is_dir():
            copy_folder(one, target / one.name)
        else:
            share(shutil.copyfile(one, target / one.name))


def sync(path: Path) -> None:
    """Wait until a file or folder is on its disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def is_abandoned(path: Path, *, prefix: str = PREFIX, seconds: float = ABANDONED_SECONDS) -> bool:
    """Whether nobody writes an unfinished file or folder any more."""
    writer = _WRITER.fullmatch(path.name.removeprefix(prefix))
    if writer and writer["where"] == _here() and not _is_alive(int(writer["process"])):
        return True
    try:
        written = max(one.lstat().st_mtime for one in (path, *path.rglob("*")))
        return _file_system_time(path.parent) - written > seconds
    except OSError:  # it went away meanwhile, or is another user's
        return False


def discard(path: Path, *, prefix: str = PREFIX) -> None:
    """Remove an unfinished file or folder, under another name first: a writer that lives must not publish a part."""
    try:
        leaving = path.rename(path.with_name(unfinished_name(prefix)))
    except OSError:  # its writer or another sweep was faster, or it is another user's
        return
    if leaving.is_dir():
        shutil.rmtree(leaving, ignore_errors=True)
    else:
        leaving.unlink(missing_ok=True)


def _file_system_time(folder: Path) -> float:
    """The time by which a folder's files are dated, which need not be this machine's."""
    with written_beside(folder / "now", b"") as temporary:
        return temporary.stat().st_mtime


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # it is another user's
        return True
    return True


@functools.cache
def _here() -> str:
    """The machine, since it was started, and its namespace of process ids: no two that live have the same."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text()
    here = f"{os.uname().nodename} {boot} {Path('/proc/self/ns/pid').stat().st_ino}"
    return hashlib.sha256(here.encode()).hexdigest()[:12]
