"""Version skew: what a run was frozen with is what its driver is told, whichever version freezes, reads or runs it."""

import json
from dataclasses import replace
from typing import Any

import pytest
from pydantic import create_model

from kubedistill.contract import CONTRACT
from kubedistill.v1alpha1 import Spec, spec_values
from kubedistill.v1alpha1.base import Model
from kubedistill_operator.decisions.run_snapshot import frozen_manifest, load_snapshot, take_snapshot
from kubedistill_operator.observed import StoredSnapshot
from support.fake_cluster import SETTINGS, FakeCluster, begin, reason_of, small_spec


class Adapter(Model):
    """An object that spec.training has in a later version."""

    type: str = "None"


LaterTraining = create_model(
    "LaterTraining", __base__=Spec.model_fields["training"].annotation, adapter=(Adapter, Adapter())
)
LaterSpec = create_model(
    "LaterSpec", __base__=Spec, training=(LaterTraining, LaterTraining()), novelty=(Adapter, Adapter())
)
"""The spec of a later version: two new fields, with defaults."""


def stored(frozen: StoredSnapshot, **changes: Any) -> StoredSnapshot:
    """Return a frozen run as another version wrote it."""
    return replace(frozen, values={**frozen.values, **changes})


def frozen_run(cluster: FakeCluster) -> StoredSnapshot:
    (found,) = cluster.frozen.values()
    return found


def store(cluster: FakeCluster, **changes: Any) -> None:
    """Have another version's operator freeze the run, and write its digest into status."""
    found = stored(frozen_run(cluster), **changes)
    cluster.frozen[found.name] = found


def later_spec(**changes: Any) -> Spec:
    return LaterSpec.model_validate_json(json.dumps(spec_values(small_spec()) | changes))


def test_an_image_is_told_no_default_that_came_after_it(cluster: FakeCluster) -> None:
    cluster.spec = later_spec()
    told = json.loads(cluster.jobs[begin(cluster, "Train")].to_json())["spec"]
    # The older image of another run refuses every field that it does not know, at any depth.
    assert spec_values(Spec.model_validate_json(json.dumps(told))) == told == spec_values(small_spec())


def test_a_driver_gets_the_stored_spec_with_fields_that_this_operator_does_not_know(cluster: FakeCluster) -> None:
    begin(cluster, "Curate")
    spec = {**frozen_run(cluster).values["spec"], "training": {"adapter": {"type": "LoRA"}}, "novelty": None}
    store(cluster, spec=spec)
    job = cluster.jobs[begin_next(cluster)]
    assert json.loads(job.to_json())["spec"] == spec
    assert job.spec == small_spec()


def begin_next(cluster: FakeCluster) -> str:
    """Play the current stage to its success, and start the next one."""
    name = cluster.live
    cluster.run_child(name)
    cluster.settle()
    cluster.result(name)
    cluster.end_child(name)
    cluster.settle()
    return cluster.live


def test_a_driver_is_told_in_the_contract_of_its_run(cluster: FakeCluster) -> None:
    begin(cluster, "Curate")
    store(cluster, contract=CONTRACT - 1)
    assert cluster.jobs[begin_next(cluster)].contract == CONTRACT - 1


def test_pools_and_images_of_a_later_version_are_read_for_what_is_known() -> None:
    cluster = FakeCluster()
    frozen = json.loads(
        frozen_manifest(cluster.job, take_snapshot(cluster.job, "1", settings=SETTINGS))["data"]["run.json"]
    )
    later = json.loads(json.dumps(frozen))
    later["pools"]["h100"] |= {"laterField": "nvidia", "tolerations": [{"key": "a", "laterField": 3}]}
    later["images"] |= {"laterField": ["a"]}
    run = load_snapshot(StoredSnapshot("a", "", later), settings=SETTINGS)
    assert run.settings.pools["h100"].node_selector == {"gpu": "h100"}
    assert [one.key for one in run.settings.pools["h100"].tolerations] == ["a"]
    assert run.settings.images == SETTINGS.images


def test_a_spec_that_another_version_froze_has_not_drifted(cluster: FakeCluster) -> None:
    name = begin(cluster, "Train")
    spec = {**frozen_run(cluster).values["spec"], "novelty": {"type": "a"}}
    store(cluster, spec=spec, digest="of the spec with a novelty")
    cluster.run_child(name)
    cluster.settle()
    assert not [one for one in cluster.status.conditions if one.type == "SpecDrift"]
    cluster.spec, cluster.generation = small_spec(training={"epochs": 9}), 2
    cluster.settle()
    assert reason_of(cluster, "SpecDrift") == ("True", "Edited")


@pytest.mark.parametrize("contract", [None, "one", [1]])
def test_a_contract_that_is_not_a_number_makes_a_run_unreadable(contract: Any, cluster: FakeCluster) -> None:
    begin(cluster, "Train")
    with pytest.raises((TypeError, ValueError)):
        load_snapshot(stored(frozen_run(cluster), contract=contract), settings=SETTINGS)
