"""Root causes: the first error of a chain, in one readable line."""

import re
from collections.abc import Sequence

from pydantic import ValidationError
from pydantic_core import ErrorDetails

_COLORS = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_LONGEST = 400
"""Characters; vLLM lists all known architectures if it does not know one."""


_BARE = (LookupError, StopIteration, StopAsyncIteration)
"""Errors whose text is at most a key, so the error raised from them says more."""


def find_root_cause(error: BaseException) -> BaseException:
    """Return the innermost error of a chain.

    The links are Ray's `cause`, the one of `raise ... from ...`, and the error that a pydantic validator raised.
    """
    return _chain(error)[-1]


def describe_cause(error: BaseException) -> str:
    """Return the line of the root cause, without color codes.

    If the cause has no description, such as a KeyError, it is the line of the error raised from it, or the type and the
    line. The line of a pydantic error includes its field.
    """
    chain = _chain(error)
    root, line = chain[-1], _own_line(chain)
    if isinstance(root, _BARE) or not line:
        outer = (_line(one) for one in reversed(chain[:-1]) if not _relays(one) and not isinstance(one, _BARE))
        name = type(root).__name__
        line = next(filter(None, outer), f"{name}: {line}" if line else name)
    return _cut(line)


def name_cause(error: BaseException) -> str:
    """Return the type and the line of the root cause, such as `KeyError: 'lm_head.bias'`."""
    chain = _chain(error)
    name = type(chain[-1]).__name__
    return f"{name}: {_cut(_own_line(chain) or name)}"


def first_line(error: BaseException) -> str:
    """Return the first line of an error's text, or its type if it has no text."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def _chain(error: BaseException) -> list[BaseException]:
    """Return an error and its causes, the innermost one last."""
    chain, seen = [error], {id(error)}
    while (cause := _cause(chain[-1])) is not None and id(cause) not in seen:
        chain.append(cause)
        seen.add(id(cause))
    return chain


def _cause(error: BaseException) -> BaseException | None:
    found = getattr(error, "cause", None)  # a KubedistillError's `cause` is a string
    if isinstance(found, BaseException):
        return found
    if isinstance(error, ValidationError) and (raised := _raised(_problem(error))) is not None:
        return raised
    return error.__cause__


def _own_line(chain: Sequence[BaseException]) -> str:
    """Return the line of the innermost error; for an error that a pydantic validator raised, with its field."""
    line = _line(chain[-1])
    return f"{_field(chain[-2])}{line}" if len(chain) > 1 and isinstance(chain[-2], ValidationError) else line


def _line(error: BaseException) -> str:
    """Return the line that says what is wrong; empty if there is none."""
    if isinstance(error, ValidationError):  # its text begins with a count and ends with a URL
        return f"{_field(error)}{_problem(error)['msg']}"
    lines = _lines(error)
    # Ray's text is a traceback, whose last line is the error; any other error has it in the first line.
    return "" if not lines else lines[-1] if _is_traceback(lines) else lines[0]


def _cut(line: str) -> str:
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]}…"


def _lines(error: BaseException) -> list[str]:
    return [line.strip() for line in _COLORS.sub("", str(error)).splitlines() if line.strip()]


def _problem(error: ValidationError) -> ErrorDetails:
    """Return the problem to report: the first one that a validator raised, otherwise the first one."""
    problems = error.errors()
    return next((one for one in problems if _raised(one) is not None), problems[0])


def _raised(problem: ErrorDetails) -> BaseException | None:
    raised = problem.get("ctx", {}).get("error")
    return raised if isinstance(raised, BaseException) else None


def _field(error: ValidationError) -> str:
    """Return the number of problems, if more than one, and the field of the reported one: `2 errors: a.0.b: `."""
    count = f"{error.error_count()} errors: " if error.error_count() > 1 else ""
    field = ".".join(str(part) for part in _problem(error)["loc"])
    return f"{count}{field}: " if field else count


def _relays(error: BaseException) -> bool:
    """Return whether an error's text is only the traceback of its cause, as with Ray's errors."""
    return _is_traceback(_lines(error))


def _is_traceback(lines: list[str]) -> bool:
    return any(line.startswith(("Traceback (most recent call last)", "ray::")) for line in lines)
