"""What builds images and runs what is in them: `make test-images` has it, or says what is missing.

Root on Linux may run an image's root file system without a container engine. Where no engine answers that could build
images, buildah and debootstrap are installed from Debian: neither starts a service.
"""

import os
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

from support.go_builds import NoBinaries, have, say

ROOT = Path(__file__).parents[2]
BUILD = ROOT / "deploy" / "images" / "build.py"
MOUNT = ("unshare", "--mount", "--uts", "--propagation", "private")
"""What a command begins with that may mount without anybody else's seeing it."""


def make_tools() -> list[Path]:
    """Have an engine and the right to mount, and return the engine; raises NoBinaries, which says what is missing."""
    if os.geteuid() != 0:
        raise NoBinaries("images: only root may mount an image's root file system; run the tests as root")
    allowed = subprocess.run([*MOUNT, "mount", "-t", "tmpfs", "tmpfs", "/mnt"], capture_output=True, check=False)
    if allowed.returncode:
        raise NoBinaries(f"images: nothing may be mounted here: {allowed.stderr.decode().strip()}")
    missing = [] if shutil.which("debootstrap") else ["debootstrap"]
    missing += [] if find_engine() else ["buildah"]
    if missing:
        _install(missing)
    return [Path(find_engine())]


def find_engine() -> str:
    """Return the engine that `make images` would take; empty where there is none."""
    try:
        return str(runpy.run_path(str(BUILD))["find_engine"]())
    except SystemExit:
        return ""


def _install(packages: list[str]) -> None:
    if shutil.which("apt-get") is None:
        raise NoBinaries(f"images: {' and '.join(packages)} not found, and no apt-get to install them with")
    say(f"installing {' and '.join(packages)}")
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    install = ["apt-get", "install", "-q", "-y", "--no-install-recommends", *packages]
    for command in (["apt-get", "update", "-q"], install):
        done = subprocess.run(command, stdout=sys.stderr, env=environment, check=False)
        if done.returncode:
            raise NoBinaries(f"images: {' '.join(command)} failed; install {' and '.join(packages)}")


def main() -> int:
    """Have them, or say what is missing."""
    return have(make_tools)


if __name__ == "__main__":
    sys.exit(main())
