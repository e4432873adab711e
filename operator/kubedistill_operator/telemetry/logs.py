"""Logs: lines of JSON on a stream, each with the job, stage and attempt that it is about."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TextIO

from kubedistill.logs import JsonFormatter, Subject
from kubedistill_operator.job import Job, Key

_subject: ContextVar[Subject] = ContextVar("subject", default={})  # noqa: B039  # replaced, never changed


@contextmanager
def log_context(key: Key) -> Iterator[None]:
    """Add a job to every line that is logged inside."""
    namespace, name = key
    token = _subject.set({"namespace": namespace, "name": name})
    try:
        yield
    finally:
        _subject.reset(token)


def log_attempt(job: Job) -> None:
    """Add the job's attempt to the following lines too, until `log_context` ends; lines about its failure included."""
    stage, attempt = job.status.stage, job.status.attempt
    known: Subject = {"namespace": job.namespace, "name": job.name, "uid": job.uid}
    _subject.set({**known, "stage": stage, "attempt": attempt} if stage else known)


def subject() -> Subject:
    """Return the job, stage and attempt of the current lines."""
    return _subject.get()


def log_to(stream: TextIO, *, level: int = logging.INFO) -> None:
    """Log all records to a stream, as JSON lines; of kopf's, only warnings and errors."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter(subject))
    root = logging.getLogger()
    for earlier in list(root.handlers):
        root.removeHandler(earlier)
    root.addHandler(handler)
    root.setLevel(level)
    logging.getLogger("kopf").setLevel(logging.WARNING)
    logging.getLogger("aiohttp.access").setLevel(logging.WARNING)
