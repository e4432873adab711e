"""The CRD generator: `python -m kubedistill.schema.crd` prints crds/kubedistill.io_distillationjobs.yaml.

pydantic's JSON schema becomes a structural schema, the API server's dialect of OpenAPI 3.0: no references, no unions,
no nulls (an optional field is absent), booleans for exclusive limits. Only keywords that are known here pass, so a
field that the API server would refuse, or treat otherwise than pydantic does, fails here with its path.
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
    ("TEACHER", "string", ".spec.teachers[0].model.source", True),
    ("STUDENT", "string", ".spec.student.model.source", True),
    ("ETA", "string", ".status.eta", True),
    ("GPU-HOURS", "string", ".status.gpuHours", True),
    ("MESSAGE", "string", ".status.message", True),
)

_PASSED = (
    "type", "enum", "pattern", "minLength", "maxLength", "minItems", "maxItems", "maxProperties", "minimum", "maximum",
    "x-kubernetes-list-type", "x-kubernetes-list-map-keys", "x-kubernetes-validations",
)  # fmt: skip
_EXCLUSIVE = (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum"))
_TURNED = (
    "title", "description", "default", "const", "properties", "required", "items", "prefixItems",
    "additionalProperties", *(keyword for keyword, _ in _EXCLUSIVE),
)  # fmt: skip
_DEEPEST = 16


class NotStructural(ValueError):
    """A field that has no place in a structural schema, by its dotted path."""


def crd() -> Schema:
    """The CustomResourceDefinition of DistillationJob; raises NotStructural for a field that it can't hold."""
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
    """The schema of a whole DistillationJob. Kubernetes itself checks apiVersion, kind and metadata."""
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
            # The operator alone writes status; a default would be a value that it never wrote.
            "status": structural_schema(Status, at="status", defaults=False),
        },
    }


def structural_schema(model: type[BaseModel], *, at: str, defaults: bool) -> Schema:
    """The structural schema of a model; raises NotStructural, with a dotted path that begins with `at`."""
    source = model.model_json_schema()
    definitions = source.pop("$defs", {})
    schema = _Converter(definitions).convert(source, at=at, defaults=defaults)
    return _with_old_names(schema) if model is Status else schema


def _with_old_names(schema: Schema) -> Schema:
    """The schema of the status with the names that stored objects may still have."""
    for rename in RENAMES:
        node = schema
        for part in rename.within:
            node = node["properties"][part]
            node = node.get("items", node)
        words = f"Deprecated since {rename.since}: use {rename.new}. Both are written for two minor versions."
        node["properties"][rename.old] = {**node["properties"][rename.new], "description": words}
    return schema


def write_crd(stream: TextIO) -> None:
    """Write the CRD as YAML that every loader reads alike."""
    yaml = YAML(typ="safe", pure=True)
    yaml.Representer = _Representer
    yaml.default_flow_style = False
    yaml.width = 4096  # folding would leave spaces at the ends of lines
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    stream.write("# Made by `make crds` from api/kubedistill/v1alpha1.\n")
    yaml.dump(crd(), stream)


class _Representer(SafeRepresenter):
    def ignore_aliases(self, _data: Any) -> bool:
        """Never an anchor: not every tool that reads a CRD follows them."""
        return True

    def represent_float(self, data: float) -> ScalarNode:
        """With a dot: 1e-05 is a string to a YAML 1.1 loader."""
        mantissa, e, exponent = repr(data).partition("e")
        text = mantissa + (".0" if e and "." not in mantissa else "") + e + exponent
        return self.represent_scalar("tag:yaml.org,2002:float", text)


_Representer.add_representer(float, _Representer.represent_float)


@dataclass(frozen=True, slots=True)
class _Converter:
    """Turns pydantic's schema into a structural one; `at` is the dotted path that errors name."""

    definitions: Mapping[str, Schema]

    def convert(self, schema: Schema, *, at: str, defaults: bool) -> Schema:
        """Convert one node and all below it; without `defaults` none is emitted."""
        node = self._resolve(schema, at=at)
        if unknown := node.keys() - {*_PASSED, *_TURNED}:
            raise NotStructural(f"{at}: {', '.join(sorted(unknown))} can't be translated")
        result = _leading(node) | {keyword: node[keyword] for keyword in _PASSED if keyword in node} | _limits(node)
        if "const" in node:
            result["enum"] = [node["const"]]
        if result.get("type") == "array":
            # A default below a list item would keep Argo CD out of sync for ever.
            result["items"] = self.convert(_items(node, at=at), at=f"{at}[]", defaults=False)
        elif result.get("type") == "object":
            result |= self._fields(node, at=at, defaults=defaults)
        _check(result, at=at)
        if defaults and node.get("default") is not None:
            result["default"] = _without_defaults_below(node["default"], schema=result)
        return result

    def _resolve(self, schema: Schema, *, at: str) -> Schema:
        """Follow references, and take the one kind of value that is not null; what stands beside them wins."""
        if at.count(".") > _DEEPEST:
            raise NotStructural(f"{at}: nested too deep, perhaps in itself")
        while "$ref" in schema or "anyOf" in schema:
            beside = {keyword: value for keyword, value in schema.items() if keyword not in ("$ref", "anyOf")}
            if "$ref" in schema:
                schema = self.definitions[schema["$ref"].removeprefix("#/$defs/")] | beside
                continue
            options = [option for option in schema["anyOf"] if option != {"type": "null"}]
            if len(options) != 1:
                raise NotStructural(f"{at}: a union; give each variant an optional field of its own")
            schema = options[0] | beside
        return schema

    def _fields(self, node: Schema, *, at: str, defaults: bool) -> Schema:
        free = node.get("additionalProperties", False)
        if isinstance(free, dict) and "maxProperties" in node and "properties" not in node:
            return {"additionalProperties": self.convert(free, at=f"{at}.*", defaults=False)}
        if free is not False or "properties" not in node:
            raise NotStructural(f"{at}: a map of free keys can't be translated without a maximum")
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
    """OpenAPI 3.0 has a boolean beside a limit where JSON Schema has a limit of its own."""
    found: Schema = {}
    for exclusive, inclusive in _EXCLUSIVE:
        if exclusive in node:
            found |= {inclusive: node[exclusive], exclusive: True}
    return found


def _items(node: Schema, *, at: str) -> Schema:
    """What a list holds; a tuple is a list whose places all hold the same."""
    places: list[Schema] = node.get("prefixItems") or [node.get("items") or {}]
    if any(place != places[0] for place in places):
        raise NotStructural(f"{at}: a tuple of different kinds; write an object with named fields")
    return places[0]


def _check(result: Schema, *, at: str) -> None:
    """Refuse what has no type or no maximum: CEL rules are priced by the largest value."""
    if "type" not in result:
        raise NotStructural(f"{at}: a value of any kind")
    if result["type"] == "string" and not {"maxLength", "enum"} & result.keys():
        raise NotStructural(f"{at}: a string without max_length")
    if result["type"] == "array" and "maxItems" not in result:
        raise NotStructural(f"{at}: a list without max_length")


def _without_defaults_below(value: Json, *, schema: Schema) -> Json:
    """A default as briefly as it can be said: the API server fills in the defaults of the fields below."""
    if isinstance(value, list):
        return [_without_defaults_below(one, schema=schema["items"]) for one in value]
    if not isinstance(value, dict):
        return value
    fields = schema.get("properties", {})
    brief = {name: _without_defaults_below(one, schema=fields[name]) for name, one in value.items() if one is not None}
    return {name: one for name, one in brief.items() if one != fields[name].get("default")}


if __name__ == "__main__":
    write_crd(sys.stdout)
