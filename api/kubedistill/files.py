"""Atomic writes of files: a file is complete or absent, even if writing fails."""

import contextlib
import os
import uuid
from collections.abc import Iterator
from pathlib import Path


def create_file(path: Path, text: str) -> None:
    """Write a new file; raises FileExistsError if the name is taken, and OSError if it can't be written."""
    with _written(path, text) as temporary:
        try:
            os.link(temporary, path)
        except FileExistsError:
            raise
        except OSError:  # some file systems have no hard links
            _move_to_new_name(temporary, path)


def replace_file(path: Path, text: str) -> None:
    """Write a file, and replace an existing one; raises OSError if it can't be written."""
    with _written(path, text) as temporary:
        temporary.replace(path)


@contextlib.contextmanager
def _written(path: Path, text: str) -> Iterator[Path]:
    """Write a file under a temporary name in the same folder, and remove that name at the end."""
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
    """Create the name exclusively, then replace it with the file."""
    path.open("x").close()
    try:
        temporary.replace(path)
    except BaseException:
        path.unlink()
        raise
