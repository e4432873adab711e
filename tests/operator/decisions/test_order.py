"""The order of the deciders: every row says what it must precede or follow, and it is so."""

import inspect
import re

import pytest

from kubedistill_operator.decisions import reconcile
from kubedistill_operator.decisions.reconcile import DECIDERS

NAMES = [decider.__name__ for decider in DECIDERS]
TABLE = inspect.getsource(reconcile).partition("DECIDERS: tuple[Decider, ...] = (\n")[2].partition("\n)\n")[0]
ROWS = dict(re.findall(r"^    (\w+),  # (.+)$", TABLE, flags=re.MULTILINE))
HEADINGS = re.findall(r"^    # (\d)\. .+\.$", TABLE, flags=re.MULTILINE)


def constraints(words: str) -> list[tuple[str, str]]:
    """Return the constraints that a row states: (before or after, name of another decider)."""
    return [
        (where, name)
        for where, names in re.findall(r"(before|after) ((?:\w+(?:, | and )?)+?)(?=[:;]|$)", words)
        for name in re.split(r", | and ", names)
    ]


def test_every_decider_has_a_row_that_says_why_it_is_there() -> None:
    assert list(ROWS) == NAMES
    assert len(set(NAMES)) == len(NAMES)
    assert all(constraints(words) for words in ROWS.values())
    assert HEADINGS == ["1", "2", "3", "4", "5"]


@pytest.mark.parametrize("name", NAMES)
def test_a_decider_precedes_and_follows_what_its_row_says(name: str) -> None:
    own = NAMES.index(name)
    for where, other in constraints(ROWS[name]):
        assert (own < NAMES.index(other)) == (where == "before"), f"{name} {where} {other}"


def test_a_row_states_all_constraints_it_names() -> None:
    words = "after cancel and suspend: it can be stopped; before record_failure"
    assert constraints(words) == [("after", "cancel"), ("after", "suspend"), ("before", "record_failure")]
    assert constraints("before a, b and c: so") == [("before", "a"), ("before", "b"), ("before", "c")]
