"""Log lines: what is in them, and what never is."""

import json
import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubedistill.logs import JsonFormatter, hide_credentials
from kubedistill.printing import printable_line


def line(formatter: JsonFormatter, message: str = "hello", *, logger: str = "a", **extra: object) -> dict[str, object]:
    record = logging.makeLogRecord({"name": logger, "msg": message, "levelname": "INFO", "created": 0.25, **extra})
    found: dict[str, object] = json.loads(formatter.format(record))
    return found


def test_a_line_says_when_what_and_of_whom() -> None:
    assert line(JsonFormatter(lambda: {"name": "support"})) == {
        "at": "1970-01-01T00:00:00.250Z",
        "level": "INFO",
        "logger": "a",
        "message": "hello",
        "name": "support",
    }


def test_our_own_fields_are_kept_and_those_of_libraries_are_not() -> None:
    formatter = JsonFormatter()
    assert "settings" not in line(formatter, settings=object())
    assert "_ray" not in line(formatter, logger="kubedistill_runtime.driver", _ray=1)
    assert line(formatter, logger="kubedistill_runtime.driver", outcome="Failed")["outcome"] == "Failed"
    assert line(formatter, stage="Train")["stage"] == "Train"


def test_no_part_of_a_line_holds_a_credential() -> None:
    class Problem:
        def __str__(self) -> str:
            return "password=hunter2"

    found = line(
        JsonFormatter(),
        "token=hunter2",
        logger="kubedistill_runtime.driver",
        problem="secret: hunter2",
        error=Problem(),
    )
    assert "hunter2" not in json.dumps(found)


HIDDEN = [
    ("Authorization: Bearer abcdef0123456789", "Authorization: Bearer <hidden>"),
    ("got eyJhbGciOi.eyJpc3MiOi.c2lnbmF0dXJl back", "got <hidden> back"),
    ("api_key=sk-12345", "api_key=<hidden>"),
    ('{"password": "hunter2"}', '{"password": "<hidden>"}'),
    ("https://user:hunter2@host/path", "https://user:<hidden>@host/path"),
    ("token: abc, next", "token: <hidden>, next"),
    ("HF_TOKEN=abc next", "HF_TOKEN=<hidden> next"),
    ("401 for hf_abcdefghijklmnopqrstuvwxyz", "401 for <hidden>"),
    ("sk-proj-abcdefghijklmnop was refused", "<hidden> was refused"),
    ("aws_secret_access_key = abc/def+g", "aws_secret_access_key = <hidden>"),
    ("aws_access_key_id: abc", "aws_access_key_id: <hidden>"),
    ("signed by AKIAIOSFODNN7EXAMPLE", "signed by <hidden>"),
]


@pytest.mark.parametrize(("text", "expected"), HIDDEN)
def test_what_looks_like_a_credential_is_hidden(text: str, expected: str) -> None:
    assert hide_credentials(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "max tokens reached",
        "ConfigMap support-train-abcde-out",
        "Secret hf not found",
        "the bearer of bad news",
        "a: b",
        "tokens: 12, 30 tokens/s",
        "key: 0b3c7b34 is complete",
        "task-classification-of-support-requests",
    ],
)
def test_what_is_none_stays(text: str) -> None:
    assert hide_credentials(text) == text


@given(message=st.text())
def test_a_line_is_one_line_without_control_characters(message: str) -> None:
    record = logging.LogRecord("kubedistill", logging.INFO, "", 0, "%s", (message,), None)
    line = JsonFormatter().format(record)
    assert printable_line(line) == line
    assert json.loads(line)["message"] == hide_credentials(message)
