"""Logs: one JSON object a line, which says of what job, stage and attempt it speaks, and holds no credentials."""

import json
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Final, TextIO

from kubedistill_operator.job import Job

_STANDARD: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_OURS: Final = ("namespace", "name", "uid", "stage", "attempt")
_CREDENTIALS: Final = (
    (re.compile(r"(?i)\b(bearer|basic) +[\w\-.~+/=]{8,}"), r"\1 <hidden>"),
    (re.compile(r"\beyJ[\w\-]+\.[\w\-]+\.[\w\-]+"), "<hidden>"),  # a JWT, such as a ServiceAccount's token
    (re.compile(r"(?i)\b((?:api[_-]?key|token|password|secret)['\"]?\s*[=:]\s*['\"]?)[^\s'\",;&]+"), r"\1<hidden>"),
    (re.compile(r"(://[^/\s:@]+:)[^/\s@]+@"), r"\1<hidden>@"),
)
_about: ContextVar[dict[str, object]] = ContextVar("about", default={})  # noqa: B039  # never changed, only replaced


class JsonFormatter(logging.Formatter):
    """Turns a record, and the job that is being looked at, into one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """Encode a record; the traceback, where there is one, is a field."""
        # kopf and others bring fields of their own, which may hold whole objects: only those with our names are kept.
        fields = {name: value for name, value in vars(record).items() if name in _OURS and name not in _STANDARD}
        line: dict[str, object] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": hide_credentials(record.getMessage()),
            **_about.get(),
            **fields,
        }
        if record.exc_info:
            line["traceback"] = hide_credentials(self.formatException(record.exc_info))
        return json.dumps(line, default=str, ensure_ascii=False)


def hide_credentials(text: str) -> str:
    """A text in which whatever looks like a credential is hidden."""
    for pattern, replacement in _CREDENTIALS:
        text = pattern.sub(replacement, text)
    return text


@contextmanager
def about(job: Job) -> Iterator[None]:
    """Have every line that is written inside speak of a job."""
    stage, attempt = job.status.stage, job.status.attempt
    fields: dict[str, object] = {"namespace": job.namespace, "name": job.name, "uid": job.uid}
    if stage:
        fields |= {"stage": stage, "attempt": attempt}
    token = _about.set(fields)
    try:
        yield
    finally:
        _about.reset(token)


def log_to(stream: TextIO, *, level: int = logging.INFO) -> None:
    """Send all records to a stream, as JSON lines; those of kopf only where something is wrong."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter())
    root = logging.getLogger()
    for earlier in list(root.handlers):
        root.removeHandler(earlier)
    root.addHandler(handler)
    root.setLevel(level)
    logging.getLogger("kopf").setLevel(logging.WARNING)
    logging.getLogger("aiohttp.access").setLevel(logging.WARNING)
