"""Failures of a store, as the operating system reports them: what heals by itself, and what needs somebody's hand."""

import contextlib
import errno
import os
import shlex
from collections.abc import Iterator
from pathlib import Path

from kubedistill.errors import StorageNotWritable, StorageUnavailable

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
_REFUSED = (errno.EACCES, errno.EPERM, errno.EROFS)


@contextlib.contextmanager
def storage_errors(root: Path) -> Iterator[None]:
    """Turn what the operating system says of a disk into StorageUnavailable, or StorageNotWritable where it refuses."""
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        if error.errno in _REFUSED:
            raise _explain_refusal(error, root=root) from error
        fix = "Free some space and start again" if error.errno in _NO_ROOM else "Check the volume and start again"
        problem = f"the store can't be used ({error.strerror})"
        raise StorageUnavailable(problem, at=str(root), fix=f"{fix}; what was published is kept") from error


def closest_existing(path: Path) -> Path:
    """The path, or the closest folder above it that this process can see."""
    return next(one for one in (path, *path.parents) if _is_seen(one))


def _is_seen(path: Path) -> bool:
    return os.access(path, os.F_OK)  # Path.exists raises where it is refused


def _explain_refusal(error: OSError, *, root: Path) -> StorageNotWritable:
    """Name the process, the owner and mode of what it was refused, and the command that allows it."""
    refused = Path(error.filename2 or error.filename or root)
    place = closest_existing(refused)
    status = place.stat()
    owner = f"{status.st_uid}:{status.st_gid} with mode {status.st_mode & 0o7777:04o}"
    problem = f"process {_identity()} can't write {place}, which belongs to {owner} ({error.strerror})"
    return StorageNotWritable(problem, at=str(root), fix=_remedy(root, read_only=error.errno == errno.EROFS))


def _identity() -> str:
    """User and group of this process in numbers, since neither needs a name, and its further groups."""
    further = sorted({*os.getgroups()} - {os.getegid()})
    groups = f" with groups {','.join(map(str, further))}" if further else ""
    return f"{os.geteuid()}:{os.getegid()}{groups}"


def _remedy(root: Path, *, read_only: bool) -> str:
    if read_only:
        return "Mount it for reading and writing: in a cluster, without readOnly in the PersistentVolume"
    group, path = os.getegid(), shlex.quote(str(root))
    make = "" if _is_seen(root) else f"mkdir -p {path} && "
    return (
        f"Run as root where it is mounted: {make}chgrp -R {group} {path} && chmod -R ug+rwX {path}; "
        f"or let the cluster do it with settings.podSecurityContext.fsGroup: {group}"
    )
