"""The binaries of the control plane: where they are looked for, and the message where they are missing."""

import re
import stat
from pathlib import Path

import pytest

from support import control_plane
from support.go_builds import NOTHING_TO_RUN
from support.kubernetes_binaries import (
    NAMES,
    NoBinaries,
    cache_folder,
    find_binaries,
    kubernetes_version,
    make_binaries,
)
from support.messages import check_facts


def put(folder: Path, *names: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_text("#!/bin/sh\n")
        (folder / name).chmod(0o755)
    return folder


@pytest.fixture(autouse=True)
def bare_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with an empty cache, and nothing on the PATH."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.delenv("KUBEBUILDER_ASSETS", raising=False)


def test_assets_come_before_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assets = put(tmp_path / "assets", "kube-apiserver")
    put(tmp_path / "bin", *NAMES)  # etcd of another version may be there for other uses
    cache = put(cache_folder(), *NAMES)
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(assets))
    assert find_binaries() == {
        "etcd": cache / "etcd",
        "kube-apiserver": assets / "kube-apiserver",
        "kube-controller-manager": cache / "kube-controller-manager",
    }


def test_file_that_cannot_be_run_is_not_a_binary(tmp_path: Path) -> None:
    put(cache_folder(), *NAMES)
    (cache_folder() / "etcd").chmod(stat.S_IRUSR)
    with pytest.raises(NoBinaries) as missing:
        find_binaries()
    check_facts(missing.value, "etcd", "make control-plane ARGS=build")


def test_cache_is_another_one_for_other_versions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = cache_folder()
    module = tmp_path / "module"
    module.mkdir()
    for name in ("go.mod", "go.sum"):
        (module / name).write_text("require k8s.io/kubernetes v1.35.0\n")
    monkeypatch.setattr("support.kubernetes_binaries.MODULE", module)
    assert kubernetes_version() == "v1.35.0"
    assert cache_folder() != before


THERE: dict[str, tuple[str, ...]] = {
    "nothing": (),
    "etcd": ("etcd",),
    "what setup-envtest brings": ("etcd", "kube-apiserver"),
}


@pytest.mark.parametrize("case", THERE)
def test_binaries_that_are_missing_and_cannot_be_built_are_named(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    there = THERE[case]
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(put(tmp_path / "assets", *there)))
    with pytest.raises(NoBinaries) as missing:
        make_binaries()
    check_facts(missing.value, *(set(NAMES) - set(there)), "Go 1.24")
    assert not [name for name in there if re.search(rf"\b{name}\b", str(missing.value))]
    for verb in ("build", "up"):
        assert control_plane.main([verb]) == NOTHING_TO_RUN
        assert str(missing.value) in capsys.readouterr().err
