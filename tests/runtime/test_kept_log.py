"""The kept log: what a driver says outlives its pod."""

import json
import logging
import subprocess
import sys
import time
from pathlib import Path

import pytest

from kubedistill_runtime.logs import _MAX_LINES, log_to, save_log
from kubedistill_runtime.storage.store import Store
from support.stage_jobs import stage_job

log = logging.getLogger("test")


@pytest.fixture(autouse=True)
def screen(own_logs: None, tmp_path: Path) -> Path:
    """Return where the driver's log goes besides."""
    log_to(tmp_path / "screen.log", job=stage_job())
    return tmp_path / "screen.log"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def lines(store: Store) -> list[str]:
    return [json.loads(line)["message"] for line in store.read("driver.log").decode().splitlines()]


def test_at_the_end_all_that_was_said_is_in_the_store_and_on_the_screen(store: Store, screen: Path) -> None:
    log.info("before")
    with save_log(store, "driver.log", job=stage_job()):
        log.info("one")
        log.warning("two")
        assert not store.exists("driver.log")
    log.info("after")
    assert lines(store) == ["one", "two"]
    first = json.loads(store.read("driver.log").decode().splitlines()[0])
    assert (first["namespace"], first["stage"], first["attempt"], first["level"]) == ("team-a", "Train", 2, "INFO")
    shown = [json.loads(line)["message"] for line in screen.read_text().splitlines()]
    assert shown == ["before", "one", "two", "after"]


def test_meanwhile_it_is_kept_now_and_then(store: Store) -> None:
    with save_log(store, "driver.log", job=stage_job(), seconds=0.01):
        log.info("one")
        until = time.monotonic() + 10
        while not store.exists("driver.log") or "one" not in lines(store):
            assert time.monotonic() < until
            time.sleep(0.005)


def test_a_driver_that_is_killed_has_left_its_first_lines(store: Store) -> None:
    script = """
import logging, sys, time
from pathlib import Path
from kubedistill.contract import StageJob
from kubedistill_runtime.logs import save_log, log_to
from kubedistill_runtime.storage.store import Store

job = StageJob.model_validate_json(sys.argv[2])
log_to(None, job=job)
with save_log(Store(Path(sys.argv[1])), "driver.log", job=job):
    logging.getLogger("test").info("one")
    time.sleep(600)
"""
    killed = subprocess.Popen(
        [sys.executable, "-c", script, str(store.root), stage_job().to_json()], stderr=subprocess.DEVNULL
    )
    try:
        until = time.monotonic() + 60
        while not store.exists("driver.log"):
            assert time.monotonic() < until
            time.sleep(0.05)
    finally:
        killed.kill()
        killed.wait()
    assert lines(store) == ["one"]


def test_what_ends_in_an_error_is_kept_too(store: Store) -> None:
    with pytest.raises(SystemExit), save_log(store, "driver.log", job=stage_job()):  # noqa: PT012
        log.info("leaving")
        raise SystemExit(143)
    assert lines(store) == ["leaving"]


def test_a_long_log_keeps_its_end(store: Store) -> None:
    with save_log(store, "driver.log", job=stage_job()):
        for number in range(_MAX_LINES + 10):
            log.info("%d", number)
    assert lines(store) == [str(number) for number in range(10, _MAX_LINES + 10)]


def test_a_store_that_is_full_ends_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with save_log(Store(tmp_path / "file"), "driver.log", job=stage_job(), seconds=0.01):
        log.info("one")
        time.sleep(0.05)
    assert (tmp_path / "file").read_text() == "no folder"


def test_bytes_that_are_not_text_are_kept_as_far_as_they_are(store: Store) -> None:
    with save_log(store, "driver.log", job=stage_job()):
        log.info("a file named \udcff")
    assert lines(store) == ["a file named \udcff"]
