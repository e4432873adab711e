"""JSON answers: reading them without repair, checking them against a schema, and comparing them by value."""

import json
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from functools import lru_cache

from jsonschema import Draft202012Validator, FormatChecker, ValidationError, validators
from jsonschema.exceptions import SchemaError
from referencing import Registry
from referencing.exceptions import Unresolvable
from referencing.jsonschema import DRAFT202012

from kubedistill.canonical import canonical_json
from kubedistill.json_values import Json
from kubedistill.patterns import compile_pattern

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_REFERENCES = ("$ref", "$dynamicRef")
_SAMPLES: tuple[Json, ...] = (None, True, 0, "", [], {})
"""One value of each type, which a schema that refers only to itself can't check."""


def read_json(text: str) -> Json:
    """Return the JSON value that a string is, as RFC 8259 and I-JSON (RFC 7493) define it.

    Raises ValueError for anything else, also for what Python's reader takes: NaN, numbers out of range, and one key
    twice. Nothing is repaired.
    """
    try:
        value: Json = json.loads(text, parse_constant=_refuse, parse_float=_read_float, object_pairs_hook=_read_object)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    return value


def is_valid_json(text: str, schema: Mapping[str, Json]) -> bool:
    """Return whether a string is a JSON value that a schema, which check_schema accepts, allows."""
    try:
        return bool(_validator(canonical_json(schema)).is_valid(read_json(text)))
    except (ValueError, ArithmeticError, RecursionError):  # not JSON, a number beyond arithmetic, or nested too deeply
        return False


def json_words(text: str) -> tuple[str, ...]:
    """Return what strings with equal JSON values have in common; a string that is not JSON stays unchanged."""
    try:
        return (canonical_json(_normalize(read_json(text))).decode(),)
    except (ValueError, RecursionError):
        return (text,)


def check_schema(schema: Mapping[str, Json]) -> None:
    """Check that answers can be checked against a schema; raises ValueError with the problem."""
    if (dialect := schema.get("$schema", _DIALECT)) != _DIALECT:
        raise ValueError(f"$schema is {dialect!r}, and only {_DIALECT} is supported")
    try:
        Draft202012Validator.check_schema(schema, format_checker=_FORMATS)
    except SchemaError as error:
        raise ValueError(f"{error.message} (at {error.json_path})") from error
    _check_keywords(schema)
    try:
        for value in _SAMPLES:
            _validator(canonical_json(schema)).is_valid(value)
    except RecursionError as error:
        raise ValueError("a $ref refers to itself without end") from error


def _check_keywords(schema: Mapping[str, Json]) -> None:
    """Refuse what a validator reads from elsewhere, or would find only when it checks an answer."""
    resolver = Registry[Json]().resolver_with_root(DRAFT202012.create_resource(schema))
    for node in _objects(schema):
        if node is not schema and isinstance(node.get("$id"), str):
            raise ValueError("$id is only supported at the top")
        if isinstance(node.get("patternProperties"), Mapping):
            raise ValueError("patternProperties is not supported; list the properties")
        for keyword in _REFERENCES:
            reference = node.get(keyword)
            if not isinstance(reference, str):
                continue
            if not reference.startswith("#"):
                raise ValueError(f"{keyword} is {reference!r}, and only references within the schema are supported")
            try:
                resolver.lookup(reference)
            except Unresolvable as error:
                raise ValueError(f"there is no {reference!r}, to which a {keyword} refers") from error


def _objects(value: Json) -> Iterator[Mapping[str, Json]]:
    """Yield each object of a JSON value."""
    if isinstance(value, Mapping):
        yield value
        for part in value.values():
            yield from _objects(part)
    elif isinstance(value, Sequence) and not isinstance(value, str):
        for part in value:
            yield from _objects(part)


def _check_pattern(_: Draft202012Validator, pattern: str, instance: Json, _schema: Json) -> Iterator[ValidationError]:
    """Check a string against a pattern in linear time, which Python's own expressions would not need to take."""
    if isinstance(instance, str) and not compile_pattern(pattern, whole=False)(instance):
        yield ValidationError(f"{instance!r} does not match {pattern!r}")


def _check_multiple(
    validator: Draft202012Validator, divisor: float, instance: Json, _schema: Json
) -> Iterator[ValidationError]:
    """Check a number against a divisor as both are written; 19.99 / 0.01 in binary is 1998.9999999999998."""
    if validator.is_type(instance, "number") and Fraction(str(instance)) % Fraction(str(divisor)):
        yield ValidationError(f"{instance!r} is not a multiple of {divisor!r}")


_Validator = validators.extend(Draft202012Validator, {"pattern": _check_pattern, "multipleOf": _check_multiple})
_FORMATS = FormatChecker(formats=())


@_FORMATS.checks("regex", raises=ValueError)
def _is_regex(value: Json) -> bool:
    """Return True for a pattern that can be matched; raises ValueError for another string."""
    if isinstance(value, str):
        compile_pattern(value, whole=False)
    return True


@lru_cache(maxsize=8)
def _validator(schema: bytes) -> Draft202012Validator:
    # An empty registry: by default, a validator would download what a reference names.
    return _Validator(json.loads(schema), registry=Registry())


def _read_float(text: str) -> float:
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise ValueError(f"{text} is out of range")
    return value


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _read_object(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("an object has one key twice")
    return found


def _normalize(value: Json) -> Json:
    """Return a value in which equal numbers are the same: 1.0 is 1, as in JSON Schema."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, Mapping):
        return {key: _normalize(part) for key, part in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_normalize(part) for part in value]
    return value
