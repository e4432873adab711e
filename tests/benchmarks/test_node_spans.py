"""Where `make e2e-node` sees the time of a job go: one Job and one RayJob with the marks of a real run."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from support.node.recorder import Change, Record
from support.node.report import span_lines
from support.node.spans import SPANS, Wall, spans_of

T0 = 1_800_000_000.0
APPLIED, SUCCEEDED = T0, T0 + 100
COMPLETE = {"conditions": [{"type": "Complete", "status": "True"}]}


def stamp(seconds: float) -> str:
    return datetime.fromtimestamp(T0 + seconds, UTC).isoformat()


def labels(stage: str) -> dict[str, str]:
    return {"kubedistill.io/job": "quick", "kubedistill.io/stage": stage, "kubedistill.io/attempt": "1"}


def change(seconds: float, kind: str, name: str, value: dict[str, Any] | None) -> Change:
    return Change(T0 + seconds, kind, ("demo", name), value)


def child(stage: str, **status: Any) -> dict[str, Any]:
    return {"metadata": {"name": stage.lower(), "labels": labels(stage)}, "status": status}


def pod(name: str, stage: str, *, started: float, role: str | None = None) -> dict[str, Any]:
    more = {"ray.io/node-type": role} if role else {}
    state = {"running": {"startedAt": stamp(started)}}
    return {
        "metadata": {"name": name, "labels": {**labels(stage), **more}},
        "status": {"containerStatuses": [{"state": state}]},
    }


def log(*lines: tuple[float, str], startup: float) -> str:
    more = {"driver started": {"startupSeconds": startup}}
    return "\n".join(json.dumps({"at": stamp(at), "message": what, **more.get(what, {})}) for at, what in lines)


RECORD = Record([
    change(1, "jobs", "prepare", child("Prepare")),
    change(3, "pods", "prepare-1", pod("prepare-1", "Prepare", started=3)),
    change(14, "jobs", "prepare", child("Prepare", **COMPLETE)),
    change(15, "rayjobs", "generate", child("Generate")),
    change(17, "pods", "head", pod("head", "Generate", started=17, role="head")),
    change(25, "pods", "worker", pod("worker", "Generate", started=20, role="worker")),
    change(96, "pods", "worker", None),
    change(98, "pods", "head", None),
])  # fmt: skip
LOGS = {
    "prepare-1": log((5, "driver started"), (6, "stage started"), (12, "stage ended"), startup=1.5),
    "generate-1": log(
        (42, "driver started"), (42.5, "stage started"), (43, "engine process starting"), (55, "engine starting"),
        (73, "engine ready"), (93, "stage ended"), startup=2,
    ),
}  # fmt: skip


@pytest.fixture
def wall() -> Wall:
    stages = spans_of(RECORD, "quick", applied=APPLIED, succeeded=SUCCEEDED, logs=LOGS)
    return Wall("quick", SUCCEEDED - APPLIED, tuple(stages))


def test_every_moment_of_the_wall_belongs_to_one_span(wall: Wall) -> None:
    assert sum(sum(stage.seconds.values()) for stage in wall.stages) == pytest.approx(100)


def test_each_span_has_what_its_marks_say(wall: Wall) -> None:
    prepare, generate = ([round(stage.seconds[span], 1) for span in SPANS] for stage in wall.stages)
    # made at 1, container 3, process 3.5, stage 6 to 12, complete 14
    assert prepare == [2 + 0.5 + 2, 0, 0, 6, 1 + 2.5, 0]
    # made at 15, container 17, process 40, stage 42.5 to 93, engine 43 to 73, pods gone 98, Succeeded 100
    assert generate == [2, 23 + 5, 30, 20.5, 1 + 2.5 + 2, 0]


def test_a_stage_that_begins_before_the_old_clusters_pods_are_gone_does_not_wait() -> None:
    record = Record([*RECORD.changes, change(95, "jobs", "curate", child("Curate"))])
    logs = {**LOGS, "curate-1": log((96, "driver started"), (96, "stage started"), (97, "stage ended"), startup=0)}
    generate = spans_of(record, "quick", applied=APPLIED, succeeded=SUCCEEDED, logs=logs)[1]
    assert generate.seconds["Ray"] == pytest.approx(23 + 2)


def test_the_share_that_must_stay_small_is_that_of_all_stages(wall: Wall) -> None:
    assert wall.ours == pytest.approx((3.5 + 5.5) / 100)
    assert "| of the wall | 6% | 28% | 30% | 26% | 9% | 0% | 100 s |" in span_lines(wall)


@pytest.mark.parametrize(
    ("told", "reason", "shared"),
    [
        pytest.param(14.2, "SharedArtifact", 0.5, id="from when it is told"),
        pytest.param(13.0, "SharedArtifact", 0.7, id="not before the stage before has ended"),
        pytest.param(14.2, "PoolBusy", 0.0, id="another wait"),
        pytest.param(14.8, "SharedArtifact", 0.0, id="told after the other has ended"),
    ],
)
def test_waiting_for_artifacts_of_another_job_is_not_our_time(told: float, reason: str, shared: float) -> None:
    queued = {"status": {"conditions": [{"type": "QuotaReserved", "status": "False", "reason": reason}]}}
    record = Record([*RECORD.changes, change(told, "distillationjobs", "quick", queued)])
    others = [log((10, "stage started"), (14.7, "stage ended"), startup=0)]
    generate = spans_of(record, "quick", applied=APPLIED, succeeded=SUCCEEDED, logs=LOGS, others=others)[1]
    assert generate.seconds["shared"] == pytest.approx(shared)
    assert generate.seconds["ours"] == pytest.approx(5.5 - shared)
