"""Patterns: regular expressions of a manifest, matched in linear time whatever the string."""

from collections.abc import Callable
from functools import lru_cache
from typing import Annotated

from pydantic import StringConstraints, TypeAdapter, ValidationError
from pydantic_core import SchemaError

Matches = Callable[[str], bool]
"""Whether a string matches a pattern."""


@lru_cache(maxsize=256)
def compile_pattern(pattern: str, *, whole: bool) -> Matches:
    """Return the function that says whether a string, or without `whole` a part of it, matches a pattern.

    The syntax is that of RE2, without look-around and backreferences, so that no pattern takes exponential time: the
    engine is pydantic's, which is Rust's. Raises ValueError, with the cause, for anything else.
    """
    adapter = _compile(pattern)  # alone, since `a)|(b` would be a pattern within parentheses
    if whole:
        adapter = _compile(rf"\A(?:{pattern})\z")
    return lambda text: _matches(adapter, text)


def _compile(pattern: str) -> TypeAdapter[str]:
    try:
        return TypeAdapter(Annotated[str, StringConstraints(pattern=pattern, strict=True)])
    except SchemaError as error:
        cause = str(error).strip().splitlines()[-1].strip().removeprefix("error: ")
        raise ValueError(f"not a regular expression in the syntax of RE2 ({cause})") from error


def _matches(adapter: TypeAdapter[str], text: str) -> bool:
    try:
        adapter.validate_python(text)
    except ValidationError:  # it does not match, or it has half a surrogate pair, which no pattern does
        return False
    return True
