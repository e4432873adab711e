"""The frozen run: what is used of it, whoever wrote it. Rows F of docs/behaviour.md, by their names."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from kubedistill.canonical import text_digest
from kubedistill.settings import DefaultStorage, Images, Policy, Pool, Resources, Settings
from kubedistill_operator.decisions.freeze import freeze, frozen_manifest
from kubedistill_operator.names import frozen_name, service_account_name
from kubedistill_operator.observed import Frozen, Refusal
from kubedistill_operator.status import find_condition
from world import NAME, SETTINGS, UID, World, begin, reason_of, small_spec, stage_of

FORGED = ("False", "FrozenRunForged")


def run_of(world: World) -> Any:
    assert world.status.run is not None
    return world.status.run


def forge(world: World, **changes: Any) -> str:
    """Swap the frozen run for one with other settings, as who may write ConfigMaps can; gives its name."""
    found = world.frozen_run
    assert found is not None
    values = json.loads(json.dumps(dict(found.values))) | changes
    world.frozen[found.name] = Frozen(found.name, text_digest(json.dumps(values)), values)
    return found.name


def next_child(world: World, name: str) -> Any:
    """Have a child vanish, and give the one that takes its place."""
    world.run_child(name)
    plans = world.settle()
    del world.children[name], world.pods[name]
    for _ in range(3):
        plans += world.settle()
        world.now += 60
    (child,) = [one for plan in plans for one in plan.create if one["kind"] in ("Job", "RayJob")]
    return child


def told(world: World, reason: str) -> int:
    return [event.reason for event in world.events].count(reason)


def test_f1_the_digest_of_the_bytes_is_in_status_before_they_are_written(world: World) -> None:
    world.step(until=1)
    assert world.frozen == {}
    snapshot = run_of(world).snapshot_digest
    (manifest,) = [one for plan in world.settle() for one in plan.create if "run.json" in one.get("data", {})]
    assert text_digest(manifest["data"]["run.json"]) == snapshot
    assert manifest["metadata"]["name"].endswith(snapshot)
    assert len(manifest["metadata"]["name"]) <= 253
    assert manifest["immutable"] is True


def test_f1_a_run_keeps_these_settings_and_no_others(world: World) -> None:
    world.settings = Settings(
        pools={**SETTINGS.pools, "theirs": Pool(node_selector={"of": "another"}, allowed_namespaces=("other",))},
        storage=DefaultStorage(uri="file:///elsewhere", volume_claim="else"),
        cpu_resources=Resources(cpu="3"),
        ray_version="2.61.0",
        submission_mode="K8sJobMode",
        policy=Policy(allow_trust_remote_code=False),
    )
    world.spec = small_spec(storage={})
    name = begin(world, "Generate")
    values = next(iter(world.frozen.values())).values
    settings = {"pools", "images", "storage", "cpuResources", "rayVersion", "submissionMode", "policy"}
    assert values.keys() == {"contract", "id", "digest", "spec"} | settings
    assert [*values["pools"]] == ["h100"], "those that the spec names: others are no business of this namespace"
    assert values["storage"] == {"uri": "file:///elsewhere/team", "volumeClaim": "else"}
    assert values["images"]["runtime"] == Images().runtime, "in words, since the default is another one tomorrow"
    world.settings = Settings(pools=world.settings.pools)
    child = next_child(world, name)
    assert world.jobs[child["metadata"]["name"]].store == "file:///elsewhere/team"
    spec = child["spec"]
    assert (spec["submissionMode"], spec["rayClusterSpec"]["rayVersion"]) == ("K8sJobMode", "2.61.0")
    head = spec["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]
    assert head["containers"][0]["resources"]["requests"]["cpu"] == "3"
    assert {"persistentVolumeClaim": {"claimName": "else"}}.items() <= head["volumes"][1].items()


FORGERIES: dict[str, dict[str, Any]] = {
    "another tenant's pool": {"pools": {"h100": {"nodeSelector": {"kind": "h200"}}}},
    "any image": {"images": {"runtime": "evil.example/x:1", "runtimeCpu": "evil.example/x:1"}},
    "another store": {"storage": {"uri": "file:///theirs", "volumeClaim": "theirs"}},
    "another policy": {"policy": {}},
    "a run that nobody can read": {"spec": 7},
    "a contract of the future": {"contract": 99},
}


@pytest.mark.parametrize("forgery", FORGERIES)
def test_f2_a_frozen_run_with_other_bytes_is_not_used_and_ends_nothing(forgery: str, world: World) -> None:
    begin(world, "Prepare")
    name = world.live
    world.run_child(name)
    world.settle()
    good = world.frozen_run
    assert good is not None
    forged = forge(world, **FORGERIES[forgery])
    world.result(name)
    world.end_child(name)
    world.settle()
    assert stage_of(world, "Prepare").state == "Succeeded", "what a driver has done counts"
    assert world.created == [name], "and nothing is made"
    assert reason_of(world, "Progressing") == FORGED
    assert forged in world.status.message
    world.now += 300
    world.settle()
    assert told(world, "Waiting") == 1, "said once"
    del world.frozen[forged]
    world.settle()
    assert world.frozen_run == good, "made again, byte for byte"
    assert len(world.created) == 2


def test_f2_what_was_planted_under_the_name_of_0_1_is_not_used(world: World) -> None:
    world.step(until=1)
    planted = frozen_name(NAME, uid=UID, run="1")
    run = freeze(world.job, "1", settings=Settings(pools={"h100": Pool(node_selector={"kind": "h200"})}))
    text = frozen_manifest(world.job, run)["data"]["run.json"]
    world.frozen[planted] = Frozen(planted, text_digest(text), json.loads(text))
    world.settle()
    assert len(world.created) == 1
    assert world.frozen_run is not None
    assert world.frozen_run.name.endswith(run_of(world).snapshot_digest)


def test_f2_it_ends_the_run_in_time_but_not_a_driver_at_work(world: World) -> None:
    name = begin(world, "Generate")
    world.run_child(name)
    world.settle()
    forge(world, policy={})
    world.settle()
    world.now += 100_000
    world.settle()
    assert reason_of(world, "Progressing") == FORGED
    assert world.status.phase == "Generating"
    world.result(name)
    world.end_child(name)
    world.settle()
    world.now += 3600
    world.settle()
    assert reason_of(world, "Failed") == ("True", "FrozenRunForged")


@pytest.mark.parametrize("verb", ["suspend", "cancel", "supersede", "delete"])
def test_f2_what_needs_no_frozen_run_acts(verb: str, world: World) -> None:
    name = begin(world, "Generate")
    world.run_child(name)
    world.settle()
    forge(world, policy={})
    world.settle()
    if verb == "cancel":
        world.annotations["kubedistill.io/cancel"] = "now"
    elif verb == "delete":
        world.deleting = True
    else:
        world.spec = small_spec(**({"suspend": True} if verb == "suspend" else {"runID": "second"}))
    world.settle()
    world.result(name, outcome="Stopped")
    world.end_child(name)
    world.settle()
    world.settle()
    phases = {"suspend": "Suspended", "cancel": "Failed", "supersede": "Preparing", "delete": "Deleting"}
    assert world.status.phase == phases[verb]
    assert name not in world.children


def test_f3_a_frozen_run_that_is_gone_is_written_again(world: World) -> None:
    begin(world, "Generate")
    good = world.frozen_run
    world.frozen.clear()
    world.settle()
    assert world.frozen_run == good


CHANGES: dict[str, Callable[[World], None]] = {
    "the spec": lambda world: setattr(world, "spec", small_spec(training={"epochs": 9})),
    "a pool": lambda world: setattr(world, "settings", Settings(pools={"h100": Pool(node_selector={"a": "b"})})),
    "the store": lambda world: setattr(
        world, "settings", SETTINGS.model_copy(update={"cpu_resources": Resources(cpu="1")})
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_f3_one_that_is_gone_and_can_not_be_made_again_ends_the_run(change: str, world: World) -> None:
    begin(world, "Generate")
    CHANGES[change](world)
    world.frozen.clear()
    world.settle()
    assert reason_of(world, "Failed") == ("True", "FrozenRunLost")
    assert told(world, "RunFailed") == 1
    assert world.frozen == {}


def test_f3_a_pool_that_the_job_does_not_name_is_none_of_its_business(world: World) -> None:
    begin(world, "Generate")
    good = world.frozen_run
    world.settings = SETTINGS.model_copy(update={"pools": {**SETTINGS.pools, "new": Pool(node_selector={"a": "b"})}})
    world.frozen.clear()
    world.settle()
    assert world.frozen_run == good


def as_0_1_froze_it(world: World) -> Frozen:
    """Have the run as 0.1 left it: no digest in status, its name, and neither storage nor defaults in it."""
    (found,) = world.frozen.values()
    run = freeze(world.job, "1", settings=world.settings)
    values = {"contract": 1, "id": "1", "digest": run.digest, "spec": run.frozen_spec, "images": {}}
    values["pools"] = {
        name: pool.model_dump(mode="json", by_alias=True, exclude_defaults=True)
        for name, pool in world.settings.pools.items()
    }
    old = Frozen(frozen_name(NAME, uid=UID, run="1"), text_digest(json.dumps(values)), values)
    world.frozen = {old.name: old}
    world.status = world.status.model_copy(
        update={"run": run_of(world).model_copy(update={"snapshot_digest": "", "begun_at": ""})}
    )
    return replace(found, name=old.name)


def test_f6_a_run_of_0_1_is_adopted_once_and_swapped_no_more(world: World) -> None:
    name = begin(world, "Generate")
    world.run_child(name)
    world.settle()
    as_0_1_froze_it(world)
    (old,) = world.frozen.values()
    world.settle()
    assert run_of(world).snapshot_digest == old.snapshot
    assert told(world, "SnapshotAdopted") == 1
    forged = forge(world, pools={"h100": {"nodeSelector": {"kind": "h200"}}})
    world.settle()
    assert reason_of(world, "Progressing") == FORGED
    world.frozen[forged] = old
    for stage in ("Generate", "Curate", "Train", "Evaluate", "Export"):
        world.complete_stage(stage)
    assert world.status.phase == "Succeeded"
    assert told(world, "SnapshotAdopted") == 1
    assert {job.store for job in world.jobs.values()} == {"file:///kubedistill/storage/team"}


@pytest.mark.parametrize("part", ["spec", "id"])
def test_f6_a_run_of_0_1_whose_spec_is_another_one_is_not_adopted(part: str, world: World) -> None:
    begin(world, "Generate")
    as_0_1_froze_it(world)
    (old,) = world.frozen.values()
    other = {"spec": {**old.values["spec"], "pods": {"serviceAccountName": "admin-bot"}}, "id": "2"}
    world.frozen[old.name] = replace(old, values={**old.values, part: other[part]})
    world.settle()
    assert (run_of(world).snapshot_digest, told(world, "SnapshotAdopted")) == ("", 0)
    assert reason_of(world, "Progressing") == FORGED


def test_f6_a_run_of_0_1_keeps_the_images_that_were_its_defaults(world: World) -> None:
    name = begin(world, "Generate")
    as_0_1_froze_it(world)
    world.settings = SETTINGS.model_copy(update={"images": Images(runtime="later", runtime_cpu="later")})
    spec = next_child(world, name)["spec"]
    head = spec["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]
    assert head["containers"][0]["image"] == "kubedistill/runtime:0.1.0"
    assert "--job-sha256" not in spec["entrypoint"], "which these images do not know"


@pytest.mark.parametrize("by_0_1", [True, False])
def test_f6_a_run_of_0_1_keeps_its_account_and_any_other_gets_its_own(by_0_1: bool, world: World) -> None:
    name = begin(world, "Curate")
    if by_0_1:
        as_0_1_froze_it(world)
    world.created_manifests.clear()
    world.run_child(name)
    world.settle()
    world.result(name)
    world.end_child(name)
    world.settle()
    made = {one["metadata"]["name"] for one in world.created_manifests if one["kind"] == "ServiceAccount"}
    bindings = [one for one in world.created_manifests if one["kind"] == "RoleBinding"]
    assert made == {subject["name"] for one in bindings for subject in one["subjects"]}
    assert made == {f"{NAME}-driver" if by_0_1 else service_account_name(NAME, uid=UID)}


def test_f6_a_run_of_0_1_keeps_the_store_that_0_1_gave_it(world: World) -> None:
    """All namespaces had one then; what the run has made is there."""
    storage = DefaultStorage(uri="file:///kubedistill/storage/all", volume_claim="shared")
    world.settings, world.spec = SETTINGS.model_copy(update={"storage": storage}), small_spec(storage={})
    begin(world, "Generate")
    as_0_1_froze_it(world)
    world.complete_stage("Generate")
    assert world.jobs[world.live].store == world.jobs[world.live].data_root == "file:///kubedistill/storage/all"


def change_settings(world: World, *, price: float | None = None) -> Settings:
    """Have the platform give the pool another label, and maybe a price."""
    h100 = Pool(node_selector={"gpu": "h100-sxm"}, price_per_gpu_hour=price)
    world.settings = SETTINGS.model_copy(update={"pools": {**SETTINGS.pools, "h100": h100}})
    return world.settings


@pytest.mark.parametrize("refused", [None, Refusal("", "422 Job is invalid: nodeAffinity")])
def test_f4_before_any_child_was_made_changed_settings_are_taken_over(refused: Refusal | None, world: World) -> None:
    world.refusal = refused
    for _ in range(1 if refused is None else 8):
        world.step()
    assert world.created == []
    first = run_of(world).snapshot_digest
    settings = change_settings(world)
    plan = world.reconcile()
    assert plan.status is not None
    assert plan.create, "so that it is decided on all that there is"
    world.step(until=1)
    second = run_of(world).snapshot_digest
    assert second not in ("", first)
    assert second not in {one.snapshot for one in world.frozen.values()}, "the digest comes first"
    world.refusal = None
    world.settle()
    frozen = world.frozen_run
    assert frozen is not None
    assert frozen.values["pools"]["h100"]["nodeSelector"] == dict(settings.pools["h100"].node_selector)
    assert told(world, "RunRefrozen") <= 1, "it was killed before it could tell"
    assert len(world.created) == 1
    assert world.jobs[world.live].run.id == "1"


def test_f4_it_is_told_once_and_what_an_attempt_was_told_is_not_used(world: World) -> None:
    world.refusal = Refusal("", "422 Job is invalid")
    for _ in range(8):
        world.step()
    first = world.live
    assert stage_of(world, "Prepare").state == "Starting"
    change_settings(world, price=3)
    world.refusal = None
    world.settle()
    assert told(world, "RunRefrozen") == 1
    assert world.live != first, "its ConfigMap holds the old price"
    assert world.created == [world.live]
    assert world.jobs[world.live].prices.teacher == 3
    change_settings(world)
    world.settle()
    assert told(world, "RunRefrozen") == 1


def test_f4_a_child_that_came_and_went_is_a_child(world: World) -> None:
    world.settle()
    world.run_child(world.live)
    world.settle()
    world.spec = small_spec(suspend=True)
    world.settle()
    world.result(world.live, outcome="Stopped")
    world.end_child(world.live)
    world.settle()
    world.settle()
    assert (world.status.phase, world.children) == ("Suspended", {})
    first = run_of(world).snapshot_digest
    change_settings(world)
    world.spec = small_spec()
    world.settle()
    assert (run_of(world).snapshot_digest, told(world, "RunRefrozen")) == (first, 0)


def test_f4_settings_without_the_run_s_pool_are_not_taken_over(world: World) -> None:
    world.step()
    first = run_of(world).snapshot_digest
    world.settings = Settings(pools={"other": Pool(node_selector={"a": "b"})})
    world.settle()
    assert run_of(world).snapshot_digest == first
    assert len(world.created) == 1


def test_f4_only_the_spec_that_was_frozen_is_frozen_anew(world: World) -> None:
    world.step()
    world.spec = small_spec(training={"epochs": 9})
    change_settings(world)
    world.settle()
    frozen = world.frozen_run
    assert frozen is not None
    assert "training" not in frozen.values["spec"]
    assert reason_of(world, "SpecDrift") == ("True", "Edited")


def test_only_the_pools_of_a_job_enter_its_pods(world: World) -> None:
    bad = Pool(node_selector={"bad": "pool"})
    world.settings = SETTINGS.model_copy(update={"pools": {**SETTINGS.pools, "bad": bad}})
    plans = world.settle()
    (job,) = [one for plan in plans for one in plan.create if one["kind"] == "Job"]
    assert "h100" in str(job["spec"]["template"]["spec"]["affinity"])
    assert "bad" not in json.dumps([one for plan in plans for one in plan.create])


def freeze_bad_pool(world: World) -> None:
    """Have the run as 0.1 froze it, with a pool whose label no pod may name."""
    as_0_1_froze_it(world)
    (old,) = world.frozen.values()
    pools = {"h100": {"nodeSelector": {"nvidia.com/gpu.product": "NVIDIA H200"}}}
    world.frozen[old.name] = replace(old, values={**old.values, "pools": pools})


def test_f5_a_refused_pool_fails_with_field_and_fix_once_a_child_was_made(world: World) -> None:
    name = begin(world, "Prepare")
    freeze_bad_pool(world)
    world.run_child(name)
    world.settle()
    world.result(name)
    world.end_child(name)
    world.settle()
    assert reason_of(world, "Failed") == ("True", "InvalidPool")
    assert "settings.pools.h100.nodeSelector.nvidia.com/gpu.product" in world.status.message
    assert "new spec.runID" in world.status.message
    assert world.created == [name]
    world.spec = small_spec(runID="second")
    world.settle()
    assert len(world.created) == 2, "by the settings of now"


def test_f5_before_any_child_the_settings_of_now_heal_it(world: World) -> None:
    world.step()
    freeze_bad_pool(world)
    world.settle()
    assert told(world, "SnapshotAdopted") == told(world, "RunRefrozen") == 1
    assert len(world.created) == 1
    assert find_condition(world.status, "Failed") is None


def test_f7_what_another_version_tells_otherwise_is_told_in_a_new_attempt(world: World) -> None:
    """The child of an attempt was refused, by a quota say, until the operator was upgraded."""
    world.refusal = Refusal("ExceededQuota", "exceeded quota: team")
    for _ in range(6):
        world.step()
    before = stage_of(world, "Prepare")
    told_by_0_1 = before.model_copy(update={"job_digest": ""})
    world.status = world.status.model_copy(update={"stages": (told_by_0_1, *world.status.stages[1:])})
    world.refusal = None
    world.settle()
    after = stage_of(world, "Prepare")
    assert (before.state, before.attempt, after.attempt) == ("Starting", 1, 2)
    assert world.created == [after.child]
    assert after.child != before.child
    assert after.job_digest == text_digest(world.jobs[after.child].to_json())
    assert after.restarts == before.restarts, "nothing is charged"
