"""The command line as a process of its own, and a runtime that says whatever a test writes down."""

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from kubedistill.cli.app import main

COMMAND = Path(sys.executable).with_name("kubedistill")
Completed = subprocess.CompletedProcess[str]
Run = Callable[..., Completed]


@pytest.fixture
def command() -> Path:
    """Return the console script of this environment."""
    return COMMAND


@pytest.fixture
def kubedistill(tmp_path: Path) -> Run:
    """Run the command line, as a process, in an empty folder."""

    def run(*arguments: str, before: Sequence[str] = ()) -> Completed:
        environment = os.environ | {"TERM": "dumb", "NO_COLOR": "1", "COLUMNS": "200"}
        return subprocess.run(
            [*before, COMMAND, *arguments],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )

    return run


@pytest.fixture
def called(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Call the command line's entry in this process, which is ten times as fast; it says and leaves the same."""
    monkeypatch.chdir(tmp_path)
    for name, value in (("TERM", "dumb"), ("NO_COLOR", "1"), ("COLUMNS", "200")):
        monkeypatch.setenv(name, value)

    def run(*arguments: str) -> Completed:
        monkeypatch.setattr(sys, "argv", ["kubedistill", *arguments])
        with pytest.raises(SystemExit) as left:
            main()
        out, err = capsys.readouterr()
        return Completed(arguments, left.value.code, out, err)

    return run


@pytest.fixture
def manifest(tmp_path: Path) -> str:
    """Return a valid manifest in the folder where the command line runs."""
    path = tmp_path / "job.yaml"
    path.write_text(STARTER)
    return path.name


STARTER = """\
apiVersion: kubedistill.io/v1alpha1
kind: DistillationJob
metadata: {name: support}
spec:
  task: {type: QA}
  teachers: [{name: main, model: {source: teacher}}]
  student: {model: {source: student}}
  data: {train: {uri: train.jsonl}, test: {uri: test.jsonl}}
"""
