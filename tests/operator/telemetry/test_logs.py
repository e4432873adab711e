"""Logs: lines of JSON that say of what they speak."""

import asyncio
import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from kubedistill_operator.telemetry.logs import log_attempt, log_context, log_to
from support.operator_objects import at_stage

Object = dict[str, Any]


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    stream = io.StringIO()
    log_to(stream)
    yield stream
    for handler in list(root.handlers):
        root.removeHandler(handler)
    for handler in handlers:
        root.addHandler(handler)
    root.setLevel(level)


def lines(stream: io.StringIO) -> list[Object]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_speaks_of_the_job_that_is_being_looked_at(stream: io.StringIO, resource: Object) -> None:
    job = at_stage(resource, "Train")
    with log_context((job.namespace, job.name)):
        log_attempt(job)
        logging.getLogger("a").info("hello %s", "you")
    logging.getLogger("a").info("later")
    first, second = lines(stream)
    assert first.pop("at").endswith("Z")
    assert first == {
        "level": "INFO",
        "logger": "a",
        "message": "hello you",
        "namespace": "team-a",
        "name": "support",
        "uid": job.uid,
        "stage": "Train",
        "attempt": 1,
    }
    assert "uid" not in second


def test_lines_of_jobs_that_are_reconciled_concurrently_are_distinguished(
    stream: io.StringIO, resource: Object
) -> None:
    async def look(name: str) -> None:
        resource["metadata"]["name"] = name
        with log_context(("team-a", name)):
            log_attempt(at_stage(resource, "Train"))
            await asyncio.sleep(0)
            logging.getLogger("a").info(name)

    async def both() -> None:
        await asyncio.gather(look("one"), look("two"))

    asyncio.run(both())
    assert [line["message"] == line["name"] for line in lines(stream)] == [True, True]


def test_a_traceback_is_a_field_of_the_line(stream: io.StringIO) -> None:
    try:
        raise ValueError("token=abcdefgh")
    except ValueError:
        logging.getLogger("a").exception("it broke")
    (line,) = lines(stream)
    assert "ValueError: token=<hidden>" in line["traceback"]


def test_fields_of_others_are_left_out(stream: io.StringIO) -> None:
    logging.getLogger("a").warning("hello", extra={"k8s_ref": {"a": "b"}, "settings": object(), "uid": "u"})
    (line,) = lines(stream)
    assert set(line) == {"at", "level", "logger", "message", "uid"}


def test_kopf_speaks_only_when_something_is_wrong(stream: io.StringIO) -> None:
    logging.getLogger("kopf.objects").info("Handler succeeded")
    logging.getLogger("kopf.objects").warning("watch failed")
    assert [line["message"] for line in lines(stream)] == ["watch failed"]
