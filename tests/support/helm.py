"""Helm: the one on the PATH, or one built from Go modules and kept in the user's cache.

`PYTHONPATH=tests python -m support.helm` makes it and prints where it is; exit code 3 where it is not available.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from support.go_builds import NoBinaries, build, cache_of, have, locked, say

MODULE = Path(__file__).parents[1] / "charts" / "helm"
CHART = Path(__file__).parents[2] / "charts" / "kubedistill"

Manifest = dict[str, Any]
Values = Mapping[str, Any]


class HelmFailed(Exception):
    """Helm said no; the message is its own."""


def find_helm() -> Path:
    """Return where helm is; raises NoBinaries where it is nowhere."""
    if found := shutil.which("helm"):
        return Path(found)
    if (built := _cache() / "helm").is_file():
        return built
    raise NoBinaries("helm not found; run `make helm`")


def make_helm() -> Path:
    """Find helm or build it; raises NoBinaries where there is nothing to build it with."""
    with locked(_cache()):
        try:
            return find_helm()
        except NoBinaries:
            if shutil.which("go") is None:
                raise NoBinaries("helm not found, and no Go to build it with; install helm 3.17 or newer") from None
        say("building helm from Go modules: 3 minutes on 2 cores, once")
        build({"helm": "helm.sh/helm/v3/cmd/helm"}, module=MODULE, into=_cache(), flags=_flags())
    return find_helm()


@dataclass(frozen=True, slots=True)
class Helm:
    """Helm on one cluster, or on none where it only renders; nothing of it is kept in the user's folders."""

    home: Path
    kubeconfig: Path | None = None
    binary: Path = field(default_factory=find_helm)

    def template(
        self,
        release: str = "kubedistill",
        *,
        namespace: str = "kubedistill-system",
        values: Values | None = None,
        options: Sequence[str] = (),
        chart: Path = CHART,
    ) -> list[Manifest]:
        """Return what a release would install, tests included."""
        text = self.run("template", release, str(chart), "--namespace", namespace, *options, values=values)
        return [one for one in yaml.load_all(text, Loader=yaml.CSafeLoader) if one]

    def run(self, *arguments: str, values: Values | None = None) -> str:
        """Return what a command prints; raises HelmFailed with what it says."""
        given = ["--values", str(self._write(values))] if values else []
        done = subprocess.run(
            [str(self.binary), *arguments, *given], capture_output=True, text=True, check=False, env=self._environment()
        )
        if done.returncode:
            raise HelmFailed(done.stderr.strip() or done.stdout.strip())
        return done.stdout

    def start(self, *arguments: str) -> "subprocess.Popen[str]":
        """Return a command that runs while the test plays the cluster."""
        return subprocess.Popen(
            [str(self.binary), *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=self._environment(),
        )

    def _write(self, values: Values) -> Path:
        # As JSON: PyYAML writes the string "1e3" in a way that Helm reads as a number.
        with tempfile.NamedTemporaryFile("w", suffix=".json", dir=self.home, delete=False) as file:
            json.dump(dict(values), file)
        return Path(file.name)

    def _environment(self) -> dict[str, str]:
        folders = {f"HELM_{name}_HOME": str(self.home / name.lower()) for name in ("CACHE", "CONFIG", "DATA")}
        # Never the user's own cluster: rendering asks none.
        return {**os.environ, **folders, "KUBECONFIG": str(self.kubeconfig or self.home / "no-cluster")}


def _flags() -> str:
    """Return the linker flags that name versions: without them helm renders for Kubernetes 1.20."""
    versions = (MODULE / "go.mod").read_text()
    helm = re.search(r"helm\.sh/helm/v3 (v[0-9.]+)", versions)
    kubernetes = re.search(r"k8s\.io/client-go v0\.([0-9]+)\.", versions)
    assert helm, "go.mod requires helm.sh/helm/v3"
    assert kubernetes, "go.mod requires k8s.io/client-go"
    package = "helm.sh/helm/v3"
    values = {
        f"{package}/internal/version.version": helm[1],
        f"{package}/pkg/lint/rules.k8sVersionMajor": "1",
        f"{package}/pkg/lint/rules.k8sVersionMinor": kubernetes[1],
        f"{package}/pkg/chartutil.k8sVersionMajor": "1",
        f"{package}/pkg/chartutil.k8sVersionMinor": kubernetes[1],
    }
    return " ".join(["-s -w", *(f"-X {name}={value}" for name, value in values.items())])


def _cache() -> Path:
    return cache_of(MODULE, name="helm")


def main() -> int:
    """Have helm, or say what is missing."""
    return have(lambda: [make_helm()])


if __name__ == "__main__":
    sys.exit(main())
