"""Logs: one JSON object a line, whatever is logged and whoever logs it."""

import json
import logging
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from kubedistill_runtime.logs import log_to
from support.stage_jobs import stage_job

log = logging.getLogger("kubedistill_runtime.test")
ABOUT = {"namespace": "team-a", "name": "support", "uid": "u-1", "stage": "Train", "attempt": 2}


pytestmark = pytest.mark.usefixtures("own_logs")


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_record_is_one_line_with_its_extra_fields(tmp_path: Path) -> None:
    path = tmp_path / "runs" / "attempt" / "driver.log"
    log_to(path, job=stage_job())
    log.info("stage %s\nstarted", "Train", extra={"driver": "d", "path": path, "_of_a_library": 1})
    log.debug("nobody wants to know")
    (line,) = lines(path)
    assert line.pop("at").endswith("Z")
    assert line == {
        "level": "INFO",
        "logger": "kubedistill_runtime.test",
        "message": "stage Train\nstarted",
        **ABOUT,
        "driver": "d",
        "path": str(path),
    }


def test_every_thread_of_a_driver_speaks_of_its_attempt(tmp_path: Path) -> None:
    log_to(tmp_path / "driver.log", job=stage_job())
    with ThreadPoolExecutor(max_workers=1) as pool:
        pool.submit(logging.getLogger("a.library").warning, "careful").result()
    (line,) = lines(tmp_path / "driver.log")
    assert line.items() >= ABOUT.items()


def test_a_traceback_is_a_field(tmp_path: Path) -> None:
    log_to(tmp_path / "driver.log", job=stage_job())
    try:
        raise KeyError("missing")
    except KeyError:
        log.exception("stage raised")
    (line,) = lines(tmp_path / "driver.log")
    assert line["level"] == "ERROR"
    assert line["traceback"].startswith("Traceback (most recent call last):")
    assert line["traceback"].endswith("KeyError: 'missing'")


def test_the_next_attempt_logs_to_its_own_file_and_an_old_file_is_continued(tmp_path: Path) -> None:
    for number, name in enumerate(("first", "second", "first")):
        log_to(tmp_path / name, job=stage_job())
        log.info("entry %d", number)
    assert [line["message"] for line in lines(tmp_path / "first")] == ["entry 0", "entry 2"]
    assert [line["message"] for line in lines(tmp_path / "second")] == ["entry 1"]


def test_without_a_file_it_goes_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    log_to(None, job=stage_job())
    log.warning("careful")
    out, err = capsys.readouterr()
    assert out == "", "standard output belongs to events"
    assert json.loads(err)["message"] == "careful"
