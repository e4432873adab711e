"""Files that commands write: whole or absent, whatever fails while they are written."""

import contextlib
import errno
import os
import re
import resource
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from kubedistill.files import create_file, replace_file

Write = Callable[[Path, str], None]
WRITERS = pytest.mark.parametrize("write", [create_file, replace_file])


@contextlib.contextmanager
def small_disk() -> Iterator[None]:
    """No file of this process may grow beyond 1,000 bytes, pytest's own output neither: so no fixture, but a moment."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def fail(error: BaseException) -> Callable[..., Any]:
    def raising(*_: Any, **__: Any) -> Any:
        raise error

    return raising


@WRITERS
def test_a_file_holds_the_text_and_nothing_is_left_next_to_it(write: Write, tmp_path: Path) -> None:
    write(tmp_path / "job.yaml", "Größe: 1\n")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"job.yaml": "Größe: 1\n".encode()}


@WRITERS
def test_a_file_has_the_permissions_that_the_user_gives_to_new_files(write: Write, tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write(tmp_path / "job.yaml", "text")
    finally:
        os.umask(before)
    assert (tmp_path / "job.yaml").stat().st_mode & 0o777 == 0o640


@WRITERS
def test_a_disk_that_is_full_in_the_middle_leaves_nothing(write: Write, tmp_path: Path) -> None:
    with pytest.raises(OSError, match="File too large"), small_disk():
        write(tmp_path / "job.yaml", "x" * 100_000)
    assert list(tmp_path.iterdir()) == []


@WRITERS
@pytest.mark.parametrize("error", [OSError(errno.EIO, "I/O error"), KeyboardInterrupt()])
def test_a_write_that_does_not_reach_the_disk_leaves_nothing(
    write: Write, error: BaseException, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", fail(error))
    with pytest.raises(type(error)):
        write(tmp_path / "job.yaml", "text")
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_could_not_be_replaced_is_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "job.yaml").write_text("mine")
    with pytest.raises(OSError, match="File too large"), small_disk():
        replace_file(tmp_path / "job.yaml", "x" * 100_000)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"job.yaml": "mine"}


@pytest.mark.parametrize("hard_links", [True, False])
def test_a_name_that_is_taken_is_left_alone(
    *, hard_links: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not hard_links:
        monkeypatch.setattr(os, "link", fail(PermissionError(errno.EPERM, "Operation not permitted")))
    (tmp_path / "job.yaml").write_text("mine")
    with pytest.raises(FileExistsError):
        create_file(tmp_path / "job.yaml", "yours")
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"job.yaml": "mine"}


@pytest.mark.parametrize("reached", [True, False])
def test_a_file_system_without_hard_links_has_whole_files_too(
    *, reached: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "link", fail(OSError(errno.EOPNOTSUPP, "Operation not supported")))
    if reached:
        create_file(tmp_path / "job.yaml", "text")
        assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"job.yaml": "text"}
        return
    monkeypatch.setattr(Path, "replace", fail(OSError(errno.EIO, "I/O error")))
    with pytest.raises(OSError, match="I/O error"):
        create_file(tmp_path / "job.yaml", "text")
    assert list(tmp_path.iterdir()) == []


@WRITERS
def test_a_folder_that_is_not_there_is_an_os_error(write: Write, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        write(tmp_path / "none" / "job.yaml", "text")


def test_no_module_writes_a_file_in_another_way() -> None:
    root = Path(__file__).parents[2] / "api" / "kubedistill"
    ways = re.compile(r"""write_text|write_bytes|open\([^)]*["'][rb+]*[wxa][rb+]*["']|mkstemp|NamedTemporaryFile""")
    found = {path.name for path in root.rglob("*.py") if ways.search(path.read_text())}
    assert found == {"files.py"}
