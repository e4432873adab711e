"""Canonical JSON: equal values give equal bytes, in any order and in any process."""

import json
import math
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubedistill.canonical import canonical_json, digest

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20)


@pytest.mark.parametrize(
    ("value", "encoded"),
    [
        ({"b": 1, "a": [1, 2]}, b'{"a":[1,2],"b":1}'),
        ({"é": "漢"}, '{"é":"漢"}'.encode()),
        ([1.0, 1, True, None, 2e-5], b"[1.0,1,true,null,2e-05]"),
        ({}, b"{}"),
    ],
)
def test_encoding_is_sorted_short_and_utf8(value: Any, encoded: bytes) -> None:
    assert canonical_json(value) == encoded


def shuffled(value: Any) -> Any:
    """Return the same value, with every mapping the other way round."""
    if isinstance(value, dict):
        return {name: shuffled(one) for name, one in reversed(value.items())}
    return [shuffled(one) for one in value] if isinstance(value, list) else value


@given(value=VALUES)
def test_order_does_not_matter_and_nothing_is_lost(value: Any) -> None:
    assert canonical_json(shuffled(value)) == canonical_json(value)
    assert json.loads(canonical_json(value)) == value


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_a_value_that_is_not_json_is_refused(number: float) -> None:
    with pytest.raises(ValueError, match="JSON"):
        canonical_json({"a": number})


def test_lone_surrogate_is_refused() -> None:
    with pytest.raises(UnicodeEncodeError):
        canonical_json("\ud800")


def test_digest_is_the_same_forever() -> None:
    value = {"task": "QA", "labels": ["a", "é"], "rate": 2e-5}
    expected = "4aa95efb073238ab0edab05653af8471a9e48888ef8a1b87bcde544c4e3de62e"
    assert digest(value) == expected
    script = f"from kubedistill.canonical import digest; print(digest({value!r}))"
    for seed in ("0", "1"):
        run = subprocess.run(
            [sys.executable, "-c", script], env={"PYTHONHASHSEED": seed}, check=True, capture_output=True, text=True
        )
        assert run.stdout.strip() == expected
