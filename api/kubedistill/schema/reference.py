"""The reference page: `python -m kubedistill.schema.reference` prints docs/reference.md from the resource models."""

import json
import sys
from collections.abc import Iterator
from typing import TextIO

from kubedistill.schema.crd import Schema, structural_schema
from kubedistill.v1alpha1 import API_VERSION, KIND, LIVE_FIELDS, Spec, Status

_HEAD = f"""# Field reference

This page lists the fields of {KIND}, {API_VERSION}. `make docs` generates it from api/kubedistill/v1alpha1;
`kubectl explain dj.spec` shows the same descriptions.

You can omit a field unless it is required. An unknown field is refused: `kubedistill validate` suggests the closest
name, and the API server refuses it with `--validate=strict`.
"""
_LIVE = ", ".join(f"`{Spec.model_fields[name].alias}`" for name in sorted(LIVE_FIELDS))
_SPEC = f"A run keeps the spec that it was started with. Edits of these fields apply at once: {_LIVE}. Any other edit\
 waits for a new `runID`.\n"
_STATUS = "Only the operator writes the status.\n"


def write_reference(stream: TextIO) -> None:
    """Write the reference page."""
    stream.write(_HEAD)
    for name, model, words in (("spec", Spec, _SPEC), ("status", Status, _STATUS)):
        stream.write(f"\n## {name}\n\n{words}")
        schema = structural_schema(model, at=name, defaults=name == "spec")
        for path, node in _objects(schema, at=name):
            stream.write(_section(path, node))


def _objects(node: Schema, *, at: str) -> Iterator[tuple[str, Schema]]:
    """Yield each object with named fields and its path, outer objects first."""
    node, at = _inner(node, at=at)
    if "properties" not in node:
        return
    yield at, node
    for name, field in node["properties"].items():
        yield from _objects(field, at=f"{at}.{name}")


def _inner(node: Schema, *, at: str) -> tuple[Schema, str]:
    """Return the element type of nested lists, with its path."""
    while node["type"] == "array":
        node, at = node["items"], f"{at}[]"
    return node, at


def _section(path: str, node: Schema) -> str:
    """Return the section of one object: its description, fields and rules."""
    rows = [_row(name, field, required=name in node.get("required", ())) for name, field in node["properties"].items()]
    rules = "".join(f"- {rule['message']}\n" for rule in node.get("x-kubernetes-validations", ()))
    lines = [
        f"\n### {path}\n\n{node.get('description', '')}\n\n",
        "| field | type | default | |\n|---|---|---|---|\n",
        *rows,
    ]
    return "".join(lines) + (f"\nRules:\n{rules}" if rules else "")


def _row(name: str, field: Schema, *, required: bool) -> str:
    """Return the row of one field."""
    default = "required" if required else ""
    if field["type"] != "object" and "default" in field:
        default = f"`{json.dumps(field['default'])}`"
    words = str(field.get("description", "")).replace("|", "\\|")
    return f"| `{name}` | {_type(field)} | {default} | {words} |\n"


def _type(field: Schema) -> str:
    """Return the type of a field as text."""
    if "enum" in field:
        return ", ".join(f"`{value}`" for value in field["enum"])
    if field["type"] == "array":
        return f"list of {_type(field['items'])}"
    if "additionalProperties" in field:
        return f"map of {_type(field['additionalProperties'])}"
    return str(field["type"]) + _limits(field)


def _limits(field: Schema) -> str:
    """Return the limits of a number as text; empty without limits."""
    low, high = field.get("minimum"), field.get("maximum")
    if field["type"] not in ("integer", "number") or (low is None and high is None):
        return ""
    least = "" if low is None else f"{'above ' if field.get('exclusiveMinimum') else ''}{low:,}"
    most = "" if high is None or high >= 2**31 - 1 else f"{high:,}"
    return f" ({least} to {most})" if most else f" (from {least})"


if __name__ == "__main__":
    write_reference(sys.stdout)
