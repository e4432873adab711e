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
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, SequenceNode

from kubedistill.errors import InvalidManifest
from kubedistill.v1alpha1 import API_VERSION, KIND, DistillationJob

Location = tuple[int | str, ...]


def load_manifest(path: Path) -> DistillationJob:
    """Read a DistillationJob from a YAML 1.2 file (so 2e-5 is a number).

    Raises InvalidManifest with file, line, field path, problem and fix; further problems follow, a line each.
    """
    text = _read(path)
    node, values = _parse(text, path=path)
    for field, wanted in (("kind", KIND), ("apiVersion", API_VERSION)):
        if values.get(field) != wanted:
            raise InvalidManifest(
                f"{field} is {values.get(field)!r}", at=_place(path, node, (field,)), fix=f"Write {field}: {wanted}"
            )
    try:
        return DistillationJob.model_validate_json(json.dumps(values))
    except (TypeError, ValueError) as error:
        if not isinstance(error, ValidationError):  # json.dumps met a date or a set, which YAML has and JSON has not
            raise InvalidManifest(str(error), at=str(path), fix="Quote dates and times") from error
        first, *others = [_explain(one, path=path, node=node) for one in _by_importance(error.errors())]
        rest = "".join(f"\n{other}" for other in others)
        raise InvalidManifest(first.problem, at=first.at, fix=f"{first.fix}{rest}") from error


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        problem = f"the manifest can't be read ({error.strerror})"
        raise InvalidManifest(problem, at=str(path), fix="Name a YAML file") from error
    except UnicodeDecodeError as error:
        raise InvalidManifest("the manifest is not UTF-8", at=str(path), fix="Convert the file") from error


def _parse(text: str, *, path: Path) -> tuple[Node, dict[str, Any]]:
    """The one document of a file, as a tree with line numbers and as values."""
    fix = f"Write one {KIND}; `kubedistill init` makes a starter"
    try:
        nodes = [node for node in YAML(typ="safe", pure=True).compose_all(text) if node is not None]
        documents = [values for values in YAML(typ="safe", pure=True).load_all(text) if values is not None]
    except MarkedYAMLError as error:
        line = f":{error.problem_mark.line + 1}" if error.problem_mark else ""
        raise InvalidManifest(f"not YAML ({error.problem})", at=f"{path}{line}", fix="Mend the line") from error
    except (YAMLError, ValueError, RecursionError) as error:
        # ruamel leaves some scalars, such as impossible dates, to Python's own constructors.
        raise InvalidManifest(f"not YAML ({str(error).splitlines()[0]})", at=str(path), fix=fix) from error
    if len(documents) != 1:
        raise InvalidManifest(f"the file holds {len(documents)} documents", at=str(path), fix=fix)
    if not isinstance(documents[0], dict):
        raise InvalidManifest("the document is not a mapping", at=str(path), fix=fix)
    return nodes[0], documents[0]


def _by_importance(errors: Sequence[ErrorDetails]) -> list[ErrorDetails]:
    """A misspelt field before the required field that it leaves missing."""
    return sorted(errors, key=lambda error: error["type"] == "missing")


def _explain(error: ErrorDetails, *, path: Path, node: Node) -> InvalidManifest:
    location, context = error["loc"], error.get("ctx", {})
    problem, fix = error["msg"], "See docs/reference.md"
    if error["type"] == "extra_forbidden":
        known = _known_fields(location[:-1])
        near = difflib.get_close_matches(str(location[-1]), known, n=1, cutoff=0.5)
        problem = f"unknown field `{location[-1]}`"
        fix = f"Did you mean `{near[0]}`?" if near else f"The fields here are {', '.join(known)}"
    elif error["type"] == "missing":
        problem, fix = "the field is required, and missing", f"Add `{location[-1]}`"
    elif error["type"] == "literal_error":
        problem = f"{error['input']!r} is not one of {context['expected']}"
        near = difflib.get_close_matches(str(error["input"]), _quoted(context["expected"]), n=1)
        fix = f"Did you mean {near[0]}?" if near else "Choose one of them"
    elif error["type"] == "value_error":
        problem, _, fix = str(context["error"]).partition("; ")
        fix = (fix[:1].upper() + fix[1:]) or "See docs/reference.md"
    else:
        problem = f"{problem[:1].lower()}{problem[1:]}, and it is {_shown(error['input'])}"
    return InvalidManifest(problem, at=_place(path, node, location), fix=fix)


def _quoted(expected: str) -> list[str]:
    return [part.strip(" '") for part in expected.replace(" or ", ",").split(",")]


def _shown(value: Any) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _place(path: Path, node: Node, location: Location) -> str:
    """file:line: spec.teachers[0].model, for the deepest part of the location that is there."""
    line = node.start_mark.line
    for part in location:
        child = _child(node, part)
        if child is None:
            break
        line, node = child
    return f"{path}:{line + 1}: {field_path(location)}" if location else f"{path}:{line + 1}"


def _child(node: Node, part: int | str) -> tuple[int, Node] | None:
    if isinstance(node, MappingNode):
        return next(((key.start_mark.line, value) for key, value in node.value if key.value == part), None)
    if isinstance(node, SequenceNode) and isinstance(part, int) and part < len(node.value):
        return node.value[part].start_mark.line, node.value[part]
    return None


def field_path(location: Location) -> str:
    """A location as users write it: spec.teachers[0].model.source."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location)
    return text.removeprefix(".")


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
