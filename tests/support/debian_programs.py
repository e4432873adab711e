"""Programs out of Debian's packages, without installing them, since that would start services of their own."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from support.go_builds import NoBinaries, say


def fetch(package: str, programs: Sequence[str], *, into: Path, wanted: str) -> None:
    """Put programs of a package into a folder; raises NoBinaries, which says what is wanted on the PATH instead."""
    names, them = " and ".join(programs), "it" if len(programs) == 1 else "them"
    if shutil.which("apt-get") is None:
        raise NoBinaries(f"{names} not found, and no apt-get to fetch {them} with; put {wanted} on the PATH")
    say(f"fetching {names} from the package {package}")
    with tempfile.TemporaryDirectory(dir=into) as folder:
        download = ["apt-get", "download", "-q", "-o", "APT::Sandbox::User=root", package]
        fetched = subprocess.run(download, cwd=folder, check=False, capture_output=True, text=True)
        if fetched.returncode and os.geteuid() == 0:  # a fresh container has no package lists
            subprocess.run(["apt-get", "update", "-q"], check=True, stdout=sys.stderr)
            fetched = subprocess.run(download, cwd=folder, check=False, capture_output=True, text=True)
        if fetched.returncode:
            raise NoBinaries(f"{names} not found; put {wanted} on the PATH, since {fetched.stderr.strip()}")
        subprocess.run(["dpkg", "-x", *Path(folder).glob(f"{package}_*.deb"), "out"], cwd=folder, check=True)
        for program in programs:
            (Path(folder) / "out" / "usr" / "bin" / program).replace(into / program)
