"""JSON answers: what is JSON, which schemas are taken, what they allow, and which values are equal."""

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubedistill_runtime.json_answers import check_schema, is_valid_json, json_words, read_json

TICKET = {
    "type": "object",
    "properties": {"product": {"type": "string", "pattern": "^[a-z]+$"}, "count": {"$ref": "#/$defs/count"}},
    "required": ["product"],
    "additionalProperties": False,
    "$defs": {"count": {"type": "integer", "minimum": 0}},
}
NOT_JSON = {
    "fences": '```json\n{"product": "kettle"}\n```',
    "words before": 'Here it is: {"product": "kettle"}',
    "a trailing comma": '{"product": "kettle",}',
    "single quotes": "{'product': 'kettle'}",
    "a comment": '{"product": "kettle"} // done',
    "two values": '{"product": "kettle"} {}',
    "one key twice": '{"product": "kettle", "product": "toaster"}',
    "NaN": "NaN",
    "infinity": "-Infinity",
    "a number out of range": "1e999",
    "cut off": '{"product": "ket',
    "nothing": "",
    "deep nesting": "[" * 100_000,
    "too many digits": "1" * 10_000,
}


@pytest.mark.parametrize("case", NOT_JSON)
def test_what_is_not_json_is_not_repaired(case: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        read_json(NOT_JSON[case])
    assert not is_valid_json(NOT_JSON[case], {})
    assert json_words(NOT_JSON[case]) == (NOT_JSON[case],)


@pytest.mark.parametrize(
    ("text", "valid"),
    [
        ('{"product": "kettle"}', True),
        (' {"product": "kettle", "count": 2} ', True),
        ('{"product": "kettle", "count": 2.0}', True),
        ('{"product": "kettle", "count": -1}', False),
        ('{"product": "kettle", "count": true}', False),
        ('{"product": "Kettle"}', False),
        ('{"product": "kettle", "color": "red"}', False),
        ("{}", False),
        ("[]", False),
    ],
)
def test_a_schema_allows_what_json_schema_says(text: str, valid: bool) -> None:
    check_schema(TICKET)
    assert is_valid_json(text, TICKET) == valid


@pytest.mark.parametrize(
    ("number", "divisor", "valid"),
    [
        ("19.99", 0.01, True),
        ("0.3", 0.1, True),
        ("-4.35", 0.01, True),
        ("2000000.13", 0.01, True),
        ("1e22", 0.1, True),
        ("1e308", 0.1, True),
        ("7", 3.5, True),
        ("19.999", 0.01, False),
        ("0.30000000000000004", 0.1, False),
        ("7", 2, False),
        ('"7"', 2, True),
    ],
)
def test_a_multiple_is_one_of_the_decimal_numbers_as_written(number: str, divisor: float, valid: bool) -> None:
    assert is_valid_json(number, {"multipleOf": divisor}) == valid


EQUAL = [
    ('{"a": 1, "b": [true, null]}', '{ "b": [true, null],\n"a": 1.0 }', True),
    ("1", "1.0", True),
    ("1e2", "100", True),
    ("-0.0", "0", True),
    ('"\\u00e9"', '"é"', True),
    ("1", "true", False),
    ("0", "false", False),
    ("0", "null", False),
    ('"1"', "1", False),
    ('"Yes"', '"yes"', False),
    ("[1, 2]", "[2, 1]", False),
    ('{"a": {}}', '{"a": []}', False),
]


@pytest.mark.parametrize(("one", "other", "equal"), EQUAL)
def test_two_answers_are_equal_if_their_values_are(one: str, other: str, equal: bool) -> None:
    assert (json_words(one) == json_words(other)) == equal


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "another draft": ({"$schema": "http://json-schema.org/draft-07/schema#"}, "draft/2020-12"),
    "an unknown type": ({"type": "text"}, "text"),
    "a schema that is a string": ({"properties": {"a": "string"}}, "properties"),
    "look-ahead": ({"pattern": "(?=a)"}, "(?=a)"),
    "a pattern of keys": ({"patternProperties": {"^a": {}}}, "patternProperties"),
    "a schema elsewhere": ({"$ref": "https://example.com/schema.json"}, "within the schema"),
    "a file": ({"items": {"$ref": "ticket.json"}}, "within the schema"),
    "a missing definition": ({"$ref": "#/$defs/none"}, "#/$defs/none"),
    "a missing anchor": ({"$ref": "#none"}, "#none"),
    "a reference to itself": ({"$ref": "#"}, "itself"),
    "another name within": ({"properties": {"a": {"$id": "https://example.com/a"}}}, "$id"),
    "a minimum of words": ({"minimum": "1"}, "minimum"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_schema_that_cannot_check_answers_is_refused(case: str) -> None:
    schema, word = REFUSED[case]
    with pytest.raises(ValueError, match=r".+") as refused:
        check_schema(schema)
    assert word in str(refused.value)


@pytest.mark.parametrize(
    "schema",
    [
        {},
        {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": "https://example.com/a", "$ref": "#/$defs/a",
         "$defs": {"a": {"type": "string"}}},
        {"type": "object", "properties": {"child": {"$ref": "#"}}},
        {"$defs": {"a": {"$anchor": "here", "type": "null"}}, "items": {"$ref": "#here"}},
        {"enum": ["a", None, 1]},
    ],
)  # fmt: skip
def test_a_schema_that_can_is_taken(schema: dict[str, Any]) -> None:
    check_schema(schema)
    assert isinstance(is_valid_json('{"child": {}}', schema), bool)


def test_a_pattern_of_a_schema_takes_linear_time() -> None:
    schema = {"pattern": "(a+)+b"}
    check_schema(schema)
    began = time.process_time()
    assert not is_valid_json(json.dumps("a" * 100_000), schema)
    assert time.process_time() - began < 10


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=8,
)


@given(value=JSON, indent=st.sampled_from([None, 2]), ascii_only=st.booleans())
def test_every_spelling_of_a_value_is_equal_and_read_unchanged(
    value: Any, indent: int | None, ascii_only: bool
) -> None:
    text = json.dumps(value, indent=indent, ensure_ascii=ascii_only)
    assert read_json(text) == value
    assert json_words(text) == json_words(json.dumps(value, sort_keys=True))


@given(text=st.text() | st.lists(st.sampled_from([*'{}[]",:0123456789.eE+-', "true", "null", "\\u", " "])).map("".join))
def test_no_text_raises_anything_but_value_error(text: str) -> None:
    for schema in ({}, TICKET, {"multipleOf": 0.1}, {"uniqueItems": True}):
        assert isinstance(is_valid_json(text, schema), bool)
    json_words(text)


@pytest.mark.parametrize(
    "text", ["1" * 400, "-" + "9" * 4000, "[" * 2000 + "]" * 2000, '{"a":' * 900 + "1" + "}" * 900]
)
def test_large_numbers_and_deep_values_are_answers_or_invalid(text: str) -> None:
    for schema in ({"multipleOf": 0.1}, {"type": "integer", "maximum": 1e308}, {"items": {"$ref": "#"}}):
        assert isinstance(is_valid_json(text, schema), bool)
    json_words(text)
