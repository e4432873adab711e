"""The stored status: renamed fields under both names, and what no reader guesses at."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubedistill.contract.stored_status import (
    RENAMES,
    Rename,
    StoredStatus,
    read_status,
    with_both_names,
    with_new_names,
)
from kubedistill.schema.crd import job_schema
from kubedistill.v1alpha1 import Status

Values = dict[str, Any]
MADE_UP = (
    Rename(("run",), "digest", "sum", since="0.2"),
    Rename(("stages", "restarts"), "preemption", "preempted", since="0.2"),
)


READ: dict[str, tuple[Values, Values]] = {
    "the old name alone": ({"honoured": ["rerun:1"]}, {"handledRequests": ["rerun:1"]}),
    "the new name alone": ({"handledRequests": ["rerun:1"]}, {"handledRequests": ["rerun:1"]}),
    "both alike": ({"honoured": ["a"], "handledRequests": ["a"]}, {"handledRequests": ["a"]}),
    "an older one wrote since": ({"honoured": ["a", "b"], "handledRequests": ["a"]}, {"handledRequests": ["a", "b"]}),
    "a newer one wrote since": ({"honoured": ["a"], "handledRequests": ["a", "b"]}, {"handledRequests": ["a", "b"]}),
    "neither": ({"phase": "Failed"}, {"phase": "Failed"}),
    "a flag under its old name": ({"run": {"rewound": True}}, {"run": {"rebuilt": True}}),
    "a flag that an older one has set since": (
        {"run": {"rewound": True, "rebuilt": False}}, {"run": {"rebuilt": True}},
    ),
    "a flag of a run that an older one has replaced": (
        {"run": {"rewound": False, "rebuilt": True}}, {"run": {"rebuilt": False}},
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", READ)
def test_a_renamed_field_is_read_under_both_names(case: str) -> None:
    stored, expected = READ[case]
    assert with_new_names(stored) == expected


def test_names_below_objects_and_lists_change_too() -> None:
    new = {"run": {"sum": "7"}, "stages": [{"restarts": {"preempted": 2}}, {"name": "Train"}]}
    both = {
        "run": {"sum": "7", "digest": "7"},
        "stages": [{"restarts": {"preempted": 2, "preemption": 2}}, {"name": "Train"}],
    }
    assert with_both_names(new, renames=MADE_UP) == both
    assert with_new_names(both, renames=MADE_UP) == new


@given(tokens=st.lists(st.text(max_size=5), max_size=8, unique=True))
def test_what_is_written_every_version_reads_alike(tokens: list[str]) -> None:
    written = with_both_names({"handledRequests": tokens, "phase": "Failed"})
    assert written["honoured"] == written["handledRequests"] == tokens
    for forgotten in ("honoured", "handledRequests"):
        left = {name: value for name, value in written.items() if name != forgotten}
        assert read_status(left) == StoredStatus(Status(phase="Failed", handled_requests=tuple(tokens)))


def test_the_schema_keeps_the_old_names_and_names_their_replacements() -> None:
    for rename in RENAMES:
        schema = job_schema()["properties"]["status"]
        for name in rename.within:
            schema = schema["properties"][name]
        old, new = (schema["properties"][name] for name in (rename.old, rename.new))
        assert {**old, "description": new["description"]} == new
        assert old["description"].startswith(f"Deprecated since {rename.since}: use {rename.new}.")


def test_a_status_that_is_not_an_object_is_an_empty_one() -> None:
    assert [read_status(one) for one in (None, 7, "x", [])] == [StoredStatus(Status())] * 4
