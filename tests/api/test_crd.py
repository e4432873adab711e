"""The CRD: it is what the models say, and what the API server takes."""

import io
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel
from ruamel.yaml import YAML

from kubedistill.contract.stored_status import RENAMES
from kubedistill.schema.crd import COLUMNS, Schema, crd, job_schema, structural_schema, write_crd
from kubedistill.v1alpha1 import DistillationJob, Status

CRD_FILE = Path(__file__).parents[2] / "crds" / "kubedistill.io_distillationjobs.yaml"
Node = tuple[str, Schema]

KEYWORDS = {
    "type", "description", "properties", "required", "items", "enum", "default", "pattern", "minLength", "maxLength",
    "minItems", "maxItems", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "x-kubernetes-list-type",
    "x-kubernetes-list-map-keys", "x-kubernetes-validations", "additionalProperties", "maxProperties",
    "x-kubernetes-preserve-unknown-fields",
}  # fmt: skip
BOOLEANS = ("exclusiveMinimum", "exclusiveMaximum")
FREE = ("spec.task.answer.jsonSchema",)
ENVELOPE = ("apiVersion", "kind", "metadata")  # Kubernetes itself checks these


def nodes(schema: Schema, path: str = "") -> Iterator[Node]:
    """Yield every node of a schema by its dotted path; [] is an item of a list."""
    yield path, schema
    for name, field in schema.get("properties", {}).items():
        yield from nodes(field, f"{path}.{name}".removeprefix("."))
    if "items" in schema:
        yield from nodes(schema["items"], f"{path}[]")
    if isinstance(schema.get("additionalProperties"), dict):
        yield from nodes(schema["additionalProperties"], f"{path}.*")


def violations(schema: Schema) -> list[str]:
    """Return everything that a structural schema of ours may not hold."""
    found = []
    for path, node in nodes(schema):
        kind, limited = node.get("type"), "enum" in node or path in ENVELOPE
        found += [f"{path}: keyword {keyword}" for keyword in node.keys() - KEYWORDS]
        found += [f"{path}: {name} is not a boolean" for name in BOOLEANS if not isinstance(node.get(name, True), bool)]
        if kind not in ("object", "array", "string", "integer", "number", "boolean"):
            found.append(f"{path}: type {kind}")
        if kind == "string" and not limited and "maxLength" not in node:
            found.append(f"{path}: no maxLength")
        if kind == "array" and not {"maxItems", "items"} <= node.keys():
            found.append(f"{path}: no maxItems or items")
        is_map = isinstance(node.get("additionalProperties"), dict) and "maxProperties" in node
        if "additionalProperties" in node and not is_map:
            found.append(f"{path}: free keys")
        is_free = node.get("x-kubernetes-preserve-unknown-fields") is True
        if "x-kubernetes-preserve-unknown-fields" in node and path not in FREE:
            found.append(f"{path}: free keys")
        if kind == "object" and [is_map, is_free, "properties" in node].count(True) != 1 and not limited:
            found.append(f"{path}: no properties, or a map with some")
        if "default" in node and ("[]" in path or "*" in path):
            found.append(f"{path}: a default below a list item")
        if "default" in node and node["default"] is None:
            found.append(f"{path}: a null")
        if not set(node.get("required", [])) <= node.get("properties", {}).keys():
            found.append(f"{path}: requires what it has not")
        keys = node.get("x-kubernetes-list-map-keys", [])
        if keys and not set(keys) <= set(node["items"].get("required", [])):
            found.append(f"{path}: a key that may be absent")
        if ("x-kubernetes-list-type" in node) != bool(keys):
            found.append(f"{path}: a map without keys")
    return found


def test_file_is_what_the_models_say() -> None:
    stream = io.StringIO()
    write_crd(stream)
    assert CRD_FILE.read_text(encoding="utf-8") == stream.getvalue(), "run `make crds`"


def test_module_prints_the_file() -> None:
    run = subprocess.run([sys.executable, "-m", "kubedistill.schema.crd"], check=True, capture_output=True, text=True)
    assert run.stdout == CRD_FILE.read_text(encoding="utf-8")
    assert run.stderr == ""


@pytest.mark.parametrize("load", [yaml.safe_load, YAML(typ="safe", pure=True).load], ids=["YAML 1.1", "YAML 1.2"])
def test_every_loader_reads_the_same(load: Callable[[str], Any]) -> None:
    text = CRD_FILE.read_text(encoding="utf-8")
    assert load(text) == crd()
    assert not [token for token in yaml.scan(text) if isinstance(token, yaml.AnchorToken | yaml.AliasToken)]
    assert not [line for line in text.splitlines() if line != line.rstrip()]


def test_plain_kubectl_apply_can_carry_it() -> None:
    assert CRD_FILE.stat().st_size < 200_000  # an annotation of 262,144 bytes holds the last applied copy


def test_schema_is_structural() -> None:
    assert violations(job_schema()) == []


FORBIDDEN: dict[str, Schema] = {
    "a reference": {"$ref": "#/$defs/Task"},
    "a union": {"anyOf": [{"type": "string", "maxLength": 1}, {"type": "null"}]},
    "a null": {"type": "null"},
    "a default of null": {"type": "boolean", "default": None},
    "nullable": {"type": "boolean", "nullable": True},
    "no type": {"enum": ["a"]},
    "a constant": {"type": "string", "const": "a"},
    "a title": {"type": "boolean", "title": "A"},
    "free keys": {"type": "object", "additionalProperties": True},
    "no free keys": {"type": "object", "properties": {}, "additionalProperties": False},
    "an object of anything": {"type": "object"},
    "an exclusive limit as a number": {"type": "number", "exclusiveMinimum": 0},
    "a tuple": {"type": "array", "prefixItems": [{"type": "boolean"}], "maxItems": 1},
    "a string without maximum": {"type": "string"},
    "a list without maximum": {"type": "array", "items": {"type": "boolean"}},
    "a list of anything": {"type": "array", "maxItems": 1},
    "a default below a list item": {
        "type": "array", "maxItems": 1,
        "items": {"type": "object", "properties": {"a": {"type": "boolean", "default": True}}},
    },
    "a required field that is not there": {"type": "object", "properties": {}, "required": ["a"]},
    "a map keyed by an optional field": {
        "type": "array", "maxItems": 1, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["a"],
        "items": {"type": "object", "properties": {"a": {"type": "boolean"}}},
    },
}  # fmt: skip


@pytest.mark.parametrize("case", FORBIDDEN)
def test_walk_finds_what_is_forbidden(case: str) -> None:
    assert violations({"type": "object", "properties": {"field": FORBIDDEN[case]}})


def declared_fields(model: type[BaseModel], path: str = "") -> Iterator[str]:
    """Yield every field of a model and of the models in it, by its dotted path."""
    for name, field in model.model_fields.items():
        below = f"{path}.{field.alias or name}".removeprefix(".")
        yield below
        for inner, ending in models_in(field.annotation):
            yield from declared_fields(inner, f"{below}{ending}")


def models_in(kind: Any) -> Iterator[tuple[type[BaseModel], str]]:
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        yield kind, ""
    ending = "[]" if getattr(kind, "__origin__", None) is tuple else ""
    for one in getattr(kind, "__args__", ()):
        for inner, further in models_in(one):
            yield inner, f"{ending}{further}"


def test_every_declared_field_is_there() -> None:
    declared = {path for path in declared_fields(DistillationJob) if not path.startswith("metadata.")}
    renamed = {".".join(("status", *one.within, one.old)) for one in RENAMES}
    assert declared | renamed == {path for path, _ in nodes(job_schema()) if path and not path.endswith(("[]", "*"))}


def test_metadata_is_left_to_kubernetes() -> None:
    schema = job_schema()
    assert schema["properties"]["metadata"] == {"type": "object"}
    assert schema["required"] == ["spec"]


def test_every_field_is_described() -> None:
    bare = [path for path, node in nodes(job_schema()) if "description" not in node and not path.endswith(("[]", "*"))]
    assert bare == [*ENVELOPE]


RULES = {
    "": "size(self.metadata.name) <= 32",
    "spec.task": "self.type != 'Classification' || has(self.labels)",
    "spec.data.train": "has(self.uri) != has(self.configMapKeyRef)",
    "spec.data.validation": "has(self.uri) != has(self.configMapKeyRef)",
    "spec.data.test": "has(self.uri) != has(self.configMapKeyRef)",
    "spec.training.objective": "!has(self.temperature) || self.temperature == 1.0",
}


@pytest.mark.parametrize("path", RULES)
def test_cel_rule_is_kept(path: str) -> None:
    rules = dict(nodes(job_schema()))[path]["x-kubernetes-validations"]
    assert RULES[path] in [rule["rule"] for rule in rules]
    assert all(rule["message"] for rule in rules)


@pytest.mark.parametrize(
    ("path", "key"), [("spec.teachers", "name"), ("status.conditions", "type"), ("status.stages", "name")]
)
def test_list_that_people_apply_is_a_map(path: str, key: str) -> None:
    node = dict(nodes(job_schema()))[path]
    assert (node["x-kubernetes-list-type"], node["x-kubernetes-list-map-keys"]) == ("map", [key])


def test_names_are_those_of_the_design() -> None:
    document = crd()
    assert document["metadata"]["name"] == "distillationjobs.kubedistill.io"
    assert document["spec"]["names"] == {
        "kind": "DistillationJob",
        "listKind": "DistillationJobList",
        "plural": "distillationjobs",
        "singular": "distillationjob",
        "shortNames": ["dj"],
        "categories": ["all", "distill"],
    }
    (version,) = document["spec"]["versions"]
    assert (version["name"], version["served"], version["storage"]) == ("v1alpha1", True, True)
    assert version["subresources"] == {"status": {}}


def declared(path: str) -> list[str]:
    """Return the fields that a column shows the first of, as in `.spec.list[*]['a','b.c']`."""
    start, _, union = path.removeprefix(".").replace("[*]", "[]").partition("['")
    return [f"{start}.{one}" for one in union.removesuffix("']").split("','")] if union else [start]


def test_columns_show_declared_fields() -> None:
    kinds = {path: node["type"] for path, node in nodes(job_schema())}
    columns = crd()["spec"]["versions"][0]["additionalPrinterColumns"]
    assert [column["name"] for column in columns if not column.get("priority")] == [
        "PHASE",
        "STAGE",
        "PROGRESS",
        "ATTEMPT",
        "QUEUE",
        "AGE",
    ]
    wide = [column["name"] for column in columns if column.get("priority") == 1]
    assert wide == ["TEACHER", "STUDENT", "ETA", "GPU-HOURS", "DOLLARS", "MESSAGE"]
    for name, kind, path, _ in COLUMNS:
        if name != "AGE":
            assert {kinds[one] for one in declared(path)} == {kind}


def test_status_has_no_defaults() -> None:
    assert [path for path, node in nodes(structural_schema(Status, at="", defaults=False)) if "default" in node] == []
