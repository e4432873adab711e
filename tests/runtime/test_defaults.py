"""Defaults stay out of keys, so none may change unless the number of the artifact that it decides about is raised."""

import json
from typing import Any

import pytest

from kubedistill_runtime.keys import SCHEMAS
from support.artifact_defaults import GOLDEN, STANDS_ON, complaint, current_defaults
from support.job_folder import JobFolder


@pytest.mark.parametrize("name", STANDS_ON)
def test_defaults_are_those_of_the_file(name: str) -> None:
    golden, now = json.loads(GOLDEN.read_text()), current_defaults()
    assert golden.keys() == now.keys() == SCHEMAS.keys()
    assert not (problem := complaint(name, golden=golden[name], now=now[name])), problem


BEFORE = {"schema": 1, "defaults": {"training.epochs": 3}}


@pytest.mark.parametrize(
    ("now", "says"),
    [
        (BEFORE, None),
        ({"schema": 1, "defaults": {"training.epochs": 4}}, "training.epochs changed: raise SCHEMAS['student']"),
        ({"schema": 1, "defaults": {}}, "training.epochs changed: raise SCHEMAS['student']"),
        ({"schema": 2, "defaults": {"training.epochs": 4}}, "student changed: run "),
        ({"schema": 2, "defaults": {"training.epochs": 3}}, "student changed: run "),
    ],
)
def test_a_default_that_moves_alone_is_told_what_to_do(now: dict[str, Any], says: str | None) -> None:
    found = complaint("student", golden=BEFORE, now=now)
    assert found is None if says is None else (found or "").startswith(says)


@pytest.mark.parametrize("name", STANDS_ON)
def test_a_raised_number_makes_the_artifact_and_all_that_depend_on_it_again(
    name: str, job_folder: JobFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = job_folder.keys()
    monkeypatch.setitem(SCHEMAS, name, SCHEMAS[name] + 1)  # type: ignore[misc]
    after = job_folder.keys()
    expected = {name}
    for one, below in STANDS_ON.items():
        expected |= {one} if expected & set(below) else set()
    assert {one for one in before if before[one] != after[one]} == expected
