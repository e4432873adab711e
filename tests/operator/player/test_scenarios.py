"""Scenarios are data: every word in them is known, and every row of the behavior page that needs one has one."""

import re
from pathlib import Path
from typing import Any

import pytest

from support.fake_kuberay.actions import ACTIONS, CONDITIONS
from support.fake_kuberay.child import Child
from support.fake_kuberay.scenarios import OK, SCENARIOS, Scenario, choose

PAGE = Path(__file__).parents[3] / "docs" / "behavior.md"


def child(stage: str, attempt: int) -> Child:
    labels = {"kubedistill.io/stage": stage, "kubedistill.io/attempt": str(attempt)}
    return Child("RayJob", ("default", "child"), "uid", {"metadata": {"labels": labels}, "spec": {}})


@pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=SCENARIOS.keys())
def test_every_word_is_known(scenario: Scenario) -> None:
    for steps in scenario.plays.values():
        for step in steps:
            assert step.do in ACTIONS
            assert step.when in CONDITIONS
            assert step.after >= 0


@pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=SCENARIOS.keys())
def test_a_job_can_bear_its_name(scenario: Scenario) -> None:
    assert re.fullmatch(r"[a-z][-a-z0-9]{0,23}", scenario.name)


def test_rows_are_those_of_the_behavior_page() -> None:
    rows = set(re.findall(r"^\| ([A-Z]\d+) \|", PAGE.read_text(), re.MULTILINE))
    named = {row for scenario in SCENARIOS.values() for row in scenario.row.split(", ")}
    assert named <= rows
    assert {row for row in rows if row[0] == "A"} - named == {"A17", "A18"}, "a limit, and what every end has in common"


@pytest.mark.parametrize(
    ("job", "name"),
    [("head-lost", "head-lost"), ("head-lost-3", "head-lost"), ("head-lost-traced-3", "head-lost-traced"),
     ("headless", "slow"), ("okay", "slow"), ("ok-1", "ok")],
)  # fmt: skip
def test_a_job_chooses_by_its_name(job: str, name: str) -> None:
    assert choose(job, default="slow").name == name


@pytest.mark.parametrize(
    ("stage", "attempt", "key"),
    [("Train", 1, ("Train", 1)), ("Train", 2, ("Train", 0)), ("Generate", 1, ("*", 1)), ("Generate", 2, None)],
)
def test_steps_are_those_of_the_nearest_child(stage: str, attempt: int, key: Any) -> None:
    plays = {("Train", 1): OK[:1], ("Train", 0): OK[:2], ("*", 1): OK[:3]}
    scenario = Scenario("mine", "", plays)
    assert scenario.steps_of(child(stage, attempt)) == plays.get(key, OK)
