"""What becomes of a job that is suspended, over or deleted (rows P of docs/behaviour.md), and of edits to it."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from kubedistill.chain import CHAIN
from kubedistill.settings import Pool, Settings
from kubedistill_operator.names import CANCEL_ANNOTATION, RERUN_ANNOTATION
from kubedistill_operator.status import find_condition, is_true
from world import World, begin, reason_of, small_spec, stage_of


@pytest.fixture
def finished() -> World:
    """A world whose only run has succeeded."""
    world = World()
    for stage in CHAIN:
        world.complete_stage(stage.name)
    world.settle()
    return world


def edit(world: World, **changes: object) -> None:
    world.spec, world.generation = world.spec.model_copy(update=changes), world.generation + 1


def test_s5_an_edit_of_a_finished_job_is_seen_and_said_to_wait_for_a_new_run(finished: World) -> None:
    edit(finished, active_deadline_seconds=60, task=small_spec().task.model_copy(update={"system_prompt": "Be brief."}))
    finished.settle()
    drift = find_condition(finished.status, "SpecDrift")
    assert drift is not None
    assert (drift.status, drift.reason) == ("True", "Edited")
    assert "runID" in drift.message
    assert (finished.status.phase, finished.status.observed_generation) == ("Succeeded", 2)
    assert finished.step().status is None


def test_s6_a_live_field_of_a_finished_job_is_observed_and_no_drift(finished: World) -> None:
    edit(finished, child_retention_seconds=5)
    finished.settle()
    assert finished.status.observed_generation == 2
    assert find_condition(finished.status, "SpecDrift") is None
    assert is_true(finished.status, "Complete")


def test_s7_a_new_run_id_after_the_end_starts_a_run_without_a_word_of_drift(finished: World) -> None:
    edit(finished, run_id="again")
    finished.settle()
    assert finished.status.run is not None
    assert finished.status.run.id == "again"
    assert "SpecDrift" not in [event.reason for event in finished.events]


def test_s8_a_used_run_id_on_a_finished_job_is_said(finished: World) -> None:
    edit(finished, run_id="again")
    finished.settle()
    finished.complete_stage("Prepare")
    finished.settle()
    assert finished.status.phase == "Succeeded", "all else is there already"
    edit(finished, run_id="1")
    finished.settle()
    drift = find_condition(finished.status, "SpecDrift")
    assert drift is not None
    assert drift.reason == "RunIDReused"
    assert finished.status.run is not None
    assert finished.status.run.id == "again"


def test_s10_a_cancellation_that_is_still_on_the_job_is_honoured_once_however_many_reruns_follow() -> None:
    world = World()
    world.settle()
    world.annotations[CANCEL_ANNOTATION] = "once"
    for _ in range(20):
        world.settle()
        world.now += 61
        world.pods.clear()
    assert world.status.phase == "Failed"
    for number in range(12):
        world.annotations[RERUN_ANNOTATION] = f"again-{number}"
        world.settle()
        assert world.status.phase == "Preparing", number
        world.status = world.status.model_copy(update={"run": None, "stages": ()})
    assert "cancel:once" in world.status.handled_requests
    assert len(world.status.handled_requests) == 8


def test_p1_an_edit_of_a_suspended_job_is_seen() -> None:
    world = World(spec=small_spec(suspend=True))
    world.settle()
    edit(world, child_retention_seconds=5)
    world.settle()
    assert (world.status.phase, world.status.observed_generation) == ("Suspended", 2)
    assert reason_of(world, "Progressing") == ("False", "Suspended")


def test_a_run_that_a_newer_operator_froze_goes_on_after_a_downgrade() -> None:
    world = World()
    world.settle()
    ((name, frozen),) = world.frozen.items()
    values = dict(frozen.values)
    values["spec"] = {**values["spec"], "novelty": {"a": 1}}  # type: ignore[dict-item]
    values["images"] = {"novelty": "x"}
    world.frozen[name] = replace(frozen, values=values)
    world.complete_stage("Prepare")
    assert [stage.state for stage in world.status.stages][:1] == ["Succeeded"]


def test_the_pool_that_a_stage_overrides_sets_the_price() -> None:
    pools = {
        name: Pool(node_selector={"pool": name}, gpus_per_node=8, price_per_gpu_hour=price)
        for name, price in (("h100", 9.0), ("cheap", 2.0))
    }
    spec = small_spec()
    stages = spec.stages.model_copy(update={"generate": spec.stages.generate.model_copy(update={"pool": "cheap"})})
    world = World(spec=spec.model_copy(update={"stages": stages}), settings=Settings(pools=pools))
    world.settle()
    assert world.jobs[world.live].prices.teacher == 2.0
    assert world.jobs[world.live].pools.teacher == "cheap"


@pytest.mark.parametrize(
    ("teacher", "generate", "student", "evaluate", "expected"),
    [
        (None, None, None, None, ("", "")),
        ("h100", None, None, None, ("h100", "")),
        ("h100", "cheap", "cheap", None, ("cheap", "cheap")),
        (None, None, "cheap", "h100", ("", "h100")),
    ],
)
def test_a_driver_is_told_the_pools_that_its_prices_are_of(
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
    world = World(spec=spec.model_copy(update=update), settings=Settings(pools=pools))
    world.settle()
    told = world.jobs[world.live]
    assert (told.pools.teacher, told.pools.student) == expected
    assert (told.prices.teacher, told.prices.student) == tuple(price[name] for name in expected)


def test_p1_p2_suspend_saves_and_resume_goes_on(world: World) -> None:
    name = begin(world, "Train")
    world.run_child(name)
    world.settle()
    world.spec = small_spec(suspend=True)
    world.settle()
    assert world.channels[name].stop
    assert world.status.phase == "Training"
    world.result(name, outcome="Stopped", cause="none", reason="Stopped")
    world.settle()
    world.end_child(name)
    world.settle()
    assert world.status.phase == "Suspended"
    assert name not in world.children
    world.now += 10**6
    world.settle()
    assert world.children == {}, "those of earlier stages are kept no longer than in a run"
    assert world.step().status is None
    world.spec = small_spec()
    world.settle()
    world.complete_stage("Prepare")
    stage = stage_of(world, "Train")
    assert (stage.attempt, stage.state) == (2, "Starting")
    assert stage.restarts.failure + stage.restarts.infrastructure + stage.restarts.preemption == 0


def test_p1_a_driver_that_does_not_leave_has_a_minute(world: World) -> None:
    name = begin(world, "Train")
    world.run_child(name)
    world.settle()
    world.spec = small_spec(suspend=True)
    world.settle()
    world.now += 59
    world.settle()
    assert name in world.children
    world.now += 2
    world.settle()
    assert name not in world.children


def test_p4_children_of_a_success_are_kept_for_a_while(world: World) -> None:
    for stage in [stage.name for stage in CHAIN]:
        world.complete_stage(stage)
    assert world.created[-1] in world.children
    world.now += 601
    world.settle()
    assert world.children == {}


def test_no_attempt_begins_while_pods_of_the_last_one_run(world: World) -> None:
    name = begin(world, "Generate")
    world.run_child(name)
    world.settle()
    world.result(name)
    world.settle()
    assert stage_of(world, "Generate").state == "Succeeded"
    assert stage_of(world, "Curate").state == "Pending"
    world.end_child(name)
    world.settle()
    assert stage_of(world, "Curate").state == "Starting"


def test_a_driver_is_told_the_day_that_the_job_was_created_in_every_stage() -> None:
    """A chat template that asks for the date must hear the same one in all stages, whatever day they run on."""
    world = World()
    world.settle()
    first = world.jobs[world.live].date
    assert first == datetime.fromtimestamp(world.job.created, UTC).date().isoformat()
    world.complete_stage("Prepare")
    world.now += 86_400
    world.settle()
    assert world.jobs[world.live].date == first
