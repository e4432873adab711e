"""Row A10 of docs/behaviour.md: KubeRay starts a driver again in the same attempt, and says so nowhere."""

import pytest

from kubedistill.chain import CHAIN
from kubedistill.v1alpha1 import StageStatus
from kubedistill_operator.status import find_condition
from world import World

STAGES = [stage.name for stage in CHAIN]


@pytest.fixture
def world() -> World:
    """A job whose Train stage works on."""
    made = World()
    for stage in STAGES[: STAGES.index("Train")]:
        made.complete_stage(stage)
    made.settle()
    made.run_child(made.live, driver="d1")
    made.progress(made.live, done=10)
    made.settle()
    return made


def train(world: World) -> StageStatus:
    return next(stage for stage in world.status.stages if stage.name == "Train")


def told(world: World) -> list[str]:
    return [event.message for event in world.events if event.reason == "DriverRestarted"]


def test_the_head_that_was_lost_is_charged_to_infrastructure_and_the_attempt_goes_on(world: World) -> None:
    world.claim(world.live, driver="d2")
    world.settle()
    stage = train(world)
    assert (stage.state, stage.attempt, stage.starts) == ("Running", 1, 2)
    assert (stage.restarts.failure, stage.restarts.infrastructure, stage.restarts.preemption) == (0, 1, 0)
    assert told(world) == ["Train attempt 1: driver 2 goes on where the one before it was lost"]


def test_each_further_driver_is_charged_once_however_late_it_is_seen(world: World) -> None:
    for driver in ("d2", "d3"):
        world.claim(world.live, driver=driver)
    for _ in range(3):
        world.settle()
        world.now += 31
    assert (train(world).starts, train(world).restarts.infrastructure, len(told(world))) == (3, 2, 2)


def test_a_driver_that_succeeds_before_anybody_looks_has_cost_its_restart(world: World) -> None:
    name = world.live
    for driver in ("d2", "d3", "d4", "d5"):
        world.claim(name, driver=driver)
    world.result(name, driver="d5")
    world.end_child(name)
    world.settle()
    stage = train(world)
    assert (stage.state, stage.starts, stage.restarts.infrastructure) == ("Succeeded", 5, 4), "success is success"


def test_a_head_that_is_lost_again_and_again_ends_with_the_budget(world: World) -> None:
    name = world.live
    for number in range(2, 6):
        assert train(world).state == "Running"
        world.claim(name, driver=f"d{number}")
        world.settle()
    assert train(world).state == "Failed"
    assert train(world).restarts.infrastructure == 4
    failed = find_condition(world.status, "Failed")
    assert failed is not None
    assert (failed.status, failed.reason) == ("True", "DriverRestarted")
    assert name not in world.children, "the cluster goes with the run"


def test_a_count_that_somebody_took_back_and_gave_again_costs_nothing_more(world: World) -> None:
    name = world.live
    world.claim(name, driver="d2")
    world.settle()
    kept = world.channels[name]
    for starts in (0, 1, 2):
        world.channels[name] = type(kept)(kept.owner, starts, kept.progress)
        world.settle()
    assert (train(world).starts, train(world).restarts.infrastructure) == (2, 1)


def test_a_stage_that_ends_before_it_is_seen_to_run_has_started_once() -> None:
    world = World()
    world.settle()
    name = world.live
    world.run_child(name)
    world.result(name)
    world.end_child(name)
    world.settle()
    assert world.status.stages[0].starts == 1
