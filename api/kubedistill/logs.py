"""Logs of the operator and the drivers: one JSON object per line, without credentials.

Every line has at, level, logger and message; a line about a job also has the keys of SUBJECT.
"""

import json
import logging
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Final

from kubedistill.json_values import Json
from kubedistill.printing import printable_line

SUBJECT: Final = ("namespace", "name", "uid", "stage", "attempt")
"""The job, stage and attempt that a line is about."""
_STANDARD: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_OURS: Final = "kubedistill"
_CREDENTIALS: Final = (
    (re.compile(r"(?i)\b(bearer|basic) +[\w\-.~+/=]{8,}"), r"\1 <hidden>"),
    (re.compile(r"\beyJ[\w\-]+\.[\w\-]+\.[\w\-]+"), "<hidden>"),  # a JWT, such as a ServiceAccount's token
    (re.compile(r"\b(?:sk-|hf_|ghp_|xox[bp]-)[\w\-]{16,}"), "<hidden>"),
    (re.compile(r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"), "<hidden>"),
    (
        re.compile(
            r"(?i)\b((?:\w*(?:api|access|secret)[_-]?key(?:[_-]id)?|\w*token|password|secret)"
            r"['\"]?\s*[=:]\s*['\"]?)[^\s'\",;&]+"
        ),
        r"\1<hidden>",
    ),
    (re.compile(r"(://[^/\s:@]+:)[^/\s@]+@"), r"\1<hidden>@"),
)

Subject = Mapping[str, Json]


class JsonFormatter(logging.Formatter):
    """Formats a record and its subject as one line of JSON."""

    def __init__(self, subject: Callable[[], Subject] = dict) -> None:
        super().__init__()
        self._subject = subject

    def format(self, record: logging.LogRecord) -> str:
        """Encode a record; its traceback becomes a field."""
        line: dict[str, object] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname,
            "logger": record.name,
            "message": hide_credentials(record.getMessage()),
            **self._subject(),
            **{name: _hidden(value) for name, value in vars(record).items() if _is_field(name, record.name)},
        }
        if record.exc_info:
            line["traceback"] = hide_credentials(self.formatException(record.exc_info))
        return printable_line(json.dumps(line, default=lambda value: hide_credentials(str(value))))


def hide_credentials(text: str) -> str:
    """Return text in which everything that looks like a credential is hidden."""
    for pattern, replacement in _CREDENTIALS:
        text = pattern.sub(replacement, text)
    return text


def _is_field(name: str, logger: str) -> bool:
    """Return whether an attribute of a record is a field of its line; libraries attach whole objects to records."""
    if name in _STANDARD or name.startswith("_"):
        return False
    return name in SUBJECT or logger.startswith(_OURS)


def _hidden(value: object) -> object:
    return hide_credentials(value) if isinstance(value, str) else value
