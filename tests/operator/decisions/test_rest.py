"""What becomes of a job that is suspended, over or deleted (rows P of docs/behavior.md), and of edits to it."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from kubedistill.chain import CHAIN
from kubedistill.labels import CANCEL_ANNOTATION, RERUN_ANNOTATION
from kubedistill.manifest.settings import Pool, Settings
from kubedistill_operator.status import is_true
from support.fake_cluster import FakeCluster, begin, reason_of, small_spec, stage_of


@pytest.fixture
def finished() -> FakeCluster:
    """Return a world whose only run has succeeded."""
    cluster = FakeCluster()
    for stage in CHAIN:
        cluster.complete_stage(stage.name)
    cluster.settle()
    return cluster


def edit(cluster: FakeCluster, **changes: object) -> None:
    cluster.spec, cluster.generation = cluster.spec.model_copy(update=changes), cluster.generation + 1


def test_s5_an_edit_of_a_finished_job_is_reported_to_wait_for_a_new_run(finished: FakeCluster) -> None:
    edit(finished, active_deadline_seconds=60, task=small_spec().task.model_copy(update={"system_prompt": "Be brief."}))
    finished.settle()
    drift = finished.status.condition("SpecDrift")
    assert drift is not None
    assert (drift.status, drift.reason) == ("True", "Edited")
    assert "runID" in drift.message
    assert (finished.status.phase, finished.status.observed_generation) == ("Succeeded", 2)
    assert finished.step().status is None


def test_s6_a_live_field_of_a_finished_job_is_observed_and_no_drift(finished: FakeCluster) -> None:
    edit(finished, child_retention_seconds=5)
    finished.settle()
    assert finished.status.observed_generation == 2
    assert finished.status.condition("SpecDrift") is None
    assert is_true(finished.status, "Complete")


def test_s7_a_new_run_id_after_the_end_starts_a_run_without_a_word_of_drift(finished: FakeCluster) -> None:
    edit(finished, run_id="again")
    finished.settle()
    assert finished.status.run is not None
    assert finished.status.run.id == "again"
    assert "SpecDrift" not in [event.reason for event in finished.events]


def test_s8_a_used_run_id_on_a_finished_job_is_said(finished: FakeCluster) -> None:
    edit(finished, run_id="again")
    finished.settle()
    finished.complete_stage("Prepare")
    finished.settle()
    assert finished.status.phase == "Succeeded", "all else is there already"
    edit(finished, run_id="1")
    finished.settle()
    drift = finished.status.condition("SpecDrift")
    assert drift is not None
    assert drift.reason == "RunIDReused"
    assert finished.status.run is not None
    assert finished.status.run.id == "again"


def test_s10_a_cancellation_that_stays_on_the_job_ends_one_run_only() -> None:
    cluster = FakeCluster()
    cluster.settle()
    cluster.annotations[CANCEL_ANNOTATION] = "once"
    for _ in range(20):
        cluster.settle()
        cluster.now += 61
        cluster.pods.clear()
    assert cluster.status.phase == "Failed"
    for number in range(12):
        cluster.annotations[RERUN_ANNOTATION] = f"again-{number}"
        cluster.settle()
        assert cluster.status.phase == "Preparing", number
        cluster.status = cluster.status.model_copy(update={"run": None, "stages": ()})
    assert "cancel:once" in cluster.status.handled_requests
    assert len(cluster.status.handled_requests) == 8


def test_p1_an_edit_of_a_suspended_job_is_seen() -> None:
    cluster = FakeCluster(spec=small_spec(suspend=True))
    cluster.settle()
    edit(cluster, child_retention_seconds=5)
    cluster.settle()
    assert (cluster.status.phase, cluster.status.observed_generation) == ("Suspended", 2)
    assert reason_of(cluster, "Progressing") == ("False", "Suspended")


def test_a_run_that_a_newer_operator_froze_continues_after_a_downgrade() -> None:
    cluster = FakeCluster()
    cluster.settle()
    ((name, frozen),) = cluster.frozen.items()
    values = dict(frozen.values)
    values["spec"] = {**values["spec"], "novelty": {"a": 1}}  # type: ignore[dict-item]
    values["images"] = {"novelty": "x"}
    cluster.frozen[name] = replace(frozen, values=values)
    cluster.complete_stage("Prepare")
    assert [stage.state for stage in cluster.status.stages][:1] == ["Succeeded"]


def test_the_pool_that_a_stage_overrides_sets_the_price() -> None:
    pools = {
        name: Pool(node_selector={"pool": name}, gpus_per_node=8, price_per_gpu_hour=price)
        for name, price in (("h100", 9.0), ("cheap", 2.0))
    }
    spec = small_spec()
    stages = spec.stages.model_copy(update={"generate": spec.stages.generate.model_copy(update={"pool": "cheap"})})
    cluster = FakeCluster(spec=spec.model_copy(update={"stages": stages}), settings=Settings(pools=pools))
    cluster.settle()
    assert cluster.jobs[cluster.live].prices.teacher == 2.0
    assert cluster.jobs[cluster.live].pools.teacher == "cheap"


@pytest.mark.parametrize(
    ("teacher", "generate", "student", "evaluate", "expected"),
    [
        (None, None, None, None, ("", "")),
        ("h100", None, None, None, ("h100", "")),
        ("h100", "cheap", "cheap", None, ("cheap", "cheap")),
        (None, None, "cheap", "h100", ("", "h100")),
    ],
)
def test_a_driver_gets_the_pools_of_its_prices(
    teacher: str | None, generate: str | None, student: str | None, evaluate: str | None, expected: tuple[str, str]
) -> None:
    price = {"h100": 9.0, "cheap": 2.0, "": None}
    pools = {
        name: Pool(node_selector={"pool": name}, gpus_per_node=8, price_per_gpu_hour=price[name])
        for name in ("h100", "cheap")
    }
    spec = small_spec()
    stages = spec.stages.model_copy(
        update={
            "generate": spec.stages.generate.model_copy(update={"pool": generate}),
            "evaluate": spec.stages.evaluate.model_copy(update={"pool": evaluate}),
        }
    )
    main = spec.teachers[0]
    teachers = (main.model_copy(update={"resources": main.resources.model_copy(update={"pool": teacher})}),)
    resources = spec.student.resources.model_copy(update={"pool": student})
    update = {
        "stages": stages,
        "teachers": teachers,
        "student": spec.student.model_copy(update={"resources": resources}),
    }
    cluster = FakeCluster(spec=spec.model_copy(update=update), settings=Settings(pools=pools))
    cluster.settle()
    told = cluster.jobs[cluster.live]
    assert (told.pools.teacher, told.pools.student) == expected
    assert (told.prices.teacher, told.prices.student) == tuple(price[name] for name in expected)
    assert told.hardware_of("Generate").has_gpus == bool(expected[0])


def test_p1_p2_suspend_saves_and_resume_continues(cluster: FakeCluster) -> None:
    name = begin(cluster, "Train")
    cluster.run_child(name)
    cluster.settle()
    cluster.spec = small_spec(suspend=True)
    cluster.settle()
    assert cluster.channels[name].stop
    assert cluster.status.phase == "Training"
    cluster.result(name, outcome="Stopped", cause="none", reason="Stopped")
    cluster.settle()
    cluster.end_child(name)
    cluster.settle()
    assert cluster.status.phase == "Suspended"
    assert name not in cluster.children
    cluster.now += 10**6
    cluster.settle()
    assert cluster.children == {}, "those of earlier stages are kept no longer than in a run"
    assert cluster.step().status is None
    cluster.spec = small_spec()
    cluster.settle()
    cluster.complete_stage("Prepare")
    stage = stage_of(cluster, "Train")
    assert (stage.attempt, stage.state) == (2, "Starting")
    assert stage.restarts.failure + stage.restarts.infrastructure + stage.restarts.preemption == 0


def test_p1_a_driver_that_does_not_leave_has_a_minute(cluster: FakeCluster) -> None:
    name = begin(cluster, "Train")
    cluster.run_child(name)
    cluster.settle()
    cluster.spec = small_spec(suspend=True)
    cluster.settle()
    cluster.now += 59
    cluster.settle()
    assert name in cluster.children
    cluster.now += 2
    cluster.settle()
    assert name not in cluster.children


def test_p4_children_of_a_success_are_kept_for_a_while(cluster: FakeCluster) -> None:
    for stage in [stage.name for stage in CHAIN]:
        cluster.complete_stage(stage)
    assert cluster.created[-1] in cluster.children
    cluster.now += 601
    cluster.settle()
    assert cluster.children == {}


def test_a_driver_gets_the_date_of_the_jobs_creation_in_every_stage() -> None:
    """A chat template that asks for the date must hear the same one in all stages, whatever day they run on."""
    cluster = FakeCluster()
    cluster.settle()
    first = cluster.jobs[cluster.live].date
    assert first == datetime.fromtimestamp(cluster.job.created, UTC).date().isoformat()
    cluster.complete_stage("Prepare")
    cluster.now += 86_400
    cluster.settle()
    assert cluster.jobs[cluster.live].date == first
