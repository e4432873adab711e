"""Files that a command writes for its user: each is whole or absent, whatever fails while it is written."""

import contextlib
import os
import uuid
from collections.abc import Iterator
from pathlib import Path


def create_file(path: Path, text: str) -> None:
    """Write a new file; raises FileExistsError where the name is taken, and OSError where it can't be written."""
    with _written(path, text) as temporary:
        try:
            os.link(temporary, path)
        except FileExistsError:
            raise
        except OSError:  # some file systems have no hard links
            _move_to_new_name(temporary, path)


def replace_file(path: Path, text: str) -> None:
    """Write a file in place of what the name held; raises OSError where it can't be written."""
    with _written(path, text) as temporary:
        temporary.replace(path)


@contextlib.contextmanager
def _written(path: Path, text: str) -> Iterator[Path]:
    """Write a file under a temporary name in the same folder, and free that name at the end."""
    temporary = path.parent / f".kubedistill-{uuid.uuid4().hex}"
    try:
        with temporary.open("x", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)


def _move_to_new_name(temporary: Path, path: Path) -> None:
    """Take the name exclusively, then put the file there."""
    path.open("x").close()
    try:
        temporary.replace(path)
    except BaseException:
        path.unlink()
        raise
