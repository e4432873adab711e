"""Sharing: files made in a group-writable folder are group-writable too, whatever the umask.

Pods of one job may have different users and the same group (OpenShift gives each namespace its own users), and so may
people who share a store. In a folder that only its owner may write, nothing changes.
"""

import contextlib
import stat
from pathlib import Path

_READ_WRITE = stat.S_IRGRP | stat.S_IWGRP


def make_folder(folder: Path) -> None:
    """Make a folder and its missing parents."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    with contextlib.suppress(FileExistsError):  # another process was faster
        folder.mkdir()
        share(folder)


def share(path: Path) -> None:
    """Make a new file or folder group-writable if its parent is."""
    if not path.parent.stat().st_mode & stat.S_IWGRP:
        return
    mode = path.stat().st_mode
    wanted = mode | _READ_WRITE | (stat.S_IXGRP if stat.S_ISDIR(mode) else 0)
    if wanted != mode:
        with contextlib.suppress(PermissionError):  # some file systems give every file the modes of their mount
            path.chmod(stat.S_IMODE(wanted))
