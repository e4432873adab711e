"""Logs: lines of JSON on a stream, each of which says of what job, stage and attempt it speaks."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TextIO

from kubedistill.logs import JsonFormatter, Subject
from kubedistill_operator.job import Job, Key

_subject: ContextVar[Subject] = ContextVar("subject", default={})  # noqa: B039  # never changed, only replaced


@contextmanager
def about(key: Key) -> Iterator[None]:
    """Have every line that is written inside speak of a job."""
    namespace, name = key
    token = _subject.set({"namespace": namespace, "name": name})
    try:
        yield
    finally:
        _subject.reset(token)


def about_attempt(job: Job) -> None:
    """Have the lines that follow speak of its attempt too, also those about its failure, until `about` ends."""
    stage, attempt = job.status.stage, job.status.attempt
    known: Subject = {"namespace": job.namespace, "name": job.name, "uid": job.uid}
    _subject.set({**known, "stage": stage, "attempt": attempt} if stage else known)


def subject() -> Subject:
    """Of what lines speak now."""
    return _subject.get()


def log_to(stream: TextIO, *, level: int = logging.INFO) -> None:
    """Send all records to a stream, as JSON lines; those of kopf only where something is wrong."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter(subject))
    root = logging.getLogger()
    for earlier in list(root.handlers):
        root.removeHandler(earlier)
    root.addHandler(handler)
    root.setLevel(level)
    logging.getLogger("kopf").setLevel(logging.WARNING)
    logging.getLogger("aiohttp.access").setLevel(logging.WARNING)
