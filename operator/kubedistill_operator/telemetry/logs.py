"""Logs: lines of JSON on a stream, each of which says of what job, stage and attempt it speaks."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TextIO

from kubedistill.logs import JsonFormatter, Subject
from kubedistill_operator.job import Job

_subject: ContextVar[Subject] = ContextVar("subject", default={})  # noqa: B039  # never changed, only replaced


@contextmanager
def about(job: Job) -> Iterator[None]:
    """Have every line that is written inside speak of a job."""
    stage, attempt = job.status.stage, job.status.attempt
    subject: dict[str, object] = {"namespace": job.namespace, "name": job.name, "uid": job.uid}
    if stage:
        subject |= {"stage": stage, "attempt": attempt}
    token = _subject.set(subject)
    try:
        yield
    finally:
        _subject.reset(token)


def log_to(stream: TextIO, *, level: int = logging.INFO) -> None:
    """Send all records to a stream, as JSON lines; those of kopf only where something is wrong."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter(_subject.get))
    root = logging.getLogger()
    for earlier in list(root.handlers):
        root.removeHandler(earlier)
    root.addHandler(handler)
    root.setLevel(level)
    logging.getLogger("kopf").setLevel(logging.WARNING)
    logging.getLogger("aiohttp.access").setLevel(logging.WARNING)
