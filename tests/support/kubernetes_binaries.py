"""The binaries of a control plane: found, or built once from Go modules and kept in the user's cache.

Their versions are those of tests/cluster/control-plane, where etcd is the one that this Kubernetes is released with.
An older etcd, such as Debian's 3.4, does not tell the API server how far its cache has come, so that every list is read
and decoded again: with 500 jobs the server does little else. KUBEBUILDER_ASSETS names a folder that is searched first
(controller-runtime's setup-envtest fills one; it has no kube-controller-manager).
"""

import os
import re
import shutil
from pathlib import Path

from support.go_builds import NoBinaries, build, cache_of, locked, say

MODULE = Path(__file__).parents[1] / "cluster" / "control-plane"
PROGRAMS = {
    "etcd": "go.etcd.io/etcd/server/v3",
    "kube-apiserver": "k8s.io/kubernetes/cmd/kube-apiserver",
    "kube-controller-manager": "k8s.io/kubernetes/cmd/kube-controller-manager",
}
NAMES = tuple(PROGRAMS)


def find_binary(name: str) -> Path | None:
    """Return where a binary is, in KUBEBUILDER_ASSETS or the cache; None where it is in neither."""
    assets = os.environ.get("KUBEBUILDER_ASSETS")
    folders = [Path(assets)] if assets else []
    return next((folder / name for folder in (*folders, cache_folder()) if os.access(folder / name, os.X_OK)), None)


def find_binaries() -> dict[str, Path]:
    """Return all binaries by name; raises NoBinaries for those that are nowhere."""
    found = {name: path for name in NAMES if (path := find_binary(name))}
    if missing := [name for name in NAMES if name not in found]:
        raise NoBinaries(f"{' and '.join(missing)} not found; run `make control-plane ARGS=build`")
    return found


def make_binaries() -> dict[str, Path]:
    """Build what is missing; raises NoBinaries where there is nothing to do it with."""
    with locked(cache_folder()):
        if missing := [name for name in NAMES if find_binary(name) is None]:
            _build(missing)
    return find_binaries()


def kubernetes_version() -> str:
    """Return the version that is built, such as v1.34.4."""
    found = re.search(r"^\s*(?:require )?k8s\.io/kubernetes (v[0-9.]+)", (MODULE / "go.mod").read_text(), re.MULTILINE)
    assert found, "go.mod requires k8s.io/kubernetes"
    return found[1]


def cache_folder() -> Path:
    """Return one folder for each set of module versions."""
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
    programs = {name: PROGRAMS[name] for name in names}
    build(programs, module=MODULE, into=cache_folder(), flags=version_flags(version))
    say(f"built; they are kept in {cache_folder()}")


def version_flags(version: str) -> str:
    """Return the linker flags that name the version: without them kubectl can't read the server's."""
    major, minor, _ = version.removeprefix("v").split(".")
    values = {
        "gitVersion": version,
        "gitMajor": major,
        "gitMinor": minor,
        "gitTreeState": "clean",
        "gitCommit": "none",
        "buildDate": "1970-01-01T00:00:00Z",
    }
    packages = ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
    settings = [f"-X {package}.{name}={value}" for package in packages for name, value in values.items()]
    return " ".join(["-s -w", *settings])
