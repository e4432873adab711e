"""Logs: one JSON object a line, with the same keys in every process."""

import json
import logging
from pathlib import Path

from kubedistill_runtime.progress import now

_STANDARD = set(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class JsonFormatter(logging.Formatter):
    """Turns a log record and its extra fields into one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """Encode a record; the traceback, where there is one, is a field."""
        fields = {key: value for key, value in vars(record).items() if key not in _STANDARD}
        line = {"at": now(), "level": record.levelname, "logger": record.name, "message": record.getMessage(), **fields}
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def log_to(path: Path | None) -> None:
    """Send the root logger's records to a file, or to standard error."""
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
    handler = logging.FileHandler(path) if path else logging.StreamHandler()
    handler.setFormatter(JsonFormatter())
    root = logging.getLogger()
    for earlier in list(root.handlers):
        root.removeHandler(earlier)
        earlier.close()
    root.addHandler(handler)
    root.setLevel(logging.INFO)
