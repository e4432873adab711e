"""Operator and drivers write the same kind of line, so that one query finds all that was said of a job."""

import io
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kubedistill.logs import SUBJECT
from kubedistill_operator.telemetry import logs as operator
from kubedistill_runtime import logs as runtime
from kubedistill_runtime.storage.store import Store
from support.operator_objects import at_stage
from support.stage_jobs import SPEC, stage_job

RESOURCE = {"metadata": {"namespace": "team-a", "name": "support", "uid": "u-1"}, "spec": SPEC}
SECRET = "hunter2hunter2"


@pytest.fixture(autouse=True)
def own_logs() -> Iterator[None]:
    """The root logger for the test alone."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    for handler in set(root.handlers) - set(handlers):
        handler.close()
    root.handlers[:] = handlers
    root.setLevel(level)


def say(logger: str) -> None:
    """What somebody says, in a line and in one with a traceback."""
    log = logging.getLogger(logger)
    log.warning("asked with Authorization: Bearer %s", SECRET)
    try:
        raise ValueError(f"api_key={SECRET}")
    except ValueError:
        log.exception("it broke")


def of_operator() -> list[dict[str, Any]]:
    stream = io.StringIO()
    operator.log_to(stream)
    with operator.log_context(("team-a", "support")):
        operator.log_attempt(at_stage(RESOURCE, "Train", attempt=2))
        say("kubedistill_operator.loop.controller")
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def of_driver(folder: Path) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return (as it is shown, as it is kept in the store)"""
    runtime.log_to(folder / "driver.log", job=stage_job())
    with runtime.save_log(Store(folder / "store"), "kept.log", job=stage_job()):
        say("kubedistill_runtime.driver")
    texts = (folder / "driver.log").read_text(), Store(folder / "store").read("kept.log").decode()
    shown, kept = ([json.loads(line) for line in text.splitlines()] for text in texts)
    return shown, kept


def test_lines_of_operator_and_driver_have_the_same_keys_in_the_same_order(tmp_path: Path) -> None:
    said, (shown, kept) = of_operator(), of_driver(tmp_path)
    assert len(said) == len(shown) == len(kept) == 2
    for one, other in zip(said, shown, strict=True):
        assert list(one) == list(other)
    assert list(said[0]) == ["at", "level", "logger", "message", *SUBJECT]
    assert list(said[1]) == ["at", "level", "logger", "message", *SUBJECT, "traceback"]
    assert kept == shown


def test_lines_of_operator_and_driver_speak_of_the_same_attempt(tmp_path: Path) -> None:
    (said, _), ((shown, _), _) = of_operator(), of_driver(tmp_path)
    assert {key: said[key] for key in ("namespace", "name", "uid", "stage")} == {
        key: shown[key] for key in ("namespace", "name", "uid", "stage")
    }
    assert [type(line[key]) for key in SUBJECT for line in (said,)] == [str, str, str, str, int]
    assert shown["attempt"] == 2


def test_neither_holds_a_credential(tmp_path: Path) -> None:
    said, (shown, kept) = of_operator(), of_driver(tmp_path)
    assert SECRET not in json.dumps([said, shown, kept])
