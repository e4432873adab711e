"""Root causes: what went wrong first, in one line that a person can read."""

import re

from pydantic import ValidationError
from pydantic_core import ErrorDetails

_COLORS = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_LONGEST = 400
"""Characters; vLLM lists all architectures that it knows where it knows one not."""


def find_root_cause(error: BaseException) -> BaseException:
    """Return the innermost error of a chain.

    The links are Ray's `cause`, the one of `raise ... from ...`, and the error that a pydantic validator raised.
    """
    seen = {id(error)}
    while (cause := _cause(error)) is not None and id(cause) not in seen:
        error = cause
        seen.add(id(error))
    return error


def describe_cause(error: BaseException) -> str:
    """Return the root cause's own line, without color codes, and its type where it has no words."""
    root = find_root_cause(error)
    lines = [line.strip() for line in _COLORS.sub("", _text(root)).splitlines() if line.strip()]
    if not lines:
        return type(root).__name__
    # Ray's text is a traceback, whose last line is the error; any other error says it in its first line.
    line = lines[-1] if _is_traceback(lines) else lines[0]
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]}…"


def _cause(error: BaseException) -> BaseException | None:
    found = getattr(error, "cause", None)  # a KubedistillError's `cause` is a string
    if isinstance(found, BaseException):
        return found
    for problem in _problems(error):
        if isinstance(raised := problem.get("ctx", {}).get("error"), BaseException):
            return raised
    return error.__cause__


def _text(error: BaseException) -> str:
    problems = _problems(error)
    return str(problems[0]["msg"]) if problems else str(error)


def _problems(error: BaseException) -> list[ErrorDetails]:
    """What a pydantic ValidationError lists; its own text begins with a count and ends with a URL."""
    return error.errors() if isinstance(error, ValidationError) else []


def _is_traceback(lines: list[str]) -> bool:
    return any(line.startswith(("Traceback (most recent call last)", "ray::")) for line in lines)
