"""What a machine needs for a real node: checked before anything is built or started."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

PACKAGES = (
    "containerd", "runc", "containernetworking-plugins", "iptables", "busybox-static", "iproute2", "openssl", "buildah",
    "debootstrap",
)  # fmt: skip
FREE_GIB = 25
_CONTROLLERS = {"cpu", "cpuset", "memory", "pids"}
_PROBE = "kd-probe"


class NotPossible(Exception):
    """The machine lacks something; the message has a line for each thing, with the fix."""


def check_machine(folder: Path) -> None:
    """Raise NotPossible with all that the machine lacks; `folder` is where images and state will be."""
    problems = []
    if os.geteuid() != 0:
        raise NotPossible("a node needs root: run it as root, or by sudo")
    free = shutil.disk_usage(next(one for one in (folder, *folder.parents) if one.exists())).free / 2**30
    if free < FREE_GIB:
        problems.append(f"{free:.0f} GB are free at {folder}; images and their copies need {FREE_GIB} GB")
    if not has_cgroups(Path("/sys/fs/cgroup")):
        problems.append(
            f"no cgroup controllers {', '.join(sorted(_CONTROLLERS))} under /sys/fs/cgroup: a container lacks"
        )
    if (
        not _has_module("overlay", Path("/sys/module/overlay"))
        and "overlay" not in Path("/proc/filesystems").read_text()
    ):
        problems.append("the kernel has no overlay file system")
    if not _has_module("br_netfilter", Path("/proc/sys/net/bridge/bridge-nf-call-iptables")):
        problems.append("the kernel has no br_netfilter: modprobe br_netfilter")
    if problems:
        raise NotPossible("\n".join(problems))


def install_packages() -> None:
    """Install the Debian packages that are missing; raises NotPossible where that does not work."""
    missing = [name for name in PACKAGES if not _is_installed(name)]
    missing += [] if shutil.which("kubectl") else ["kubernetes-client"]
    if not missing:
        return
    if shutil.which("apt-get") is None:
        raise NotPossible(f"no apt-get to install {', '.join(missing)} with; this runs on Debian and Ubuntu")
    sys.stderr.write(f"e2e-node: installing {', '.join(missing)}\n")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for arguments in (["update", "-q"], ["install", "-q", "-y", "--no-install-recommends", *missing]):
        done = subprocess.run(["apt-get", *arguments], env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise NotPossible(f"apt-get {arguments[0]} failed: {done.stderr.strip()[-2000:]}")


def check_network() -> None:
    """Raise NotPossible unless bridges and netfilter rules can be made; needs the packages."""
    for command in (
        ["ip", "link", "add", _PROBE, "type", "bridge"],
        ["ip", "link", "delete", _PROBE],
        ["iptables", "-t", "nat", "-N", _PROBE],
        ["iptables", "-t", "nat", "-X", _PROBE],
    ):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise NotPossible(f"`{' '.join(command)}` failed: {done.stderr.strip()}; a container needs --privileged")


def _is_installed(package: str) -> bool:
    query = ["dpkg-query", "-W", "-f", "${db:Status-Status}", package]
    try:
        return subprocess.run(query, capture_output=True, text=True, check=False).stdout == "installed"
    except FileNotFoundError:
        return False


def has_cgroups(root: Path) -> bool:
    """Return whether a kubelet finds the controllers that it needs, in either version of cgroups."""
    unified = root / "cgroup.controllers"
    found = set(unified.read_text().split()) if unified.is_file() else {one.name for one in root.iterdir()}
    return found >= _CONTROLLERS


def _has_module(name: str, sign: Path) -> bool:
    if not sign.exists():
        subprocess.run(["modprobe", name], capture_output=True, check=False)
    return sign.exists()
