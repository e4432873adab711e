"""Constraints: the form that a job forces the teacher's replies into, if it does."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence

from kubedistill.canonical import canonical_json
from kubedistill.errors import InvalidManifest
from kubedistill.json_values import Json
from kubedistill.v1alpha1 import Spec
from kubedistill.v1alpha1 import Teacher as TeacherSpec
from kubedistill_runtime.serving.engine import Constraint

_AT = "spec.generation.structuredOutput"
_PIECES = re.compile(r"\\.|\[:\^?[a-z]+:\]|&&", re.DOTALL)
_HARMLESS = re.compile(r"\\[^Az<>]", re.DOTALL)
"""An escape that an engine reads as RE2 does, or refuses; others it takes for plain characters."""
_ODD_IN_SCHEMAS = re.compile(r"(?:[^\\]|^)(?:\\\\)*(\\[AZz]|\(\?(?!:).{0,2})", re.DOTALL)
"""What engines read otherwise in the pattern of a schema: anchors as letters, and a look-ahead as nothing."""
_VALUES = ("const", "enum", "default", "examples")
"""Keywords of a schema whose values are no schemas."""
_NAMED = ("properties", "patternProperties", "$defs", "definitions", "dependentSchemas")
"""Keywords of a schema with one schema for each name."""


def find_constraint(spec: Spec) -> Constraint | None:
    """Return the constraint of the teacher's replies, or None.

    Raises InvalidManifest if there is no form, if a teacher can't be forced into it, or if distributions were to be
    stored: an engine gives those of the tokens that the form allows, which are not the teacher's own.
    """
    if not spec.generation.structured_output:
        return None
    if spec.task.chain_of_thought:
        problem = "a teacher that reasons before it answers can't be forced into the form of the answer"
        raise InvalidManifest(problem, at=_AT, fix="Remove it, or task.chainOfThought")
    constraint = _read_form(spec)
    if constraint is None:
        problem = f"the answers of this {spec.task.type} task have no form"
        raise InvalidManifest(problem, at=_AT, fix="Remove it; it needs labels, or task.answer")
    if spec.generation.top_logprobs:
        raise InvalidManifest(
            f"it is {spec.generation.top_logprobs}, but with structuredOutput an engine gives only the distribution of "
            "the tokens that the form allows, which is not the teacher's own",
            at="spec.generation.topLogprobs",
            fix="Remove it, or structuredOutput",
        )
    _check_regex(constraint.regex or "")
    _check_patterns(json.loads(constraint.json_schema or "{}"))
    for teacher in spec.teachers:
        _check_teacher(teacher, constraint)
    return constraint


def _read_form(spec: Spec) -> Constraint | None:
    if spec.task.answer_labels:
        return Constraint(choices=spec.task.answer_labels)
    form = spec.task.answer
    if form is None:
        return None
    schema = None if form.json_schema is None else _write_schema(form.json_schema)
    return Constraint(regex=form.regex, json_schema=schema)


def _write_schema(schema: Mapping[str, Json]) -> str:
    """Return a schema with properties in the order of `required`, in which engines generate them, then by name.

    Of what a user wrote, Kubernetes keeps only the order of lists.
    """
    canonical: Json = json.loads(canonical_json(schema))
    return json.dumps(_arrange(canonical), ensure_ascii=False, separators=(",", ":"))


def _arrange(value: Json) -> Json:
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_arrange(part) for part in value]
    if not isinstance(value, Mapping):
        return value
    arranged = {key: _arrange(part) for key, part in value.items()}
    properties, required = arranged.get("properties"), arranged.get("required")
    if isinstance(properties, Mapping) and isinstance(required, list):
        first = [name for name in required if isinstance(name, str) and name in properties]
        arranged["properties"] = {name: properties[name] for name in [*first, *properties]}
    return arranged


def _check_regex(pattern: str) -> None:
    """Refuse a regular expression that an engine would read otherwise, so that no forced answer matches it."""
    odd = next((one for one in _PIECES.findall(pattern) if not _HARMLESS.fullmatch(one)), None)
    if odd is not None:
        problem = f"engines read {odd!r} of the regular expression otherwise than RE2"
        raise InvalidManifest(problem, at=_AT, fix="Write it as a plain class such as [0-9]; the whole answer matches")


def _check_patterns(schema: Json) -> None:
    """Refuse a pattern in a schema that an engine would read otherwise than its check does."""
    for pattern in _find_patterns(schema):
        odd = _ODD_IN_SCHEMAS.search(pattern)
        if odd is not None:
            problem = f"engines read {odd[1]!r} otherwise than JSON Schema, in its pattern {pattern!r}"
            raise InvalidManifest(problem, at=_AT, fix="Write it without; ^ and $ are the ends of a string")


def _find_patterns(schema: Json) -> Iterator[str]:
    """Yield all regular expressions of a schema."""
    if isinstance(schema, Sequence) and not isinstance(schema, str):
        for part in schema:
            yield from _find_patterns(part)
    if not isinstance(schema, Mapping):
        return
    for keyword, part in schema.items():
        if keyword == "pattern" and isinstance(part, str):
            yield part
        elif keyword in _NAMED and isinstance(part, Mapping):
            yield from part if keyword == "patternProperties" else ()
            yield from _find_patterns(list(part.values()))
        elif keyword not in _VALUES:
            yield from _find_patterns(part)


def _check_teacher(teacher: TeacherSpec, constraint: Constraint) -> None:
    """Refuse a form that a teacher at an endpoint has no means for."""
    if teacher.endpoint is None:
        return
    if teacher.endpoint.api == "Anthropic":
        raise InvalidManifest("the API of Anthropic has no structured output", at=_AT, fix="Remove it")
    if constraint.json_schema is None:
        problem = "an endpoint can be asked for a JSON Schema, but not for labels or a regular expression"
        raise InvalidManifest(problem, at=_AT, fix="Remove it, or write the form as a jsonSchema")
