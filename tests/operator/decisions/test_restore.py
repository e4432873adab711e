"""A job that comes back without its status: rows S15 and W14 of docs/behaviour.md, by their names."""

import pytest

from kubedistill.chain import CHAIN, STAGES, StageName
from kubedistill.v1alpha1 import RunRecord, Status
from kubedistill_operator.names import RELEASE_ANNOTATION
from kubedistill_operator.status import find_condition
from world import SETTINGS, World, begin, reason_of, small_spec, stage_of

HOLD = SETTINGS.model_copy(update={"on_restore": "Hold"})
ALL = [stage.name for stage in CHAIN]


def restored(*, whole: list[StageName]) -> World:
    """A job as a backup brings it back, over a store that holds whole what some stages made."""
    world = World()
    world.stored = {name for stage in whole for name in STAGES[stage].makes}
    return world


@pytest.mark.parametrize("count", range(1, len(ALL) + 1))
def test_s15_stages_are_skipped_where_the_store_is_whole(count: int) -> None:
    world = restored(whole=ALL[:count])
    world.complete_stage("Prepare")
    states = [stage.state for stage in world.status.stages]
    assert states[:count] == ["Succeeded", *["Skipped"] * (count - 1)]
    for stage in ALL[count:]:
        world.complete_stage(stage)
    assert world.status.phase == "Succeeded"
    assert len(world.created) == 1 + len(ALL) - count
    assert world.status.result is not None
    assert world.status.result.gate_passed


def test_s15_what_is_not_whole_in_the_midst_is_made_again_and_what_follows_is_not() -> None:
    world = restored(whole=[stage for stage in ALL if stage != "Curate"])
    world.complete_stage("Prepare")
    world.complete_stage("Curate")
    assert world.status.phase == "Succeeded"
    assert [name.split("-")[1] for name in world.created] == ["prepare", "curate"]


def test_w14_nothing_starts_until_it_is_annotated() -> None:
    world = restored(whole=ALL)
    world.settings = HOLD
    for _ in range(3):
        world.settle()
        world.now += 100_000
    assert (world.status.phase, reason_of(world, "QuotaReserved")) == ("Pending", ("False", "OnHold"))
    assert RELEASE_ANNOTATION in world.status.message
    assert [event.reason for event in world.events] == ["Held"]
    assert (world.created, world.frozen, world.status.run) == ([], {}, None)
    world.annotations[RELEASE_ANNOTATION] = "yes"
    world.complete_stage("Prepare")
    assert world.status.phase == "Succeeded"


def test_w14_settings_that_say_run_start_it_too() -> None:
    world = World(settings=HOLD)
    world.settle()
    world.settings = SETTINGS
    world.settle()
    assert stage_of(world, "Prepare").state == "Starting"
    assert find_condition(world.status, "QuotaReserved") is None


def test_w14_a_job_that_is_released_and_refused_says_why_it_is_refused() -> None:
    world = World(settings=HOLD, claim_access_modes=None)
    world.settle()
    world.annotations[RELEASE_ANNOTATION] = "yes"
    world.settle()
    assert reason_of(world, "Validated") == ("False", "ClaimNotFound")
    assert find_condition(world.status, "QuotaReserved") is None


@pytest.mark.parametrize("asks", ["goes on", "another runID"])
def test_w14_a_job_whose_past_is_known_is_not_held(asks: str) -> None:
    world = World()
    begin(world, "Train")
    world.settings = HOLD
    if asks == "another runID":
        history = (RunRecord(id="1", outcome="Succeeded"),)
        world.status, world.spec = Status(run_history=history), small_spec(runID="second")
        world.generation += 1
    world.settle()
    assert world.status.run is not None
    assert world.created


def test_w14_a_job_that_is_held_can_be_deleted() -> None:
    world = World(settings=HOLD)
    world.settle()
    world.deleting = True
    world.settle()
    assert (world.status.phase, world.created) == ("Deleting", [])
