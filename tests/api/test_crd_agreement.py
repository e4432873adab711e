"""The CRD and pydantic: both say the same of a spec, and defaults from either give one digest."""

import copy
import json
from collections.abc import Callable, Iterator
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.strategies import DataObject, SearchStrategy
from pydantic import ValidationError

from kubedistill.schema.crd import Schema, job_schema
from kubedistill.v1alpha1 import Spec, spec_values


def nodes(schema: Schema, path: str = "") -> Iterator[tuple[str, Schema]]:
    """Yield every node of a schema by its dotted path; [] is an item of a list."""
    yield path, schema
    for name, field in schema.get("properties", {}).items():
        yield from nodes(field, f"{path}.{name}".removeprefix("."))
    if "items" in schema:
        yield from nodes(schema["items"], f"{path}[]")
    if isinstance(schema.get("additionalProperties"), dict):
        yield from nodes(schema["additionalProperties"], f"{path}.*")


SPEC = job_schema()["properties"]["spec"]
SPEC_NODES = dict(nodes(SPEC))
VALIDATOR = jsonschema.Draft4Validator(SPEC)  # OpenAPI 3.0 has its exclusive limits from draft 4 of JSON Schema


def read_spec(values: dict) -> Spec:
    return Spec.model_validate_json(json.dumps(values), by_alias=True, by_name=False)


def edge_values(schema: Schema) -> list[Any]:
    """Return values at and beyond the limits of a node, and values of other types."""
    values: list[Any] = [True, 0, 3, 0.5, "3", "-a", "A b", "", [], {}]
    if schema["type"] in ("integer", "number"):
        step = 1 if schema["type"] == "integer" else 1e-6
        values += [limit + way for limit in (schema["minimum"], schema["maximum"]) for way in (-step, 0, step)]
    elif "enum" in schema:
        values += [*schema["enum"], *(value.lower() for value in schema["enum"])]
    elif schema["type"] == "string":
        values += ["x" * schema["maxLength"], "x" * (schema["maxLength"] + 1)]
    elif schema["type"] == "array":
        item = {"string": "x", "number": 0.5, "object": {}}[schema["items"]["type"]]
        values += [[item] * length for length in (1, schema["maxItems"], schema["maxItems"] + 1)]
    return values


def put(values: dict, path: str, value: Any) -> None:
    """Write a value at a dotted path, and what is missing on the way; the first item stands for all of a list."""
    *parents, last = path.replace("[]", ".[]").split(".")
    place: Any = values
    for part, after in zip(parents, [*parents, last][1:], strict=True):
        fresh: Any = [] if after == "[]" else {}
        if part == "[]":
            if not place:
                place.append(fresh)
            place = place[0]
        else:
            place = place.setdefault(part, fresh)
    if last == "[]":
        place[:1] = [value]
    else:
        place[last] = value


@pytest.mark.parametrize("path", [path for path in SPEC_NODES if path])
def test_pydantic_and_the_schema_agree_at_every_limit(path: str, job_values: dict) -> None:
    for value in edge_values(SPEC_NODES[path]):
        spec = copy.deepcopy(job_values["spec"])
        put(spec, path, value)
        assert VALIDATOR.is_valid(spec) == (problems_of_types(spec) == []), value


SEVERAL_LINES = {"task.systemPrompt", "task.prompt", "pods.annotations.*"}
OBEYED = ("\x01", "\x1b[2J", "a\rb", "a\x7f", "\x9b2J", "a\x85b", "\x00")
BREAKS = ("a\tb", "a\nb")


@pytest.mark.parametrize(
    "path", [path for path, node in SPEC_NODES.items() if node["type"] == "string" and "enum" not in node]
)
def test_no_string_holds_what_a_terminal_obeys(path: str, job_values: dict) -> None:
    def takes(text: str) -> bool:
        spec = copy.deepcopy(job_values["spec"])
        put(spec, path, text)
        assert VALIDATOR.is_valid(spec) == (problems_of_types(spec) == [])
        return VALIDATOR.is_valid(spec)

    assert not any(map(takes, OBEYED))
    assert {takes(text) for text in BREAKS} == {path in SEVERAL_LINES}


@given(data=st.data())
def test_schema_takes_what_pydantic_takes(data: DataObject, valid_specs: SearchStrategy[dict]) -> None:
    spec = data.draw(valid_specs)
    assert problems_of_types(spec) == []
    assert VALIDATOR.is_valid(spec)
    assert VALIDATOR.is_valid(spec_values(read_spec(spec)))


@pytest.mark.parametrize("path", [path for path, node in SPEC_NODES.items() if "required" in node])
def test_both_ask_for_the_same_fields(path: str, job_values: dict) -> None:
    spec = job_values["spec"] if path else {}
    if path.startswith("teachers[].endpoint."):
        put(spec, "teachers[].endpoint.model", "large")
    if path:
        put(spec, path, {})
    required = len(SPEC_NODES[path]["required"])
    assert problems_of_types(spec).count("Field required") == required
    assert [error.validator for error in VALIDATOR.iter_errors(spec)] == ["required"] * required


def problems_of_types(spec: dict) -> list[str]:
    """Return the problems that pydantic finds in a spec, except for CEL rules and unknown fields.

    A list that lacks only an item with such a problem is not too short.
    """
    try:
        read_spec(spec)
    except ValidationError as error:
        places = [one["loc"] for one in error.errors()]
        lists = {place[:depth] for place in places for depth in range(len(place))}
        real = [one for one in error.errors() if one["type"] != "too_short" or one["loc"] not in lists]
        return [one["msg"] for one in real if one["type"] not in ("value_error", "extra_forbidden")]
    return []


@given(data=st.data())
def test_defaults_of_the_api_server_leave_the_digest_alone(
    data: DataObject, valid_specs: SearchStrategy[dict], with_defaults: Callable[[Any, Schema], Any]
) -> None:
    spec = data.draw(valid_specs)
    filled = with_defaults(spec, SPEC)
    assert spec_values(read_spec(filled)) == spec_values(read_spec(spec))
