"""The binaries of a control plane: found, fetched or built once, and kept in the user's cache.

kube-apiserver and kube-controller-manager are built from Go modules, in the versions of tests/cluster/control-plane;
etcd is Debian's. KUBEBUILDER_ASSETS names a folder that is looked into first (controller-runtime's setup-envtest fills
one; it has no kube-controller-manager).
"""

import os
import re
import shutil
from pathlib import Path

from debian_programs import fetch
from go_builds import NoBinaries, build, cache_of, locked, say

MODULE = Path(__file__).parents[1] / "cluster" / "control-plane"
BUILT = ("kube-apiserver", "kube-controller-manager")
NAMES = ("etcd", *BUILT)


def find_binary(name: str) -> Path | None:
    """Where a binary is: KUBEBUILDER_ASSETS, the cache, and for etcd the PATH; None where it is nowhere."""
    assets = os.environ.get("KUBEBUILDER_ASSETS")
    folders = [Path(assets)] if assets else []
    for folder in (*folders, cache_folder()):
        if os.access(folder / name, os.X_OK):
            return folder / name
    found = shutil.which(name) if name == "etcd" else None
    return Path(found) if found else None


def find_binaries() -> dict[str, Path]:
    """All binaries by name; raises NoBinaries for those that are nowhere."""
    found = {name: path for name in NAMES if (path := find_binary(name))}
    if missing := [name for name in NAMES if name not in found]:
        raise NoBinaries(f"{' and '.join(missing)} not found; run `make control-plane ARGS=build`")
    return found


def make_binaries() -> dict[str, Path]:
    """Fetch and build what is missing; raises NoBinaries where there is nothing to do it with."""
    with locked(cache_folder()):
        if find_binary("etcd") is None:
            fetch("etcd-server", ["etcd"], into=cache_folder(), wanted="etcd 3.4 or newer")
        if missing := [name for name in BUILT if find_binary(name) is None]:
            _build(missing)
    return find_binaries()


def kubernetes_version() -> str:
    """The version that is built, such as v1.34.4."""
    found = re.search(r"^\s*(?:require )?k8s\.io/kubernetes (v[0-9.]+)", (MODULE / "go.mod").read_text(), re.MULTILINE)
    assert found, "go.mod requires k8s.io/kubernetes"
    return found[1]


def cache_folder() -> Path:
    """One folder for each set of module versions."""
    return cache_of(MODULE, name="control-plane")


def _build(names: list[str]) -> None:
    if shutil.which("go") is None:
        them = "it" if len(names) == 1 else "them"
        raise NoBinaries(
            f"{' and '.join(names)} not found, and no Go to build {them} with; install Go 1.24 or newer, "
            f"or let KUBEBUILDER_ASSETS name a folder that holds {them}"
        )
    version = kubernetes_version()
    say(f"building {' and '.join(names)} {version} from Go modules: about 10 minutes on 2 cores, once")
    programs = [f"k8s.io/kubernetes/cmd/{name}" for name in names]
    build(programs, module=MODULE, into=cache_folder(), flags=_flags(version))
    say(f"built; they are kept in {cache_folder()}")


def _flags(version: str) -> str:
    """The linker flags that name the version: without them the server's is a placeholder that kubectl can't read."""
    major, minor, _ = version.removeprefix("v").split(".")
    values = {
        "gitVersion": version, "gitMajor": major, "gitMinor": minor, "gitTreeState": "clean", "gitCommit": "none",
        "buildDate": "1970-01-01T00:00:00Z",
    }  # fmt: skip
    packages = ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
    settings = [f"-X {package}.{name}={value}" for package in packages for name, value in values.items()]
    return " ".join(["-s -w", *settings])
