"""Whatever is in a channel: the operator continues, the job ends as docs/behavior.md says, and no other one notices.

Rows A1, A2, A3, A14 and P1. What can't be read counts as absent, with a driver that ends without a result.
"""

import json
import math
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.fake_kuberay.background import playing
from support.fake_kuberay.scenarios import END, OK, WORKING, Scenario, choose, step
from support.kube_api import Api, wait_for
from support.operator_harness import JOBS, LOOK_SECONDS, OperatorHarness, open_harness

HUGE = "x" * 900 * 1024
TERMINAL = "\x1b[31mred\x1b[0m\x07\x9b2J\r\nsecond line\t\u202eright to left\u2028end"
PROGRESS = {"contract": 1, "at": "2026-01-01T00:00:00Z", "state": "Working", "done": 2, "total": 4, "unit": "rows"}
RESULT = {
    "contract": 1, "driver": "somebody", "outcome": "Succeeded", "startedAt": "2026-01-01T00:00:00Z",
    "endedAt": "2026-01-01T00:00:00Z",
}  # fmt: skip


def written(values: dict[str, Any], **changes: Any) -> str:
    """Return a message with some of its fields changed; what is not a number in JSON is written as Python does."""
    return json.dumps(values | changes)


def unreadable(values: dict[str, Any], number: str) -> dict[str, str]:
    """Return texts that are no message of the contract; `number` is a field that holds a number."""
    return {
        "truncated": written(values)[:-9],
        "huge": HUGE,
        "huge-json": written(values, message=HUGE),
        "empty-list": "[]",
        "a-word": "done",
        "newer": written(values, contract=99),
        "no-version": written(values, contract=None),
        "true-version": written(values, contract=True),
        "wrong-types": written(values, **{number: "many", "message": {"$ref": "../other"}}),
        "nan": written(values, **{number: math.nan}),
        "infinite": written(values, **{number: math.inf}),
        "beyond-float": written(values).replace("{", f'{{"{number}": 1e999, ', 1),
        "negative": written(values, **{number: -1}),
        "digits": written(values).replace("{", f'{{"{number}": {"9" * 5000}, ', 1),
        "nested": "[" * 8000,
        "control": written(values)[:-1] + "\x00\x01\x1b}",
        "half-a-pair": written(values)[:-1] + ', "message": "\\ud800"}',
        "terminal": TERMINAL,
    }


RESULTS = unreadable(RESULT, "gpuSeconds") | {
    "stranger": written(RESULT),
    "bad-outcome": written(RESULT, outcome="Glorious\nSucceeded"),
    "bad-artifact": written(RESULT, artifacts={"gold": {"key": "", "uri": "file:///", "complete": True}}),
}
PROGRESSES = unreadable(PROGRESS, "done")
OWNERS = {"another": "nobody:else", "nothing": "", "huge": HUGE, "terminal": TERMINAL}
ENDS = step("Exit", after=1, code=0)
HELD = {("Generate", 0): (step("Hold"),)}
SAID = {"outcome": "Failed", "cause": "user", "reason": "Bad\x1b[2JReason", "message": TERMINAL + "x" * 3900}


def plays(job: str) -> Scenario:
    """`result-CASE`, `progress-CASE` and `owner-CASE` are told by their first driver, which then ends well or badly.

    After Prepare a queue holds the job back: there is nothing more to see.
    """
    sort, _, case = job.partition("-")
    texts = {"result": RESULTS, "progress": PROGRESSES, "owner": OWNERS}.get(sort, {})
    if sort == "emptied":
        steps = (*WORKING, step("Result", after=150, outcome="Succeeded"), ENDS)
        return Scenario(job, "A14", {("Prepare", 1): steps, ("Prepare", 2): OK, **HELD})
    if job == "says-bad-things":
        steps = (*WORKING, step("Result", **SAID), step("Exit", code=1))
        return Scenario(job, "A3", {("Prepare", 0): steps})
    if case not in texts:
        return choose(job)
    key = {"result": "result.json", "progress": "progress.json", "owner": "owner"}[sort]
    ends = END if sort == "progress" else (ENDS,)
    wrote = step("Write", after=1, name=key, text=texts[case])
    return Scenario(job, "A14", {("Prepare", 1): (*WORKING, wrote, *ends), ("Prepare", 2): OK, **HELD})


@pytest.fixture(scope="module")
def harness(
    api: Api, kubeconfig: Path, operator_kubeconfig: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[OperatorHarness]:
    folder, name = tmp_path_factory.mktemp("operator"), f"test-{secrets.token_hex(4)}"
    with (
        open_harness(api, operator_kubeconfig, folder, name) as harness,
        playing(kubeconfig, namespace=name, scale=0.02, choose=plays),
    ):
        yield harness


@pytest.fixture(scope="module")
def beside(harness: OperatorHarness) -> Iterator[str]:
    """Yield a job that goes about its work while others are written to; it must not notice."""
    harness.submit("slow-beside")
    wait_for(lambda: is_running(harness, "slow-beside"), what="it works", seconds=LOOK_SECONDS)
    (before,) = children(harness, "slow-beside")
    yield "slow-beside"
    (after,) = children(harness, "slow-beside")
    assert (after["metadata"]["uid"], restarts(harness, "slow-beside")) == (before["metadata"]["uid"], 0)
    assert is_running(harness, "slow-beside")


def is_running(harness: OperatorHarness, name: str) -> bool:
    return harness.stage(name, "Prepare").get("state") == "Running"


def succeeds(harness: OperatorHarness, name: str) -> None:
    """Wait until Prepare has succeeded, in whatever attempt."""
    wait_for(
        lambda: harness.stage(name, "Prepare").get("state") == "Succeeded",
        what=f"{name} is prepared",
        seconds=3 * LOOK_SECONDS,
    )


def children(harness: OperatorHarness, name: str) -> list[dict[str, Any]]:
    return harness.made(kinds=["batch/v1/Job", "ray.io/v1/RayJob"], job=name)


def restarts(harness: OperatorHarness, name: str) -> int:
    return sum((harness.stage(name, "Prepare").get("restarts") or {}).values())


def write(harness: OperatorHarness, name: str, data: Any) -> None:
    """Somebody with more rights than a driver writes into the channel of a job's first attempt."""
    where = harness.namespaces[0]
    (channel,) = [
        one["metadata"]["name"]
        for one in harness.made(kinds=["v1/ConfigMap"], job=name)
        if one["metadata"]["name"].endswith("-out") and one["metadata"]["labels"]["kubedistill.io/stage"] == "Prepare"
    ]
    harness.api.patch("v1/ConfigMap", channel, {"data": data}, namespace=where)


@pytest.mark.usefixtures("beside")
def test_a14_an_unreadable_result_counts_as_absent(harness: OperatorHarness) -> None:
    names = [f"result-{case}" for case in RESULTS] + [f"owner-{case}" for case in OWNERS]
    for name in names:
        harness.submit(name)
    for name in names:
        succeeds(harness, name)
        assert harness.stage(name, "Prepare")["attempt"] == 2, name
        assert restarts(harness, name) == 1, name
        assert harness.tells(name, "AttemptFailed").count("AttemptFailed") == 1, name
    harness.check()


@pytest.mark.usefixtures("beside")
def test_a1_unreadable_progress_changes_nothing(harness: OperatorHarness) -> None:
    names = [f"progress-{case}" for case in PROGRESSES]
    for name in names:
        harness.submit(name)
    for name in names:
        succeeds(harness, name)
        assert (harness.stage(name, "Prepare")["attempt"], restarts(harness, name)) == (1, 0), name
    harness.check()


def test_a3_a_message_of_a_driver_is_shown_on_one_line_without_control_characters(
    harness: OperatorHarness,
) -> None:
    harness.submit("says-bad-things")
    harness.becomes("says-bad-things", "Failed")
    condition = harness.condition("says-bad-things", "Failed")
    assert condition is not None
    assert condition[1] == "UserCodeError", "a reason that is none is left out"
    status = harness.status("says-bad-things")
    texts = [condition[2], status["message"], harness.stage("says-bad-things", "Prepare")["message"]]
    for text in texts:
        assert text.isprintable()
        assert "second line" in text
        assert len(text) <= 1024
    told = [one["message"] for one in harness.api.list("v1/Event", namespace=harness.namespaces[0])]
    assert all(text.isprintable() for text in told)
    harness.check()


EMPTIED: dict[str, Any] = {
    "all": None,
    "its keys": {"owner": None, "starts": None, "progress.json": None},
    "its owner": {"owner": None},
    "its count": {"starts": "many"},
}


@pytest.mark.usefixtures("beside")
def test_a14_a_channel_that_somebody_empties_costs_an_attempt_at_most(harness: OperatorHarness) -> None:
    """All of them at once: each waits out the grace that a last word has."""
    names = {what: f"emptied-{what.replace(' ', '-')}" for what in EMPTIED}
    for what, name in names.items():
        harness.submit(name)
        wait_for(lambda name=name: is_running(harness, name), what=f"{name} works", seconds=LOOK_SECONDS)  # type: ignore[misc]
        write(harness, name, EMPTIED[what])
    for what, name in names.items():
        succeeds(harness, name)
        assert restarts(harness, name) == (what != "its count"), (
            "a claim that is gone ends its driver, a count does not"
        )
    harness.check()


def test_p1_a_job_whose_channel_was_emptied_is_suspended_all_the_same(harness: OperatorHarness) -> None:
    harness.submit("slow-emptied")
    wait_for(lambda: is_running(harness, "slow-emptied"), what="it works", seconds=LOOK_SECONDS)
    write(harness, "slow-emptied", None)
    harness.api.patch(JOBS, "slow-emptied", {"spec": {"suspend": True}}, namespace=harness.namespaces[0])
    harness.becomes("slow-emptied", "Suspended")
    assert "WriteRefused" not in harness.events("slow-emptied")
    harness.check()
