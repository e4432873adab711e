"""What today's CRD refuses and an earlier one took: objects that are stored all the same, and must stay usable."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, get_args

from kubedistill.v1alpha1.base import ONE_LINE, SOME_LINES, DataKey, NewForm, ObjectReference
from support.kube_api import Manifest

_LIMITS = {
    "minLength": max, "minItems": max, "minimum": max, "maxLength": min, "maxItems": min, "maximum": min,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Stored:
    """A job that an earlier CRD took: its name, and the part of its spec that today's refuses."""

    name: str
    spec: Mapping[str, Any]


_HOSTILE = "\x1b]0;x\x07\x9b"
_FOLDER = {"configMapKeyRef": {"name": "../../etc", "key": "../passwd"}}
_OBEYED = Stored(
    "obeyed",
    {
        "task": {"type": "Classification", "labels": ["yes", f"no{_HOSTILE}"], "systemPrompt": _HOSTILE},
        "teachers": [{"name": "main", "model": {"source": _HOSTILE, "revision": _HOSTILE, "quantization": _HOSTILE}}],
        "student": {"model": {"source": f"a\nb{_HOSTILE}", "revision": _HOSTILE}},
        "data": {split: {"uri": _HOSTILE} for split in ("train", "validation", "test")},
        "storage": {"uri": _HOSTILE, "volumeClaim": "../../etc"},
        "export": [{"uri": _HOSTILE}],
        "pods": {"annotations": {"a": _HOSTILE}},
    },
)
_MOUNTED = Stored("mounted", {"data": dict.fromkeys(("train", "validation", "test"), _FOLDER)})
_NAME, _KEY = (next(one for one in get_args(kind) if isinstance(one, NewForm)) for kind in (ObjectReference, DataKey))
_FORMS: dict[str, tuple[NewForm, Stored]] = {
    "spec.task.labels[]": (ONE_LINE, _OBEYED),
    "spec.task.systemPrompt": (SOME_LINES, _OBEYED),
    "spec.teachers[].model.source": (ONE_LINE, _OBEYED),
    "spec.teachers[].model.revision": (ONE_LINE, _OBEYED),
    "spec.teachers[].model.quantization": (ONE_LINE, _OBEYED),
    "spec.student.model.source": (ONE_LINE, _OBEYED),
    "spec.student.model.revision": (ONE_LINE, _OBEYED),
    "spec.storage.uri": (ONE_LINE, _OBEYED),
    "spec.storage.volumeClaim": (_NAME, _OBEYED),
    "spec.export[].uri": (ONE_LINE, _OBEYED),
    "spec.pods.annotations[]": (SOME_LINES, _OBEYED),
} | {
    f"spec.data.{split}.{field}": row
    for split in ("train", "validation", "test")
    for field, row in (
        ("uri", (ONE_LINE, _OBEYED)),
        ("configMapKeyRef.name", (_NAME, _MOUNTED)),
        ("configMapKeyRef.key", (_KEY, _MOUNTED)),
    )
}
"""Strings that got a form, and an object that does not have it."""

TIGHTENED: dict[str, Stored | str] = {
    "spec.task: !has(self.labels) || self.labels.all(label, label == label.trim())": Stored(
        "padded", {"task": {"type": "Classification", "labels": ["yes", "no "]}}
    ),
    "spec.data.train: !has(self.targets) || self.targets != 'All' || (has(self.answers) && self.answers == 'Given')": (
        "targets is new, and its default is allowed"
    ),
    "spec.task: self.type == 'Summarization' || "
    "!has(self.maxSummaryWords) && (!has(self.chainOfDensity) || !self.chainOfDensity)": "both are new",
    "spec.task: self.type in ['Classification', 'NLI', 'QA', 'Math'] || !has(self.chainOfThought) || "
    "!self.chainOfThought": "chainOfThought is new",
    "spec: !has(self.budget) || !has(self.budget.dollars) || "
    "self.teachers.all(teacher, !has(teacher.endpoint) || has(teacher.endpoint.prices))": "budget is new",
    "spec.budget: has(self.dollars) || has(self.gpuHours)": "budget is new",
    "spec.task: self.type == 'Text' || !has(self.prompt) && !has(self.answer)": "both are new",
    "spec.teachers[]: has(self.model) != has(self.endpoint)": "model was required, and endpoint is new",
    "spec.teachers[]: !has(self.endpoint) || !has(self.resources)": "endpoint is new",
    "spec.teachers[].endpoint: !has(self.tokenizer) || !has(self.api) || self.api != 'Anthropic'": "tokenizer is new",
    **{f"{field}: pattern {form.pattern}": stored for field, (form, stored) in _FORMS.items()},
}
"""By the field and what is new about it: an object that an earlier CRD stored, or why there can be none."""


def stored_rows(old: Manifest, new: Manifest) -> dict[str, Stored]:
    """Return the jobs that one CRD stores and a later one refuses, by name."""
    rows = [TIGHTENED.get(row) for row in sorted(tightenings(old, new))]
    return {one.name: one for one in rows if isinstance(one, Stored)}


def tightenings(old: Manifest, new: Manifest) -> set[str]:
    """Return what a CRD refuses that another did not, by field: rules, patterns, limits, required fields, values."""
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
            yield path, f"{value} is not a value any more"
    for name, part in old.get("properties", {}).items():
        where = f"{path}.{name}".lstrip(".")
        if name in new.get("properties", {}):
            yield from _compare(part, new["properties"][name], path=where)
        else:
            yield where, "is not a field any more"
    for inner in ("items", "additionalProperties"):
        if isinstance(old.get(inner), dict) and isinstance(new.get(inner), dict):
            yield from _compare(old[inner], new[inner], path=f"{path}[]")
