"""The manifest door: a YAML file becomes a DistillationJob, or one clear message says why not."""

import difflib
import json
import types
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from kubedistill.document import Document, Location, read_document
from kubedistill.errors import InvalidManifest
from kubedistill.v1alpha1 import API_VERSION, KIND, DistillationJob

_MOST_PROBLEMS = 10
_FIXES = {
    "string_type": "Put it in quotes",
    "int_type": "Write a whole number",
    "float_type": "Write a number",
    "bool_type": "Write true or false",
    "tuple_type": "Write a list: a dash before each item",
    "model_type": "Write a mapping of fields",
    "finite_number": "Write a finite number",
    "string_pattern_mismatch": "Use lower-case letters, digits and dashes",
}


def load_manifest(path: Path) -> DistillationJob:
    """Read a DistillationJob from a YAML 1.2 file (so 2e-5 is a number).

    Raises InvalidManifest with file, line, field path, problem and fix; further problems follow, a line each.
    """
    document = read_document(path)
    for field, wanted in (("kind", KIND), ("apiVersion", API_VERSION)):
        if (found := document.values.get(field)) != wanted:
            problem = f"{_shown(found)} is not {wanted}" if found is not None else "the field is required, and missing"
            raise InvalidManifest(problem, at=document.place((field,)), fix=f"Write {field}: {wanted}")
    try:
        return DistillationJob.model_validate_json(json.dumps(document.values), by_alias=True, by_name=False)
    except ValidationError as error:
        problems = _by_importance(error.errors())
        first, *others = [_explain(one, document=document) for one in problems[:_MOST_PROBLEMS]]
        rest = "".join(f"\n{other}" for other in others)
        if len(problems) > _MOST_PROBLEMS:
            rest += f"\nand {len(problems) - _MOST_PROBLEMS} more"
        raise InvalidManifest(first.problem, at=first.at, fix=f"{first.fix}{rest}") from error


def _by_importance(errors: Sequence[ErrorDetails]) -> list[ErrorDetails]:
    """A misspelt field before the required field that it leaves missing, and no list that is short of a bad item."""
    places = [error["loc"] for error in errors]
    real = [
        error
        for error in errors
        if error["type"] != "too_short" or not any(_is_below(place, error["loc"]) for place in places)
    ]
    return sorted(real, key=lambda error: error["type"] == "missing")


def _is_below(place: Location, other: Location) -> bool:
    return len(place) > len(other) and place[: len(other)] == other


def _explain(error: ErrorDetails, *, document: Document) -> InvalidManifest:
    location, context = error["loc"], error.get("ctx", {})
    problem, fix = error["msg"], _FIXES.get(error["type"], "Choose a value within the limit")
    if error["type"] == "extra_forbidden":
        known = _known_fields(location[:-1])
        near = difflib.get_close_matches(str(location[-1]), known, n=1, cutoff=0.5)
        problem = f"unknown field `{location[-1]}`"
        fix = f"Did you mean `{near[0]}`?" if near else f"The fields here are {', '.join(known)}"
    elif error["type"] == "missing":
        problem, fix = "the field is required, and missing", f"Add `{location[-1]}`"
    elif error["type"] == "literal_error":
        problem = f"{_shown(error['input'])} is not one of {context['expected']}"
        near = difflib.get_close_matches(str(error["input"]), _quoted(context["expected"]), n=1)
        fix = f"Did you mean {near[0]}?" if near else "Choose one of them"
    elif error["type"] == "value_error":
        problem, _, fix = str(context["error"]).partition("; ")
        fix = (fix[:1].upper() + fix[1:]) or "Set one of them"
    else:
        problem = f"{problem[:1].lower()}{problem[1:]}, and it is {_shown(error['input'])}"
        fix = "Give it a value, or remove it" if error["input"] is None else fix
    return InvalidManifest(problem, at=document.place(location), fix=fix)


def _quoted(expected: str) -> list[str]:
    return [part.strip(" '") for part in expected.replace(" or ", ",").split(",")]


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _known_fields(location: Location) -> list[str]:
    """The fields, as users write them, of the object at a location."""
    kind: Any = DistillationJob
    for part in location:
        kind = _element(kind) if isinstance(part, int) else _fields(kind).get(str(part))
    return list(_fields(kind))


def _fields(kind: Any) -> Mapping[str, Any]:
    model = _model(kind)
    if model is None:
        return {}
    return {field.alias or name: field.annotation for name, field in model.model_fields.items()}


def _model(kind: Any) -> type[BaseModel] | None:
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return kind
    if typing.get_origin(kind) in (types.UnionType, typing.Union):
        return next((model for one in typing.get_args(kind) if (model := _model(one))), None)
    return None


def _element(kind: Any) -> Any:
    arguments = typing.get_args(kind)
    return arguments[0] if arguments else None
