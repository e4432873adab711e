"""What is said of a job that is followed: a line for each change, and how it ended."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from kubedistill.cli.changes import changes, ending, short_time
from kubedistill.cli.get import align_table
from kubedistill.cli.logs import readable
from kubedistill.cli.picture import picture
from kubedistill.cli.terminal import Terminal
from kubedistill.client.job import Job, read_job

RUN = {"id": "1", "digest": "d", "startedAt": "2026-11-25T00:00:00Z"}
OPENING = "team-a/support: Classification, teacher → student, run 1"


@pytest.fixture
def job(job_values: dict[str, Any]) -> Callable[..., Job]:
    """Return a function of (phase, *stages, …) that gives a job."""

    def make(phase: str, *stages: dict[str, Any], **status: Any) -> Job:
        metadata = {**job_values["metadata"], "namespace": "team-a"}
        return read_job(
            {
                **job_values,
                "metadata": metadata,
                "status": {"phase": phase, "run": RUN, "stages": list(stages), **status},
            }
        )

    return make


def stage(state: str, name: str = "Train", **fields: Any) -> dict[str, Any]:
    return {"name": name, "state": state, "attempt": 1, **fields}


TIMES = {"startedAt": "2026-11-25T00:00:00Z", "endedAt": "2026-11-25T00:24:02Z"}
STEPS = {
    "it starts": (stage("Pending"), stage("Starting"), ["Train     Starting"]),
    "it runs": (stage("Starting"), stage("Running"), ["Train     Running"]),
    "some of it is done": (
        stage("Running", percent=9), stage("Running", percent=40, etaSeconds=730, message="600 of 1,500 steps"),
        ["Train     40%, 12m10s left, 600 of 1,500 steps"],
    ),
    "a little of it is done": (stage("Running", percent=40), stage("Running", percent=44), []),
    "it is done": (stage("Running"), stage("Succeeded", **TIMES), ["Train     Succeeded in 24m02s"]),
    "it was there": (stage("Pending"), stage("Skipped"), ["Train     Skipped, its artifacts already exist"]),
    "it waits": (
        stage("Starting"), stage("Starting", reason="ImagePull", message="no such image"),
        ["Train     ImagePull: no such image"],
    ),
    "it ends": (
        stage("Running"), stage("Stopping", reason="OutOfMemory", message="killed"),
        ["Train     Stopping: OutOfMemory: killed"],
    ),
    "it is tried again": (
        stage("Stopping"), stage("Starting", attempt=2, restarts={"failure": 1}),
        ["Train     Starting, attempt 2 (1 failure)"],
    ),
    "it is tried again, for several causes": (
        stage("Stopping", attempt=3),
        stage("Starting", attempt=4, restarts={"failure": 1, "infrastructure": 2, "preemption": 3}),
        ["Train     Starting, attempt 4 (1 failure, 2 losses, 3 preemptions)"],
    ),
    "it is repeated": (
        stage("Pending"), stage("Starting", attempt=2), ["Train     Starting, attempt 2 (nothing failed)"],
    ),
    "nothing": (stage("Running"), stage("Running"), []),
}  # fmt: skip


@pytest.mark.parametrize("case", STEPS)
def test_a_step_of_a_stage_is_a_line(case: str, job: Callable[..., Job]) -> None:
    before, after, lines = STEPS[case]
    assert list(changes(job("Training", before), job("Training", after))) == lines


def test_a_run_that_begins_after_the_first_look_is_not_reported_as_another(job: Callable[..., Job]) -> None:
    waiting, begun = job("Pending", run=None), job("Training", stage("Running"))
    assert list(changes(None, waiting)) == ["team-a/support: Classification, teacher → student"]
    assert list(changes(waiting, begun)) == ["Train     Running"]


def test_the_first_look_reports_the_job_and_all_that_was_done(job: Callable[..., Job]) -> None:
    now = job("Training", stage("Succeeded", "Prepare", **TIMES), stage("Running"), {"name": "Export"})
    assert list(changes(None, now)) == [OPENING, "Prepare   Succeeded in 24m02s", "Train     Running"]


def test_another_run_is_reported_again(job: Callable[..., Job]) -> None:
    again = job("Preparing", stage("Starting", "Prepare"), run={**RUN, "id": "rerun-a"})
    lines = list(changes(job("Succeeded", stage("Succeeded", "Prepare", **TIMES)), again))
    assert lines == [f"{OPENING.removesuffix('1')}rerun-a", "Prepare   Starting"]


HELD = {
    "suspended": ("Suspended", "spec.suspend is true", ["Suspended: spec.suspend is true"]),
    "held": ("Deleting", "finalizer a/b", ["Deleting: finalizer a/b"]),
    "in a queue": ("Queued", "SharedArtifact: other makes it", ["Queued: SharedArtifact: other makes it"]),
    "not valid": ("Pending", "UnknownPool: there is no pool", ["Pending: UnknownPool: there is no pool"]),
    "not begun": ("Pending", "", []),
    "running": ("Training", "640 rows", []),
}


@pytest.mark.parametrize("case", HELD)
def test_what_holds_a_job_is_told_once(case: str, job: Callable[..., Job]) -> None:
    phase, message, lines = HELD[case]
    held = job(phase, message=message)
    assert list(changes(None, held)) == [OPENING, *lines]
    assert list(changes(held, held)) == []


RESULT = {"baselineAccuracy": 0.4, "distilledAccuracy": 0.8}
ENDS = {
    "good": (
        "Succeeded", {"result": {**RESULT, "teacherAccuracy": 0.9, "gapClosed": 0.8}},
        [
            "Accuracy went from 40.0% to 80.0% (teacher 90.0%), 80% of the gap closed.",
            "support succeeded. To see its report: `kubedistill report support -n team-a`",
        ],
    ),
    "worse": (
        "Succeeded", {"result": {"baselineAccuracy": 0.8, "distilledAccuracy": 0.4, "gapClosed": -0.8}},
        [
            "Accuracy fell from 80.0% to 40.0%.",
            "support succeeded. To see its report: `kubedistill report support -n team-a`",
        ],
    ),
    "not judged by accuracy": (
        "Succeeded", {}, ["support succeeded. To see its report: `kubedistill report support -n team-a`"],
    ),
    "bad": (
        "Failed",
        {"message": "no room", "conditions": [{"type": "Failed", "status": "True", "reason": "OutOfMemory"}]},
        ["support failed: OutOfMemory: no room"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", ENDS)
def test_an_end_says_what_came_out(case: str, job: Callable[..., Job]) -> None:
    phase, status, lines = ENDS[case]
    assert list(ending(job(phase, **status))) == lines


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0s"), (59.4, "59s"), (60, "1m00s"), (185, "3m05s"), (3600, "1h00m"), (7799, "2h09m")]
)
def test_times_are_short(seconds: float, text: str) -> None:
    assert short_time(seconds) == text


def test_the_picture_has_a_bar_for_each_stage(job: Callable[..., Job]) -> None:
    stages = [
        stage("Succeeded", "Prepare", attempt=2, **TIMES),
        stage("Skipped", "Generate"),
        stage(
            "Running",
            percent=40,
            etaSeconds=730,
            attempt=2,
            restarts={"preemption": 1},
            startedAt="2026-11-25T00:24:02Z",
        ),
        stage("Failed", "Evaluate", reason="HeadLost"),
        {"name": "Export"},
    ]
    console = Terminal(width=80, record=True, file=open("/dev/null", "w"))  # noqa: PTH123, SIM115
    now = datetime(2026, 11, 25, 0, 30, 2, tzinfo=UTC)
    with console.file:
        console.print(picture(job("Training", *stages, message="600 of 1,500 steps"), now=now))
    lines = console.export_text().splitlines()
    assert lines[0] == OPENING
    assert lines[1] == "Training: 600 of 1,500 steps"
    assert [line.split()[0] for line in lines[2:]] == ["✓", "–", "●", "✗", "○"]
    assert lines[2].endswith("24m02s")
    assert "attempt 2 (nothing failed)" in lines[2]
    assert "already exists" in lines[3]
    assert "40%, 12m10s left, attempt 2" in lines[4]
    assert lines[4].endswith("6m00s")
    assert "failed, HeadLost" in lines[5]


def test_the_picture_has_what_the_run_was_estimated_to_take(job: Callable[..., Job]) -> None:
    for reused, shown in ((False, True), (True, False)):
        estimate = {"seconds": 95.4, "gpuHours": 0.5, "stages": [{"name": "Train", "reused": reused}]}
        found = job("Training", stage("Running"), estimate=estimate)
        console = Terminal(width=80, no_color=True)
        with console.capture() as captured:
            console.print(picture(found, now=datetime(2026, 11, 25, tzinfo=UTC)))
        assert ("Estimate: 1 min 35 s, 0.5 GPU hours\n" in captured.get()) is shown


def test_the_reason_why_the_operator_ignores_a_job_is_reported_once_and_shown(job: Callable[..., Job]) -> None:
    stalled = {"type": "Stalled", "status": "True", "reason": "StatusNotUnderstood", "message": "why"}
    train = stage("Running", percent=40)
    before, after = job("Training", train), job("Dreaming", train, conditions=[stalled], message="Train: 40%")
    assert list(changes(before, after)) == ["Dreaming: why"]
    assert list(changes(after, after)) == []
    console = Terminal(width=100, no_color=True)
    with console.capture() as captured:
        console.print(picture(after, now=datetime(2026, 11, 25, tzinfo=UTC)))
    assert "Dreaming: why" in captured.get()


@pytest.mark.parametrize("wide", [True, False])
def test_the_servers_table_is_printed_as_kubectl_prints_it(wide: bool) -> None:
    columns = [{"name": "Name", "priority": 0}, {"name": "Phase", "priority": 0}, {"name": "ETA", "priority": 1}]
    rows = [
        {"cells": ["a", "Training", "12m"], "object": {"metadata": {"namespace": "x"}}},
        {"cells": ["long-name", None, None], "object": {"metadata": {"namespace": "team-a"}}},
    ]
    drawn = {"columnDefinitions": columns, "rows": rows}
    assert align_table(drawn, wide=wide, with_namespaces=True) == [
        "NAMESPACE   NAME        PHASE" + ("      ETA" if wide else ""),
        "x           a           Training" + ("   12m" if wide else ""),
        "team-a      long-name",
    ]


LINES = {
    '{"at": "2026-11-25T10:11:12.5Z", "level": "INFO", "message": "started"}': "10:11:12 INFO started",
    '{"message": "bare"}': "bare",
    '{"level": "INFO", "message": "m", "traceback": "Traceback:\\n  x"}': "INFO m\nTraceback:\n  x",
    "a line of a library": "a line of a library",
    '{"no": "message"}': '{"no": "message"}',
    "[1]": "[1]",
    '{"at": 7, "message": 8}': "8",
}


@pytest.mark.parametrize("line", LINES)
def test_a_line_of_json_is_made_readable(line: str) -> None:
    assert "".join(text for text, _ in readable(line)) == LINES[line]


def test_a_stage_that_waits_already_is_shown_with_its_reason(job: Callable[..., Job]) -> None:
    """`watch` begins with the job as it is: what it waits for was not printed, since nothing changed."""
    waiting = stage("Starting", reason="ImagePull", message="no such image")
    *_, line = changes(None, job("Training", waiting))
    assert line == "Train     Starting: ImagePull: no such image"
