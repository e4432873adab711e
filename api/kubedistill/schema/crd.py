"""The CRD generator: `python -m kubedistill.schema.crd` prints crds/kubedistill.io_distillationjobs.yaml.

It converts pydantic's JSON schema to a structural schema, the API server's dialect of OpenAPI 3.0: without references,
unions and nulls (an optional field is absent), and with booleans for exclusive limits. It accepts only known keywords:
a field that the API server would refuse, or treat differently from pydantic, fails here with its path.
"""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TextIO

from pydantic import BaseModel
from ruamel.yaml import YAML
from ruamel.yaml.nodes import ScalarNode
from ruamel.yaml.representer import SafeRepresenter

from kubedistill.contract.stored_status import RENAMES
from kubedistill.json_values import Json
from kubedistill.v1alpha1 import GROUP, KIND, PLURAL, VERSION, DistillationJob, Spec, Status

Schema = dict[str, Any]

SHORT_NAME, CATEGORIES = "dj", ("all", "distill")
COLUMNS = (  # name, type, path, whether only `-o wide` shows it
    ("PHASE", "string", ".status.phase", False),
    ("STAGE", "string", ".status.stage", False),
    ("PROGRESS", "string", ".status.progress", False),
    ("ATTEMPT", "integer", ".status.attempt", False),
    ("QUEUE", "string", ".spec.queue.name", False),
    ("AGE", "date", ".metadata.creationTimestamp", False),
    ("TEACHER", "string", ".spec.teachers[*]['model.source','endpoint.model']", True),
    ("STUDENT", "string", ".spec.student.model.source", True),
    ("ETA", "string", ".status.eta", True),
    ("GPU-HOURS", "string", ".status.gpuHours", True),
    ("DOLLARS", "string", ".status.dollars", True),
    ("MESSAGE", "string", ".status.message", True),
)

_PASSED = (
    "type", "enum", "pattern", "minLength", "maxLength", "minItems", "maxItems", "maxProperties", "minimum", "maximum",
    "x-kubernetes-list-type", "x-kubernetes-list-map-keys", "x-kubernetes-validations",
    "x-kubernetes-preserve-unknown-fields",
)  # fmt: skip
_EXCLUSIVE = (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum"))
_CONVERTED = (
    "title", "description", "default", "const", "properties", "required", "items", "prefixItems",
    "additionalProperties", *(keyword for keyword, _ in _EXCLUSIVE),
)  # fmt: skip
_MAX_DEPTH = 16


class NotStructural(ValueError):
    """A field that a structural schema cannot express, with its path."""


def crd() -> Schema:
    """Return the CustomResourceDefinition of DistillationJob; raises NotStructural."""
    version = {
        "name": VERSION,
        "served": True,
        "storage": True,
        "subresources": {"status": {}},
        "additionalPrinterColumns": [_column(*column) for column in COLUMNS],
        "schema": {"openAPIV3Schema": job_schema()},
    }
    names = {
        "kind": KIND,
        "listKind": f"{KIND}List",
        "plural": PLURAL,
        "singular": KIND.lower(),
        "shortNames": [SHORT_NAME],
        "categories": [*CATEGORIES],
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{PLURAL}.{GROUP}"},
        "spec": {"group": GROUP, "scope": "Namespaced", "names": names, "versions": [version]},
    }


def job_schema() -> Schema:
    """Return the schema of a whole DistillationJob. Kubernetes itself checks apiVersion, kind and metadata."""
    source = DistillationJob.model_json_schema()
    return {
        "description": source["description"],
        "type": "object",
        "x-kubernetes-validations": source["x-kubernetes-validations"],
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object"},
            "spec": structural_schema(Spec, at="spec", defaults=True),
            # Only the operator writes the status; a default would be a value that it never wrote.
            "status": structural_schema(Status, at="status", defaults=False),
        },
    }


def structural_schema(model: type[BaseModel], *, at: str, defaults: bool) -> Schema:
    """Return the structural schema of a model; raises NotStructural with a path that starts with `at`."""
    source = model.model_json_schema()
    definitions = source.pop("$defs", {})
    schema = _Converter(definitions).convert(source, at=at, defaults=defaults)
    return _with_old_names(schema) if model is Status else schema


def _with_old_names(schema: Schema) -> Schema:
    """Add the former names of fields, which stored objects may still have, to the schema of the status."""
    for rename in RENAMES:
        node = schema
        for part in rename.within:
            node = node["properties"][part]
            node = node.get("items", node)
        words = f"Deprecated since {rename.since}: use {rename.new}. Both are written for two minor versions."
        node["properties"][rename.old] = {**node["properties"][rename.new], "description": words}
    return schema


def write_crd(stream: TextIO) -> None:
    """Write the CRD as YAML that all loaders read in the same way."""
    yaml = YAML(typ="safe", pure=True)
    yaml.Representer = _Representer
    yaml.default_flow_style = False
    yaml.width = 4096  # folding would leave spaces at the ends of lines
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    stream.write("# Made by `make crds` from api/kubedistill/v1alpha1.\n")
    yaml.dump(crd(), stream)


class _Representer(SafeRepresenter):
    """A representer for YAML that tools with fewer features can read."""

    def ignore_aliases(self, _data: Any) -> bool:
        """Return True: write no anchors, because some tools that read a CRD do not support them."""
        return True

    def represent_float(self, data: float) -> ScalarNode:
        """Represent a number with a dot, because 1e-05 is a string for a YAML 1.1 loader."""
        mantissa, e, exponent = repr(data).partition("e")
        text = mantissa + (".0" if e and "." not in mantissa else "") + e + exponent
        return self.represent_scalar("tag:yaml.org,2002:float", text)


_Representer.add_representer(float, _Representer.represent_float)


@dataclass(frozen=True, slots=True)
class _Converter:
    """Converts pydantic's schema to a structural one; `at` is the path that errors name."""

    definitions: Mapping[str, Schema]

    def convert(self, schema: Schema, *, at: str, defaults: bool) -> Schema:
        """Convert a node and all nodes below it, with or without their defaults."""
        node = self._resolve(schema, at=at)
        if unknown := node.keys() - {*_PASSED, *_CONVERTED}:
            raise NotStructural(f"{at}: {', '.join(sorted(unknown))} can't be converted")
        result = _leading(node) | {keyword: node[keyword] for keyword in _PASSED if keyword in node} | _limits(node)
        if "const" in node:
            result["enum"] = [node["const"]]
        if result.get("type") == "array":
            # A default below a list item would keep Argo CD out of sync indefinitely.
            result["items"] = self.convert(_items(node, at=at), at=f"{at}[]", defaults=False)
        elif result.get("type") == "object":
            result |= self._fields(node, at=at, defaults=defaults)
        _check(result, at=at)
        if defaults and node.get("default") is not None:
            result["default"] = _without_defaults_below(node["default"], schema=result)
        return result

    def _resolve(self, schema: Schema, *, at: str) -> Schema:
        """Resolve references and optional types; keywords next to them take precedence."""
        if at.count(".") > _MAX_DEPTH:
            raise NotStructural(f"{at}: nested too deeply, or recursive")
        while "$ref" in schema or "anyOf" in schema:
            siblings = {keyword: value for keyword, value in schema.items() if keyword not in ("$ref", "anyOf")}
            if "$ref" in schema:
                schema = self.definitions[schema["$ref"].removeprefix("#/$defs/")] | siblings
                continue
            options = [option for option in schema["anyOf"] if option != {"type": "null"}]
            if len(options) != 1:
                raise NotStructural(f"{at}: a union can't be converted; give each variant its own optional field")
            schema = options[0] | siblings
        return schema

    def _fields(self, node: Schema, *, at: str, defaults: bool) -> Schema:
        """Convert the fields of an object, or the values of a map; an object of any form has neither."""
        if node.get("x-kubernetes-preserve-unknown-fields"):
            return {}
        free = node.get("additionalProperties", False)
        if isinstance(free, dict) and "maxProperties" in node and "properties" not in node:
            return {"additionalProperties": self.convert(free, at=f"{at}.*", defaults=False)}
        if free is not False or "properties" not in node:
            raise NotStructural(f"{at}: a map of free keys can't be converted without a maximum")
        fields = {
            name: self.convert(field, at=f"{at}.{name}", defaults=defaults)
            for name, field in node["properties"].items()
        }
        required = {"required": node["required"]} if node.get("required") else {}
        return required | {"properties": fields}


def _column(name: str, kind: str, path: str, wide: bool) -> Schema:
    return {"name": name, "type": kind, "jsonPath": path} | ({"priority": 1} if wide else {})


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _leading(node: Schema) -> Schema:
    return {"description": _one_line(node["description"])} if "description" in node else {}


def _limits(node: Schema) -> Schema:
    """Return exclusive limits as a limit and a boolean, because OpenAPI 3.0 has no exclusive limits."""
    found: Schema = {}
    for exclusive, inclusive in _EXCLUSIVE:
        if exclusive in node:
            found |= {inclusive: node[exclusive], exclusive: True}
    return found


def _items(node: Schema, *, at: str) -> Schema:
    """Return the type of the items of a list, or of a tuple whose items have the same type."""
    items: list[Schema] = node.get("prefixItems") or [node.get("items") or {}]
    if any(item != items[0] for item in items):
        raise NotStructural(f"{at}: a tuple of different types can't be converted; write an object with named fields")
    return items[0]


def _check(result: Schema, *, at: str) -> None:
    """Raise NotStructural for a field without a type or a maximum, which determines the cost of CEL rules."""
    if "type" not in result:
        raise NotStructural(f"{at}: a field needs a type")
    if result["type"] == "string" and not {"maxLength", "enum"} & result.keys():
        raise NotStructural(f"{at}: a string needs max_length")
    if result["type"] == "array" and "maxItems" not in result:
        raise NotStructural(f"{at}: a list needs max_length")


def _without_defaults_below(value: Json, *, schema: Schema) -> Json:
    """Return a default without the defaults of the fields below it, which the API server fills in."""
    if isinstance(value, list):
        return [_without_defaults_below(one, schema=schema["items"]) for one in value]
    if not isinstance(value, dict):
        return value
    fields = schema.get("properties", {})
    brief = {name: _without_defaults_below(one, schema=fields[name]) for name, one in value.items() if one is not None}
    return {name: one for name, one in brief.items() if one != fields[name].get("default")}


if __name__ == "__main__":
    write_crd(sys.stdout)
