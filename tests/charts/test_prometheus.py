"""Prometheus and promtool: where they are looked for, and the message where they are missing."""

from pathlib import Path

import pytest

from support import prometheus
from support.go_builds import NOTHING_TO_RUN, NoBinaries
from support.messages import CheckMessage


@pytest.fixture(autouse=True)
def bare_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with an empty cache, and nothing on the PATH."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))


def put(folder: Path, name: str, script: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)
    return folder / name


def test_the_path_comes_before_the_cache(tmp_path: Path) -> None:
    cached = put(tmp_path / "cache" / "kubedistill" / "prometheus", "promtool", "true")
    assert prometheus.find_program("promtool") == cached
    assert prometheus.find_program("promtool") != put(tmp_path / "bin", "promtool", "true")
    assert prometheus.find_program("promtool") == tmp_path / "bin" / "promtool"


def test_a_test_without_it_fails_and_says_what_to_do(check_message: CheckMessage) -> None:
    with pytest.raises(NoBinaries) as caught:
        prometheus.promtool("check", "metrics")
    check_message(caught.value, "make prometheus")


def test_a_failed_fetch_is_reported(capsys: pytest.CaptureFixture[str]) -> None:
    assert prometheus.main() == NOTHING_TO_RUN
    assert "no apt-get to fetch them with; put Prometheus 2.42 or newer on the PATH" in capsys.readouterr().err


def test_a_package_that_is_not_available_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    put(tmp_path / "bin", "apt-get", "echo 'Unable to locate package' >&2; exit 100")
    assert prometheus.main() == NOTHING_TO_RUN
    assert "put Prometheus 2.42 or newer on the PATH, since Unable to locate package" in capsys.readouterr().err


def test_problems_that_promtool_finds_are_raised(tmp_path: Path, check_message: CheckMessage) -> None:
    put(tmp_path / "bin", "promtool", "echo FAILED >&2; exit 3")
    with pytest.raises(prometheus.PromtoolFailed) as caught:
        prometheus.promtool("check", "metrics", given="x 1\n")
    check_message(caught.value, "FAILED")
