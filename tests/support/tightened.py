"""What today's CRD refuses and an earlier one took: objects that are stored all the same, and must stay usable."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from kube_api import Manifest

_LIMITS = {
    "minLength": max, "minItems": max, "minimum": max, "maxLength": min, "maxItems": min, "maximum": min,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Stored:
    """A job that an earlier CRD took: its name, and the part of its spec that today's refuses."""

    name: str
    spec: Mapping[str, Any]


TIGHTENED: dict[str, Stored | str] = {
    "spec.task: !has(self.labels) || self.labels.all(label, label == label.trim())": Stored(
        "padded", {"task": {"type": "Classification", "labels": ["yes", "no "]}}
    ),
    "spec.data.train: !has(self.targets) || self.targets != 'All' || (has(self.answers) && self.answers == 'Given')": (
        "targets is new, and its default is allowed"
    ),
}
"""By the field and what is new about it: an object that an earlier CRD stored, or why there can be none."""


def stored_rows(old: Manifest, new: Manifest) -> dict[str, Stored]:
    """The jobs that one CRD stores and a later one refuses."""
    rows = {row: TIGHTENED.get(row) for row in sorted(tightenings(old, new))}
    return {row: one for row, one in rows.items() if isinstance(one, Stored)}


def tightenings(old: Manifest, new: Manifest) -> set[str]:
    """What a CRD refuses that another did not, by field: rules, patterns, limits, required fields, and lost values."""
    schemas = [crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"] for crd in (old, new)]
    return {f"{path}: {what}" for path, what in _compare(*schemas, path="")}


def _compare(old: Mapping[str, Any], new: Mapping[str, Any], *, path: str) -> Iterator[tuple[str, str]]:
    before = {one["rule"] for one in old.get("x-kubernetes-validations", ())}
    for one in new.get("x-kubernetes-validations", ()):
        if one["rule"] not in before:
            yield path, one["rule"]
    for name in ("pattern", "format", "type", "exclusiveMinimum", "exclusiveMaximum"):
        if name in new and new[name] != old.get(name):
            yield path, f"{name} {new[name]}"
    for name, stricter in _LIMITS.items():
        if name in new and (name not in old or stricter(old[name], new[name]) != old[name]):
            yield path, f"{name} {new[name]}"
    for name in sorted({*new.get("required", ())} - {*old.get("required", ())}):
        yield path, f"{name} is required"
    for value in old.get("enum", ()):
        if value not in new.get("enum", (value,)):
            yield path, f"{value} is no value any more"
    for name, part in old.get("properties", {}).items():
        where = f"{path}.{name}".lstrip(".")
        if name in new.get("properties", {}):
            yield from _compare(part, new["properties"][name], path=where)
        else:
            yield where, "is no field any more"
    for inner in ("items", "additionalProperties"):
        if isinstance(old.get(inner), dict) and isinstance(new.get(inner), dict):
            yield from _compare(old[inner], new[inner], path=f"{path}[]")
