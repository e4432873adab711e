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
_NO_LINKS = (errno.EACCES, errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)
"""What file systems without hard links answer in a folder where the same process may write and rename."""


@contextlib.contextmanager
def storage_errors(root: Path, *, whole: bool = True) -> Iterator[None]:
    """Turn what the operating system says of a disk into StorageUnavailable, or StorageNotWritable where it refuses.

    `whole` says that all under `root` is ours, and so to be changed by the command that the refusal names.
    """
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        if error.errno in _REFUSED:
            raise _explain_refusal(error, root=root, whole=whole) from error
        fix = "Free some space and start again" if error.errno in _NO_ROOM else "Check the volume and start again"
        problem = f"the folder can't be used ({error.strerror})"
        raise StorageUnavailable(problem, at=str(root), fix=f"{fix}; what was published is kept") from error


def explain_link_failure(error: OSError, *, folder: Path) -> OSError | StorageNotWritable:
    """Return what a hard link that failed means, in a folder where writing and renaming did not fail."""
    if error.errno not in _NO_LINKS:
        return error
    problem = f"the file system of {folder} makes no hard links ({error.strerror})"
    fix = "Use a volume that has them, such as NFS, CephFS, EFS or Filestore: SMB shares and mounted buckets do not"
    return StorageNotWritable(problem, at=str(folder), fix=fix)


def closest_existing(path: Path) -> Path:
    """The path, or the closest folder above it that this process can see."""
    return next(one for one in (path, *path.parents) if _is_seen(one))


def _is_seen(path: Path) -> bool:
    return os.access(path, os.F_OK)  # Path.exists raises where it is refused


def _explain_refusal(error: OSError, *, root: Path, whole: bool) -> StorageNotWritable:
    """Name the process, the owner and mode of what it was refused, and the command that allows it."""
    refused = Path(error.filename2 or error.filename or root)
    place = closest_existing(refused)
    status = place.stat()
    owner = f"{status.st_uid}:{status.st_gid} with mode {status.st_mode & 0o7777:04o}"
    problem = f"process {_identity()} can't write {place}, which belongs to {owner} ({error.strerror})"
    if error.errno == errno.EROFS:
        fix = "Mount it for reading and writing: in a cluster, without readOnly in the PersistentVolume"
    else:
        fix = f"Run as root where it is mounted: {_command(root, whole=whole)}"
        fix += f"; or let the cluster do it with settings.podSecurityContext.fsGroup: {os.getegid()}"
    return StorageNotWritable(problem, at=str(root), fix=fix)


def _identity() -> str:
    """User and group of this process in numbers, since neither needs a name, and its further groups."""
    further = sorted({*os.getgroups()} - {os.getegid()})
    groups = f" with groups {','.join(map(str, further))}" if further else ""
    return f"{os.geteuid()}:{os.getegid()}{groups}"


def _command(root: Path, *, whole: bool) -> str:
    """The shell's words that let this process's group write a folder, and what is in it."""
    path, every = shlex.quote(str(root)), "-R " if whole else ""
    make = "" if _is_seen(root) else f"mkdir -p {path} && "
    return f"{make}chgrp {every}{os.getegid()} {path} && chmod {every}ug+rwX {path}"
