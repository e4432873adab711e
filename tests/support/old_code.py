"""The code of an earlier version: all of it out of this repository's history, or its operator out of tests/upgrade."""

import os
import subprocess
import sys
import tarfile
from dataclasses import dataclass
from pathlib import Path

from support.cluster_setup import ROOT

_OPERATOR = ("api", "operator")
_SOURCES = (*_OPERATOR, "runtime", "crds", "deploy/rbac", "examples/quickstart", "tests/support")
_FIX = "run `git fetch --unshallow` where the clone is shallow, and test from a clone rather than from an archive"


class NoHistory(Exception):
    """The commit is not in the history that is at hand."""


@dataclass(frozen=True, slots=True)
class OldCode:
    """A folder with the sources of one commit; it runs with the packages of this environment."""

    folder: Path

    @property
    def environment(self) -> dict[str, str]:
        """The environment of a process that runs this code and not today's."""
        roots = [self.folder / name for name in (*_OPERATOR, "runtime", "tests")]
        before = os.environ.get("PYTHONPATH")
        return os.environ | {"PYTHONPATH": os.pathsep.join([*map(str, roots), *([before] if before else [])])}

    def python(self, program: str, *, text: str = "") -> str:
        """Run a program with a string as its input, and return what it prints."""
        command = [sys.executable, "-c", program]
        ran = subprocess.run(
            command, input=text, env=self.environment, cwd=self.folder, capture_output=True, text=True, check=False
        )
        assert ran.returncode == 0, ran.stderr
        return ran.stdout


def check_out(commit: str, folder: Path) -> OldCode:
    """Write the sources of a commit into a new folder; raises NoHistory where there is no such commit."""
    folder.mkdir(parents=True)
    subprocess.run(["tar", "-x", "-C", str(folder)], input=_archive(commit, _SOURCES), check=True)
    return OldCode(folder)


def pack_operator(commit: str, file: Path) -> None:
    """Write the operator of a commit into an archive, for clones without its history; raises NoHistory."""
    packed = subprocess.run(["xz", "-9e"], input=_archive(commit, _OPERATOR), capture_output=True, check=True)
    file.write_bytes(packed.stdout)


def unpack_operator(file: Path, folder: Path) -> OldCode:
    """Write what `pack_operator` packed into a new folder."""
    folder.mkdir(parents=True)
    with tarfile.open(file) as archive:
        archive.extractall(folder, filter="data")
    return OldCode(folder)


def _archive(commit: str, sources: tuple[str, ...]) -> bytes:
    archive = subprocess.run(["git", "archive", commit, *sources], cwd=ROOT, capture_output=True, check=False)
    if archive.returncode:
        raise NoHistory(f"no code of {commit} ({archive.stderr.decode().strip()}): {_FIX}")
    return archive.stdout
