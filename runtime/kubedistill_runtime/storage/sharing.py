"""Sharing: what is made in a folder that a group may write can be written by the group too, whatever the umask.

Pods of one job may have different users and one group (OpenShift gives each namespace users of its own), and so may
people who share a store. Where only the owner may write, it stays so.
"""

import contextlib
import stat
from pathlib import Path

_READ_WRITE = stat.S_IRGRP | stat.S_IWGRP


def make_folder(folder: Path) -> None:
    """Make a folder, and those above it that are missing."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    with contextlib.suppress(FileExistsError):  # somebody else was faster
        folder.mkdir()
        share(folder)


def share(path: Path) -> None:
    """Let the group write a new file or folder if it may write the folder above."""
    if not path.parent.stat().st_mode & stat.S_IWGRP:
        return
    mode = path.stat().st_mode
    wanted = mode | _READ_WRITE | (stat.S_IXGRP if stat.S_ISDIR(mode) else 0)
    if wanted != mode:
        with contextlib.suppress(PermissionError):  # some file systems give every file the modes of their mount
            path.chmod(stat.S_IMODE(wanted))
