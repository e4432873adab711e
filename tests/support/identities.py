"""Other users and groups: a function run as a process of theirs, and a folder that they may enter."""

import contextlib
import os
import pickle
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import pytest

_T = TypeVar("_T")


def run_as(function: Callable[[], _T], *, uid: int, gid: int, groups: Sequence[int] = ()) -> _T:
    """Return or raise what a function does in a process of another user, neither of which /etc/passwd need know."""
    if os.geteuid():
        pytest.fail("start this test as root: only root can become another user")
    reading, writing = os.pipe()
    if not (child := os.fork()):
        with contextlib.suppress(BaseException):
            os.setgroups(groups)
            os.setgid(gid)
            os.setuid(uid)
            os.umask(0o022)
            os.write(writing, pickle.dumps(_outcome(function)))
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        told = pipe.read()
    os.waitpid(child, 0)
    error, value = pickle.loads(told)
    if error is not None:
        raise error
    return value


def _outcome(function: Callable[[], Any]) -> tuple[BaseException | None, Any]:
    try:
        return None, function()
    except Exception as error:  # it is raised again in the process that asked
        return error, None


@contextlib.contextmanager
def shared_folder() -> Iterator[Path]:
    """Yield a folder whose parents anybody may enter, as those of tmp_path are not."""
    folder = Path(tempfile.mkdtemp(prefix="kd-shared-"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)
