"""The node's own programs, built once from Go modules: those of Kubernetes in the version of the control plane."""

from pathlib import Path

from support.go_builds import build, cache_of, locked, say
from support.kubernetes_binaries import kubernetes_version, make_binaries, version_flags

MODULE = Path(__file__).parents[2] / "cluster" / "node"
PROGRAMS = {name: f"k8s.io/kubernetes/cmd/{name}" for name in ("kube-scheduler", "kubelet", "kube-proxy")}


def make_node_binaries() -> dict[str, Path]:
    """Return every program of a node and its control plane by name; build what is missing.

    Raises NoBinaries where there is nothing to build with.
    """
    found = make_binaries()
    for module, programs, flags in (
        (MODULE, PROGRAMS, version_flags(kubernetes_version())),
        (MODULE / "coredns", {"coredns": "."}, "-s -w"),
    ):
        cache = cache_of(module, name="node")
        with locked(cache):
            missing = {name: package for name, package in programs.items() if not (cache / name).is_file()}
            if missing:
                say(f"building {', '.join(missing)} from Go modules, once")
                build(missing, module=module, into=cache, flags=flags)
        found |= {name: cache / name for name in programs}
    return found
