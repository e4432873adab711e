"""Sums of numbers of which some may not be known."""

from collections.abc import Sequence
from typing import TypeVar

_Number = TypeVar("_Number", int, float)


def sum_known(values: Sequence[_Number | None]) -> _Number | None:
    """Return the sum, or None if one of the values is not known."""
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) else None
