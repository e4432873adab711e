"""Processes in the background: known by pid and start time, ended surely, and never somebody else's."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from support.background import Background, StartFailed
from support.kube_api import wait_for

SLEEP = ["sleep", "600"]
STUBBORN = ["sh", "-c", "trap '' TERM; echo deaf; while :; do sleep 0.05; done"]


def test_process_runs_until_it_is_stopped(tmp_path: Path) -> None:
    process = Background(tmp_path, "sleeper")
    assert process.pid is None
    process.start(SLEEP)
    pid = process.pid
    process.start(SLEEP)
    assert process.pid == pid, "it is started once"
    assert Background(tmp_path, "sleeper").pid == pid, "the folder is all that has to be known"
    process.stop(gently=True)
    assert process.pid is None
    assert not Path(f"/proc/{pid}").exists()


@pytest.mark.parametrize("text", ["1 1", f"{os.getpid()} 12345"])
def test_recycled_pid_is_left_alone(tmp_path: Path, text: str) -> None:
    process = Background(tmp_path, "stranger")
    (tmp_path / "stranger.pid").write_text(text)
    assert process.pid is None
    process.stop(gently=False)
    assert Path("/proc/self").exists(), "we would be gone"


def test_process_that_is_deaf_to_sigterm_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("support.background.PATIENCE_SECONDS", 0.5)
    process = Background(tmp_path, "deaf")
    process.start(STUBBORN)
    wait_for(lambda: "deaf" in process.log.read_text(), what="it has set its trap")
    process.stop(gently=True)
    assert process.pid is None


DYING_PARENT = """
import os, pathlib, sys, time
from support.background import Background
process = Background(pathlib.Path(sys.argv[1]), "child")
process.start(["sleep", "600"], dies_with_us=True)
while pathlib.Path(f"/proc/{process.pid}/comm").read_text() != "sleep\\n":
    time.sleep(0.01)
os.kill(os.getpid(), 9)
"""


def test_process_dies_with_its_parent(tmp_path: Path) -> None:
    tests = str(Path(__file__).parents[1])
    parent = subprocess.run(
        [sys.executable, "-c", DYING_PARENT, str(tmp_path)], check=False, env={**os.environ, "PYTHONPATH": tests}
    )
    assert parent.returncode == -signal.SIGKILL
    wait_for(lambda: Background(tmp_path, "child").pid is None, what="the child is gone", seconds=5)


def test_failure_shows_the_end_of_the_log(tmp_path: Path) -> None:
    process = Background(tmp_path, "speaker")
    process.start(["sh", "-c", "for n in $(seq 100); do echo line $n; done; exit 1"])
    wait_for(lambda: process.pid is None, what="it has ended")
    error = process.failure("ended")
    assert isinstance(error, StartFailed)
    assert str(error).splitlines()[0].startswith("speaker ended; the end of ")
    assert str(error).splitlines()[1:] == [f"line {number}" for number in range(81, 101)]


def test_stopping_a_process_that_never_ran_returns_at_once(tmp_path: Path) -> None:
    started = time.monotonic()
    Background(tmp_path, "nothing").stop(gently=True)
    assert time.monotonic() - started < 5
