"""Failures of a store, from errors of the operating system: temporary ones, and ones that a person must fix."""

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
"""Errors of a hard link on file systems that have none, in a folder where the process may write and rename."""


@contextlib.contextmanager
def storage_errors(root: Path, *, whole: bool = True) -> Iterator[None]:
    """Turn an OSError into StorageUnavailable, or into StorageNotWritable if access was denied.

    A FileNotFoundError stays one, since it says that a name has no bytes.
    `whole` means that everything under `root` is ours, so the suggested command may change all of it.
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
    """Return the error to raise for a failed hard link, in a folder where writing and renaming work."""
    if error.errno not in _NO_LINKS:
        return error
    problem = f"the file system of {folder} has no hard links ({error.strerror})"
    fix = "Use a volume that has them, such as NFS, CephFS, EFS or Filestore; SMB shares and mounted buckets do not"
    return StorageNotWritable(problem, at=str(folder), fix=fix)


def closest_existing(path: Path) -> Path:
    """Return the path, or the closest folder above it that this process can see."""
    return next(one for one in (path, *path.parents) if _is_seen(one))


def _is_seen(path: Path) -> bool:
    return os.access(path, os.F_OK)  # Path.exists raises if access is denied


def _explain_refusal(error: OSError, *, root: Path, whole: bool) -> StorageNotWritable:
    """Return an error with the process, the owner and mode of the denied path, and the command that allows access."""
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
    """Return the numeric user and groups of this process; they need not have names."""
    further = sorted({*os.getgroups()} - {os.getegid()})
    groups = f" with groups {','.join(map(str, further))}" if further else ""
    return f"{os.geteuid()}:{os.getegid()}{groups}"


def _command(root: Path, *, whole: bool) -> str:
    """Return the shell command that makes a folder writable for this process's group."""
    path, every = shlex.quote(str(root)), "-R " if whole else ""
    make = "" if _is_seen(root) else f"mkdir -p {path} && "
    return f"{make}chgrp {every}{os.getegid()} {path} && chmod {every}ug+rwX {path}"
