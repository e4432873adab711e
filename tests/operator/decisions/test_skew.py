"""Version skew: what a run was frozen with is what its driver is told, whichever version freezes, reads or runs it."""

import json
from dataclasses import replace
from typing import Any

import pytest
from pydantic import create_model

from kubedistill.contract import CONTRACT
from kubedistill.v1alpha1 import Spec, spec_values
from kubedistill.v1alpha1.base import Model
from kubedistill_operator.decisions.freeze import freeze, frozen_manifest, thaw
from kubedistill_operator.observed import Frozen
from world import SETTINGS, World, begin, reason_of, small_spec


class Adapter(Model):
    """An object that spec.training has in a later version."""

    type: str = "None"


LaterTraining = create_model(
    "LaterTraining", __base__=Spec.model_fields["training"].annotation, adapter=(Adapter, Adapter())
)
LaterSpec = create_model(
    "LaterSpec", __base__=Spec, training=(LaterTraining, LaterTraining()), budget=(Adapter, Adapter())
)
"""The spec of a later version: two new fields, with defaults."""


def stored(frozen: Frozen, **changes: Any) -> Frozen:
    """A frozen run as another version wrote it."""
    return replace(frozen, values={**frozen.values, **changes})


def frozen_run(world: World) -> Frozen:
    (found,) = world.frozen.values()
    return found


def store(world: World, **changes: Any) -> None:
    """Have another version's operator freeze the run, and write its digest into status."""
    found = stored(frozen_run(world), **changes)
    world.frozen[found.name] = found


def later_spec(**changes: Any) -> Spec:
    return LaterSpec.model_validate_json(json.dumps(spec_values(small_spec()) | changes))


def test_an_image_is_told_no_default_that_came_after_it(world: World) -> None:
    world.spec = later_spec()
    told = json.loads(world.jobs[begin(world, "Train")].to_json())["spec"]
    # The older image of another run refuses every field that it does not know, at any depth.
    assert spec_values(Spec.model_validate_json(json.dumps(told))) == told == spec_values(small_spec())


def test_a_driver_is_told_what_is_stored_also_what_this_operator_does_not_know(world: World) -> None:
    begin(world, "Curate")
    spec = {**frozen_run(world).values["spec"], "training": {"adapter": {"type": "LoRA"}}, "budget": None}
    store(world, spec=spec)
    job = world.jobs[begin_next(world)]
    assert json.loads(job.to_json())["spec"] == spec
    assert job.spec == small_spec()


def begin_next(world: World) -> str:
    """Play the current stage to its success, and start the next one."""
    name = world.live
    world.run_child(name)
    world.settle()
    world.result(name)
    world.end_child(name)
    world.settle()
    return world.live


def test_a_driver_is_told_in_the_contract_of_its_run(world: World) -> None:
    begin(world, "Curate")
    store(world, contract=CONTRACT - 1)
    assert world.jobs[begin_next(world)].contract == CONTRACT - 1


def test_pools_and_images_of_a_later_version_are_read_for_what_is_known() -> None:
    world = World()
    frozen = json.loads(frozen_manifest(world.job, freeze(world.job, "1", settings=SETTINGS))["data"]["run.json"])
    later = json.loads(json.dumps(frozen))
    later["pools"]["h100"] |= {"laterField": "nvidia", "tolerations": [{"key": "a", "laterField": 3}]}
    later["images"] |= {"laterField": ["a"]}
    run = thaw(Frozen("a", "", later), settings=SETTINGS)
    assert run.settings.pools["h100"].node_selector == {"gpu": "h100"}
    assert [one.key for one in run.settings.pools["h100"].tolerations] == ["a"]
    assert run.settings.images == SETTINGS.images


def test_a_spec_that_another_version_froze_has_not_drifted(world: World) -> None:
    name = begin(world, "Train")
    spec = {**frozen_run(world).values["spec"], "budget": {"type": "a"}}
    store(world, spec=spec, digest="of the spec with a budget")
    world.run_child(name)
    world.settle()
    assert not [one for one in world.status.conditions if one.type == "SpecDrift"]
    world.spec, world.generation = small_spec(training={"epochs": 9}), 2
    world.settle()
    assert reason_of(world, "SpecDrift") == ("True", "Edited")


@pytest.mark.parametrize("contract", [None, "one", [1]])
def test_a_contract_that_is_no_number_makes_a_run_unreadable(contract: Any, world: World) -> None:
    begin(world, "Train")
    with pytest.raises((TypeError, ValueError)):
        thaw(stored(frozen_run(world), contract=contract), settings=SETTINGS)
