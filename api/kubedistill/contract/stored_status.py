"""Reading and writing of the stored status, under the field names of two minor versions.

A row of RENAMES renames a field: both names are read and written, and the schema keeps the old one. If a value is not
known to this version, the operator does not act on the job; only derived fields with such a value are ignored.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from kubedistill.json_values import Json, JsonObject, as_object
from kubedistill.manifest.problems import Location, field_path, find_problem
from kubedistill.stored import read_stored
from kubedistill.v1alpha1 import Status

NOT_UNDERSTOOD: Final = "StatusNotUnderstood"
"""Reason of condition Stalled while the operator does not act on a job that another version wrote."""
DERIVED: Final = frozenset({"phase", "stage", "progress", "attempt", "message", "eta", "gpuHours", "dollars"})
"""Fields that the operator derives from other fields at every write."""


@dataclass(frozen=True, slots=True)
class Rename:
    """A renamed field of the status."""

    within: tuple[str, ...]
    """Path from the status to the object with the field; a list in the path means each of its items."""
    old: str
    new: str
    since: str
    """The version that renamed it; the second minor version after it may drop the old name."""


RENAMES: Final = (
    Rename((), "honoured", "handledRequests", since="0.2"),
    Rename(("run",), "rewound", "rebuilt", since="0.2"),
)


@dataclass(frozen=True, slots=True)
class StoredStatus:
    """The readable part of a status."""

    status: Status
    problem: str = ""
    """The field that this version does not understand, and its value; empty if it understands all fields."""


def read_status(values: Json, *, renames: tuple[Rename, ...] = RENAMES) -> StoredStatus:
    """Read a stored status, and ignore unknown fields; never raises."""
    left: Json = with_new_names(values, renames=renames) if isinstance(values, Mapping) else {}
    problem = ""
    while True:
        try:
            return StoredStatus(read_stored(Status, left), problem)
        except ValidationError as error:
            found = error.errors()
            derived = [one for one in found if one["loc"] and one["loc"][0] in DERIVED]
            problem = problem or ("" if derived else _describe(error))
            before, left = left, _without(left, derived or found)
            if left == before:  # not even JSON
                return StoredStatus(Status(), problem)


def with_new_names(values: Mapping[str, Json], *, renames: tuple[Rename, ...] = RENAMES) -> JsonObject:
    """Return a stored status under only the new names."""
    for rename in renames:
        values = as_object(_change(values, rename.within, partial(_united, rename=rename)))
    return dict(values)


def with_both_names(values: Mapping[str, Json], *, renames: tuple[Rename, ...] = RENAMES) -> JsonObject:
    """Return a status with the old names in addition to the new ones."""
    for rename in renames:
        values = as_object(_change(values, rename.within, partial(_doubled, rename=rename)))
    return dict(values)


def _change(values: Json, within: tuple[str, ...], change: Callable[[Mapping[str, Json]], Mapping[str, Json]]) -> Json:
    """Apply a change to the object, or to each object in a list, at a path."""
    if isinstance(values, list):
        return [_change(one, within, change) for one in values]
    if not isinstance(values, Mapping):
        return values
    if not within:
        return change(values)
    return {**values, within[0]: _change(values[within[0]], within[1:], change)} if within[0] in values else values


def _united(values: Mapping[str, Json], *, rename: Rename) -> Mapping[str, Json]:
    """Return the values with a renamed field under only its new name.

    Both names are written together, so where they differ, a version that knows only the old name wrote last: its value
    counts. A list may have lost items there that only the new name still has, so lists are joined.
    """
    if rename.old not in values:
        return values
    old, new = values[rename.old], values.get(rename.new)
    if isinstance(old, list) and isinstance(new, list):
        old = [*new, *(one for one in old if one not in new)]
    kept = {name: value for name, value in values.items() if name != rename.old}
    return {**kept, rename.new: old}


def _doubled(values: Mapping[str, Json], *, rename: Rename) -> Mapping[str, Json]:
    """Return the values with a renamed field under its old name too."""
    return {**values, rename.old: values[rename.new]} if rename.new in values else values


def _describe(error: ValidationError) -> str:
    found = find_problem(error, model=Status, place=lambda location: field_path(("status", *location)))
    return f"{found.at}: {found.problem}"


def _without(values: Json, errors: list[ErrorDetails]) -> Json:
    """Return the values without invalid ones; an object without a required field is removed completely."""
    places = {error["loc"][:-1] if error["type"] == "missing" else error["loc"] for error in errors}
    return _pruned(values, places, ())


def _pruned(value: Json, places: set[Location], at: Location) -> Json:
    """Return a value without the parts at these places."""
    if isinstance(value, list):
        return [_pruned(one, places, (*at, index)) for index, one in enumerate(value) if (*at, index) not in places]
    if isinstance(value, Mapping):
        return {name: _pruned(one, places, (*at, name)) for name, one in value.items() if (*at, name) not in places}
    return value
