"""Explanation of pydantic's errors: sentences that name the field, what is wrong, and the fix."""

import difflib
import json
import re
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

Location = tuple[int | str, ...]

_MAX_PROBLEMS = 10
_KEYS = ("apikey", "key", "token", "secret", "password")
"""Names, in lower case, of what a user may take for the field of an API key."""
_CREDENTIALS = re.compile(r"://[^/?#\s]*@")
_FIXES = {
    "string_type": "Put it in quotes",
    "int_type": "Write a whole number",
    "float_type": "Write a number",
    "bool_type": "Write true or false",
    "tuple_type": "Write a list: a dash before each item",
    "model_type": "Write a mapping of fields",
    "dict_type": "Write a mapping, not a string",
    "finite_number": "Write a finite number",
    "string_pattern_mismatch": "Write it in that form",
    "one_line": "Remove line breaks, tabs and escape sequences",
    "some_lines": "Remove escape sequences and carriage returns",
    "object_name": "Use lower case letters, digits, - and .",
    "data_key": "Use letters, digits, -, _ and .",
    "http_url": "Write it as https://host/path; an API key belongs in a Secret",
}


@dataclass(frozen=True, slots=True)
class Problem:
    """One problem: where it is, what is wrong, and the fix."""

    at: str
    problem: str
    fix: str

    def __str__(self) -> str:
        return f"{self.at}: {self.problem}. {self.fix}" if self.at else f"{self.problem}. {self.fix}"


def field_path(location: Location) -> str:
    """Return a location in the form spec.teachers[0].model.source."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location)
    return text.removeprefix(".")


def find_problem(
    error: ValidationError, *, model: type[BaseModel], place: Callable[[Location], str] = field_path
) -> Problem:
    """Return the most important problem of a model; its fix is followed by further problems, one per line."""
    found = _by_importance(error.errors())
    first, *others = [_explain(one, model=model, place=place) for one in found[:_MAX_PROBLEMS]]
    rest = "".join(f"\n{other}" for other in others)
    if len(found) > _MAX_PROBLEMS:
        rest += f"\nand {len(found) - _MAX_PROBLEMS} more"
    return Problem(first.at, first.problem, f"{first.fix}{rest}")


def quote_value(value: Any) -> str:
    """Return a value in the form in which messages quote it: shortened, and without the password of a URL."""
    text = _CREDENTIALS.sub("://...@", json.dumps(value, ensure_ascii=False, default=str))
    return text if len(text) <= 60 else f"{text[:57]}..."


def _by_importance(errors: Sequence[ErrorDetails]) -> list[ErrorDetails]:
    """Sort errors: unknown fields before missing ones, which they may explain; omit lists that lack only a bad item."""
    places = [error["loc"] for error in errors]
    real = [
        error
        for error in errors
        if error["type"] != "too_short" or not any(_is_below(place, error["loc"]) for place in places)
    ]
    return sorted(real, key=lambda error: error["type"] == "missing")


def _is_below(place: Location, other: Location) -> bool:
    return len(place) > len(other) and place[: len(other)] == other


def _explain(error: ErrorDetails, *, model: type[BaseModel], place: Callable[[Location], str]) -> Problem:
    """Return the problem and the fix for one error of pydantic."""
    location, context = error["loc"], error.get("ctx", {})
    problem, fix = error["msg"], _FIXES.get(error["type"], "Choose a value within the limit")
    if error["type"] == "extra_forbidden":
        problem, fix = explain_unknown(str(location[-1]), known=_known_fields(location[:-1], model=model))
    elif error["type"] == "missing":
        problem, fix = "the required field is missing", f"Add `{location[-1]}`"
    elif error["type"] == "literal_error":
        problem = f"{quote_value(error['input'])} is not one of {context['expected']}"
        near = difflib.get_close_matches(str(error["input"]), _quoted(context["expected"]), n=1)
        fix = f"Did you mean {near[0]}?" if near else "Choose one of them"
    elif error["type"] == "value_error":
        problem, _, fix = str(context["error"]).partition("; ")
        fix = (fix[:1].upper() + fix[1:]) or "Correct it"
    else:
        if error["type"] in ("too_short", "too_long"):
            problem = problem.replace("Tuple", "List").replace(" after validation", "")
        problem = f"{problem[:1].lower()}{problem[1:]}, and it is {quote_value(error['input'])}"
        fix = "Give it a value, or remove it" if error["input"] is None else fix
    return Problem(place(location), problem, fix)


def explain_unknown(field: str, *, known: Sequence[str]) -> tuple[str, str]:
    """Return the problem and the fix for an unknown field."""
    if "secretKeyRef" in known and field.lower().replace("_", "") in _KEYS:
        return f"unknown field `{field}`", "Put the key into a Secret, and name that as `secretKeyRef`"
    near = difflib.get_close_matches(field, known, n=1, cutoff=0.5)
    fix = f"Did you mean `{near[0]}`?" if near else f"Use one of {', '.join(known)}"
    return f"unknown field `{field}`", fix


def _quoted(expected: str) -> list[str]:
    return [part.strip(" '") for part in expected.replace(" or ", ",").split(",")]


def _known_fields(location: Location, *, model: type[BaseModel]) -> list[str]:
    """Return the names of the fields of the object at a location, as in a manifest."""
    kind: Any = model
    for part in location:
        kind = _element(kind) if isinstance(part, int) else _member(kind, str(part))
    return list(_fields(kind))


def _fields(kind: Any) -> Mapping[str, Any]:
    """Return the types of a model's fields by their names in a manifest."""
    model = _model(kind)
    if model is None:
        return {}
    return {field.alias or name: field.annotation for name, field in model.model_fields.items()}


def _model(kind: Any) -> type[BaseModel] | None:
    """Return the model in a type, which may be optional; None if there is none."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return kind
    if typing.get_origin(kind) in (types.UnionType, typing.Union):
        return next((model for one in typing.get_args(kind) if (model := _model(one))), None)
    return None


def _member(kind: Any, name: str) -> Any:
    """Return the type of a field of a model, or of the values of a mapping."""
    if typing.get_origin(kind) is dict:
        return typing.get_args(kind)[1]
    return _fields(kind).get(name)


def _element(kind: Any) -> Any:
    """Return the type of the items of a list."""
    arguments = typing.get_args(kind)
    return arguments[0] if arguments else None
