"""Where helm comes from, and the message where it is missing."""

from pathlib import Path

import pytest

from support import helm
from support.go_builds import NOTHING_TO_RUN
from support.messages import CheckMessage


def put(folder: Path, name: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text("#!/bin/sh\n")
    (folder / name).chmod(0o755)
    return folder / name


@pytest.fixture(autouse=True)
def bare_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with an empty cache, and nothing on the PATH."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))


def test_the_one_on_the_path_comes_before_the_one_that_was_built(tmp_path: Path) -> None:
    cache = helm.cache_of(helm.MODULE, name="helm")
    built = put(cache, "helm")
    assert helm.find_helm() == built
    assert helm.make_helm() == built
    installed = put(tmp_path / "bin", "helm")
    assert helm.find_helm() == installed


def test_a_machine_without_helm_and_go_is_told_what_to_install(
    capsys: pytest.CaptureFixture[str], check_message: CheckMessage
) -> None:
    with pytest.raises(helm.NoBinaries) as caught:
        helm.find_helm()
    check_message(caught.value, "make helm")
    assert helm.main() == NOTHING_TO_RUN
    assert "no Go to build it with; install helm 3.17 or newer" in capsys.readouterr().err


def test_the_built_one_says_its_version_and_renders_for_a_cluster_of_today() -> None:
    flags = helm._flags()
    assert "-X helm.sh/helm/v3/internal/version.version=v3." in flags
    assert "chartutil.k8sVersionMinor=36" in flags
