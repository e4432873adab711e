"""JSON values as types: what JSON text holds once it is read."""

from collections.abc import Mapping, Sequence
from typing import TypeAlias

Json: TypeAlias = bool | int | float | str | Sequence["Json"] | Mapping[str, "Json"] | None
"""Any JSON value, for whoever only reads it; `isinstance` tells what it is."""
JsonObject: TypeAlias = dict[str, Json]
"""A JSON object whose fields may be changed."""


def as_object(value: Json) -> Mapping[str, Json]:
    """Return a value that is an object; an empty one in place of anything else."""
    return value if isinstance(value, Mapping) else {}
