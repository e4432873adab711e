"""The stored status: read and written under the names of two minor versions, and never guessed at.

A field is renamed by a row of RENAMES: both names are read, both are written, and the schema keeps the old one. A value
that this version does not know stops whoever would act on it; only what is derived at every write is left out.
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
DERIVED: Final = frozenset({"phase", "stage", "progress", "attempt", "message", "eta", "gpuHours"})
"""Fields that every write derives again from the others."""


@dataclass(frozen=True, slots=True)
class Rename:
    """A field of the status that got another name."""

    within: tuple[str, ...]
    """Fields that lead from the status to the object that has it; a list stands for each of its items."""
    old: str
    new: str
    since: str
    """The version that renamed it; the second minor version after it may forget the old name."""


RENAMES: Final = (
    Rename((), "honoured", "handledRequests", since="0.2"),
    Rename(("run",), "rewound", "rebuilt", since="0.2"),
)


@dataclass(frozen=True, slots=True)
class StoredStatus:
    """A status as far as it could be read."""

    status: Status
    problem: str = ""
    """The field that this version does not understand, and its value; empty where it understands all."""


def read_status(values: Json, *, renames: tuple[Rename, ...] = RENAMES) -> StoredStatus:
    """Read a stored status; unknown fields are ignored, and nothing in it raises."""
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
    """Return a stored status under the new names alone."""
    for rename in renames:
        values = as_object(_change(values, rename.within, partial(_united, rename=rename)))
    return dict(values)


def with_both_names(values: Mapping[str, Json], *, renames: tuple[Rename, ...] = RENAMES) -> JsonObject:
    """A status that was written under the new names, under the old ones too."""
    for rename in renames:
        values = as_object(_change(values, rename.within, partial(_doubled, rename=rename)))
    return dict(values)


def _change(values: Json, within: tuple[str, ...], change: Callable[[Mapping[str, Json]], Mapping[str, Json]]) -> Json:
    if isinstance(values, list):
        return [_change(one, within, change) for one in values]
    if not isinstance(values, Mapping):
        return values
    if not within:
        return change(values)
    return {**values, within[0]: _change(values[within[0]], within[1:], change)} if within[0] in values else values


def _united(values: Mapping[str, Json], *, rename: Rename) -> Mapping[str, Json]:
    """Return the values with a renamed field under its new name alone.

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
    return {**values, rename.old: values[rename.new]} if rename.new in values else values


def _describe(error: ValidationError) -> str:
    found = find_problem(error, model=Status, place=lambda location: field_path(("status", *location)))
    return f"{found.at}: {found.problem}"


def _without(values: Json, errors: list[ErrorDetails]) -> Json:
    """The values without those that were refused; an object that lacks a required field goes whole."""
    places = {error["loc"][:-1] if error["type"] == "missing" else error["loc"] for error in errors}
    return _pruned(values, places, ())


def _pruned(value: Json, places: set[Location], at: Location) -> Json:
    if isinstance(value, list):
        return [_pruned(one, places, (*at, index)) for index, one in enumerate(value) if (*at, index) not in places]
    if isinstance(value, Mapping):
        return {name: _pruned(one, places, (*at, name)) for name, one in value.items() if (*at, name) not in places}
    return value
