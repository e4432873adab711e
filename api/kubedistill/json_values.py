"""Types of JSON values."""

from collections.abc import Mapping, Sequence
from typing import TypeAlias

Json: TypeAlias = bool | int | float | str | Sequence["Json"] | Mapping[str, "Json"] | None
"""Any JSON value, for code that only reads it; check its type with `isinstance`."""
JsonObject: TypeAlias = dict[str, Json]
"""A JSON object that can be changed."""


def as_object(value: Json) -> Mapping[str, Json]:
    """Return a value if it is an object, otherwise an empty object."""
    return value if isinstance(value, Mapping) else {}
