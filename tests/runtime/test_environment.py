"""The environment: a user without an entry in /etc/passwd has a name and a home that it can write."""

import getpass
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from kubedistill.client import access
from kubedistill_runtime.environment import set_environment
from support.identities import run_as, shared_folder

UID = 1000720000
ACCESS = compile(Path(access.__file__).read_text(), access.__file__, "exec")
"""Read by the user of the checkout, which another user may not read."""


@pytest.fixture
def tmp() -> Iterator[Path]:
    """Yield a temporary folder for everybody, as /tmp is."""
    with shared_folder() as folder:
        folder.chmod(0o1777)
        yield folder


def live(environment: dict[str, str], tmp: Path) -> tuple[str, Path, bool]:
    """Return name, home and whether the home can be written, as libraries find them."""
    for name in ("HOME", "USER", "LOGNAME", "LNAME", "USERNAME"):
        os.environ.pop(name, None)
    os.environ.update(environment)
    tempfile.tempdir = str(tmp)
    set_environment(os.environ)
    exec(ACCESS, {"__name__": access.__name__})  # it looks for a kubeconfig at its import
    return getpass.getuser(), Path.home(), os.access(Path.home(), os.W_OK)


@pytest.mark.parametrize("home", [None, "/", "/nonexistent"])
def test_without_a_home_of_its_own_a_user_gets_one_that_is_private(home: str | None, tmp: Path) -> None:
    given = {} if home is None else {"HOME": home}
    name, found, writable = run_as(lambda: live(given, tmp), uid=UID, gid=0)
    assert (name, found, writable) == (str(UID), tmp / f"kubedistill-{UID}", True)
    assert (found.stat().st_uid, found.stat().st_mode & 0o777) == (UID, 0o700)


def test_a_home_and_a_name_that_serve_are_left_alone(tmp: Path) -> None:
    name, home, _ = run_as(lambda: live({"HOME": str(tmp), "USER": "ann"}, tmp), uid=UID, gid=0)
    assert (name, home) == ("ann", tmp)


def test_a_folder_that_another_user_prepared_is_not_taken(tmp: Path) -> None:
    prepared = tmp / f"kubedistill-{UID}"
    prepared.mkdir(mode=0o777)
    _, home, writable = run_as(lambda: live({}, tmp), uid=UID, gid=0)
    assert home != prepared
    assert writable
