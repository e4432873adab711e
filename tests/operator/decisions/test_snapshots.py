"""The frozen run: what is used of it, whoever wrote it. Rows F of docs/behavior.md, by their names."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from kubedistill.canonical import text_digest
from kubedistill.manifest.settings import DefaultStorage, Images, Policy, Pool, Resources, Settings
from kubedistill_operator.decisions.run_snapshot import frozen_manifest, take_snapshot
from kubedistill_operator.names import frozen_name, service_account_name
from kubedistill_operator.observed import Refusal, StoredSnapshot
from support.fake_cluster import NAME, SETTINGS, UID, FakeCluster, begin, reason_of, small_spec, stage_of
from support.messages import CheckMessage

FORGED = ("False", "FrozenRunForged")


def run_of(cluster: FakeCluster) -> Any:
    assert cluster.status.run is not None
    return cluster.status.run


def forge(cluster: FakeCluster, **changes: Any) -> str:
    """Swap the frozen run for one with other settings, as who may write ConfigMaps can; gives its name."""
    found = cluster.frozen_run
    assert found is not None
    values = json.loads(json.dumps(dict(found.values))) | changes
    cluster.frozen[found.name] = StoredSnapshot(found.name, text_digest(json.dumps(values)), values)
    return found.name


def next_child(cluster: FakeCluster, name: str) -> Any:
    """Have a child vanish, and give the one that takes its place."""
    cluster.run_child(name)
    plans = cluster.settle()
    del cluster.children[name], cluster.pods[name]
    for _ in range(3):
        plans += cluster.settle()
        cluster.now += 60
    (child,) = [one for plan in plans for one in plan.create if one["kind"] in ("Job", "RayJob")]
    return child


def told(cluster: FakeCluster, reason: str) -> int:
    return [event.reason for event in cluster.events].count(reason)


def test_f1_the_digest_of_the_bytes_is_in_status_before_they_are_written(cluster: FakeCluster) -> None:
    cluster.step(until=1)
    assert cluster.frozen == {}
    snapshot = run_of(cluster).snapshot_digest
    (manifest,) = [one for plan in cluster.settle() for one in plan.create if "run.json" in one.get("data", {})]
    assert text_digest(manifest["data"]["run.json"]) == snapshot
    assert manifest["metadata"]["name"].endswith(snapshot)
    assert len(manifest["metadata"]["name"]) <= 253
    assert manifest["immutable"] is True


def test_f1_a_run_keeps_these_settings_and_no_others(cluster: FakeCluster) -> None:
    cluster.settings = Settings(
        pools={**SETTINGS.pools, "theirs": Pool(node_selector={"of": "another"}, allowed_namespaces=("other",))},
        storage=DefaultStorage(uri="file:///kubedistill/storage/elsewhere", volume_claim="else"),
        cpu_resources=Resources(cpu="3"),
        ray_version="2.61.0",
        submission_mode="K8sJobMode",
        policy=Policy(allow_trust_remote_code=False),
    )
    cluster.spec = small_spec(storage={})
    name = begin(cluster, "Generate")
    values = next(iter(cluster.frozen.values())).values
    settings = {"pools", "images", "storage", "cpuResources", "rayVersion", "submissionMode", "policy"}
    assert values.keys() == {"contract", "id", "digest", "spec"} | settings
    assert [*values["pools"]] == ["h100"], "those that the spec names: others are no business of this namespace"
    assert values["storage"] == {"uri": "file:///kubedistill/storage/elsewhere/team", "volumeClaim": "else"}
    assert values["images"]["runtime"] == Images().runtime, "in words, since the default is another one tomorrow"
    cluster.settings = Settings(pools=cluster.settings.pools)
    child = next_child(cluster, name)
    assert cluster.jobs[child["metadata"]["name"]].store == "file:///kubedistill/storage/elsewhere/team"
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
def test_f2_a_frozen_run_with_other_bytes_is_not_used_and_ends_nothing(forgery: str, cluster: FakeCluster) -> None:
    begin(cluster, "Prepare")
    name = cluster.live
    cluster.run_child(name)
    cluster.settle()
    good = cluster.frozen_run
    assert good is not None
    forged = forge(cluster, **FORGERIES[forgery])
    cluster.result(name)
    cluster.end_child(name)
    cluster.settle()
    assert stage_of(cluster, "Prepare").state == "Succeeded", "what a driver has done counts"
    assert cluster.created == [name], "and nothing is made"
    assert reason_of(cluster, "Progressing") == FORGED
    assert forged in cluster.status.message
    cluster.now += 300
    cluster.settle()
    assert told(cluster, "Waiting") == 1, "said once"
    del cluster.frozen[forged]
    cluster.settle()
    assert cluster.frozen_run == good, "made again, byte for byte"
    assert len(cluster.created) == 2


def test_f2_a_run_planted_under_the_name_of_0_1_is_not_used(cluster: FakeCluster) -> None:
    cluster.step(until=1)
    planted = frozen_name(NAME, uid=UID, run="1")
    run = take_snapshot(cluster.job, "1", settings=Settings(pools={"h100": Pool(node_selector={"kind": "h200"})}))
    text = frozen_manifest(cluster.job, run)["data"]["run.json"]
    cluster.frozen[planted] = StoredSnapshot(planted, text_digest(text), json.loads(text))
    cluster.settle()
    assert len(cluster.created) == 1
    assert cluster.frozen_run is not None
    assert cluster.frozen_run.name.endswith(run_of(cluster).snapshot_digest)


def test_f2_it_ends_the_run_in_time_but_not_a_running_driver(cluster: FakeCluster) -> None:
    name = begin(cluster, "Generate")
    cluster.run_child(name)
    cluster.settle()
    forge(cluster, policy={})
    cluster.settle()
    cluster.now += 100_000
    cluster.settle()
    assert reason_of(cluster, "Progressing") == FORGED
    assert cluster.status.phase == "Generating"
    cluster.result(name)
    cluster.end_child(name)
    cluster.settle()
    cluster.now += 3600
    cluster.settle()
    assert reason_of(cluster, "Failed") == ("True", "FrozenRunForged")


@pytest.mark.parametrize("verb", ["suspend", "cancel", "supersede", "delete"])
def test_f2_what_needs_no_frozen_run_acts(verb: str, cluster: FakeCluster) -> None:
    name = begin(cluster, "Generate")
    cluster.run_child(name)
    cluster.settle()
    forge(cluster, policy={})
    cluster.settle()
    if verb == "cancel":
        cluster.annotations["kubedistill.io/cancel"] = "now"
    elif verb == "delete":
        cluster.deleting = True
    else:
        cluster.spec = small_spec(**({"suspend": True} if verb == "suspend" else {"runID": "second"}))
    cluster.settle()
    cluster.result(name, outcome="Stopped")
    cluster.end_child(name)
    cluster.settle()
    cluster.settle()
    phases = {"suspend": "Suspended", "cancel": "Failed", "supersede": "Preparing", "delete": "Deleting"}
    assert cluster.status.phase == phases[verb]
    assert name not in cluster.children


def test_f3_a_frozen_run_that_is_gone_is_written_again(cluster: FakeCluster) -> None:
    begin(cluster, "Generate")
    good = cluster.frozen_run
    cluster.frozen.clear()
    cluster.settle()
    assert cluster.frozen_run == good


CHANGES: dict[str, Callable[[FakeCluster], None]] = {
    "the spec": lambda cluster: setattr(cluster, "spec", small_spec(training={"epochs": 9})),
    "a pool": lambda cluster: setattr(cluster, "settings", Settings(pools={"h100": Pool(node_selector={"a": "b"})})),
    "the store": lambda cluster: setattr(
        cluster, "settings", SETTINGS.model_copy(update={"cpu_resources": Resources(cpu="1")})
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_f3_one_that_is_gone_and_cannot_be_made_again_ends_the_run(change: str, cluster: FakeCluster) -> None:
    begin(cluster, "Generate")
    CHANGES[change](cluster)
    cluster.frozen.clear()
    cluster.settle()
    assert reason_of(cluster, "Failed") == ("True", "FrozenRunLost")
    assert told(cluster, "RunFailed") == 1
    assert cluster.frozen == {}


def test_f3_a_pool_that_the_job_does_not_name_is_none_of_its_business(cluster: FakeCluster) -> None:
    begin(cluster, "Generate")
    good = cluster.frozen_run
    cluster.settings = SETTINGS.model_copy(update={"pools": {**SETTINGS.pools, "new": Pool(node_selector={"a": "b"})}})
    cluster.frozen.clear()
    cluster.settle()
    assert cluster.frozen_run == good


def as_0_1_froze_it(cluster: FakeCluster) -> StoredSnapshot:
    """Have the run as 0.1 left it: no digest in status, its name, and neither storage nor defaults in it."""
    (found,) = cluster.frozen.values()
    run = take_snapshot(cluster.job, "1", settings=cluster.settings)
    values = {"contract": 1, "id": "1", "digest": run.digest, "spec": run.frozen_spec, "images": {}}
    values["pools"] = {
        name: pool.model_dump(mode="json", by_alias=True, exclude_defaults=True)
        for name, pool in cluster.settings.pools.items()
    }
    old = StoredSnapshot(frozen_name(NAME, uid=UID, run="1"), text_digest(json.dumps(values)), values)
    cluster.frozen = {old.name: old}
    cluster.status = cluster.status.model_copy(
        update={"run": run_of(cluster).model_copy(update={"snapshot_digest": "", "begun_at": ""})}
    )
    return replace(found, name=old.name)


def test_f6_a_run_of_0_1_is_adopted_once_and_swapped_no_more(cluster: FakeCluster) -> None:
    name = begin(cluster, "Generate")
    cluster.run_child(name)
    cluster.settle()
    as_0_1_froze_it(cluster)
    (old,) = cluster.frozen.values()
    cluster.settle()
    assert run_of(cluster).snapshot_digest == old.snapshot
    assert told(cluster, "SnapshotAdopted") == 1
    forged = forge(cluster, pools={"h100": {"nodeSelector": {"kind": "h200"}}})
    cluster.settle()
    assert reason_of(cluster, "Progressing") == FORGED
    cluster.frozen[forged] = old
    for stage in ("Generate", "Curate", "Train", "Evaluate", "Export"):
        cluster.complete_stage(stage)
    assert cluster.status.phase == "Succeeded"
    assert told(cluster, "SnapshotAdopted") == 1
    assert {job.store for job in cluster.jobs.values()} == {"file:///kubedistill/storage/team"}


@pytest.mark.parametrize("part", ["spec", "id"])
def test_f6_a_run_of_0_1_whose_spec_is_another_one_is_not_adopted(part: str, cluster: FakeCluster) -> None:
    begin(cluster, "Generate")
    as_0_1_froze_it(cluster)
    (old,) = cluster.frozen.values()
    other = {"spec": {**old.values["spec"], "pods": {"serviceAccountName": "admin-bot"}}, "id": "2"}
    cluster.frozen[old.name] = replace(old, values={**old.values, part: other[part]})
    cluster.settle()
    assert (run_of(cluster).snapshot_digest, told(cluster, "SnapshotAdopted")) == ("", 0)
    assert reason_of(cluster, "Progressing") == FORGED


def test_f6_a_run_of_0_1_keeps_the_images_that_were_its_defaults(cluster: FakeCluster) -> None:
    name = begin(cluster, "Generate")
    as_0_1_froze_it(cluster)
    cluster.settings = SETTINGS.model_copy(update={"images": Images(runtime="later", runtime_cpu="later")})
    spec = next_child(cluster, name)["spec"]
    head = spec["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]
    assert head["containers"][0]["image"] == "kubedistill/runtime:0.1.0"
    assert "--job-sha256" not in spec["entrypoint"], "which these images do not know"


@pytest.mark.parametrize("by_0_1", [True, False])
def test_f6_a_run_of_0_1_keeps_its_account_and_any_other_gets_its_own(by_0_1: bool, cluster: FakeCluster) -> None:
    name = begin(cluster, "Curate")
    if by_0_1:
        as_0_1_froze_it(cluster)
    cluster.created_manifests.clear()
    cluster.run_child(name)
    cluster.settle()
    cluster.result(name)
    cluster.end_child(name)
    cluster.settle()
    made = {one["metadata"]["name"] for one in cluster.created_manifests if one["kind"] == "ServiceAccount"}
    bindings = [one for one in cluster.created_manifests if one["kind"] == "RoleBinding"]
    assert made == {subject["name"] for one in bindings for subject in one["subjects"]}
    assert made == {f"{NAME}-driver" if by_0_1 else service_account_name(NAME, uid=UID)}


def test_f6_a_run_of_0_1_keeps_the_store_that_0_1_gave_it(cluster: FakeCluster) -> None:
    """All namespaces had one then; what the run has made is there."""
    storage = DefaultStorage(uri="file:///kubedistill/storage/all", volume_claim="shared")
    cluster.settings, cluster.spec = SETTINGS.model_copy(update={"storage": storage}), small_spec(storage={})
    begin(cluster, "Generate")
    as_0_1_froze_it(cluster)
    cluster.complete_stage("Generate")
    assert cluster.jobs[cluster.live].store == cluster.jobs[cluster.live].data_root == "file:///kubedistill/storage/all"


def change_settings(cluster: FakeCluster, *, price: float | None = None) -> Settings:
    """Have the platform give the pool another label, and maybe a price."""
    h100 = Pool(node_selector={"gpu": "h100-sxm"}, price_per_gpu_hour=price)
    cluster.settings = SETTINGS.model_copy(update={"pools": {**SETTINGS.pools, "h100": h100}})
    return cluster.settings


@pytest.mark.parametrize("refused", [None, Refusal("", "422 Job is invalid: nodeAffinity")])
def test_f4_before_any_child_was_made_changed_settings_are_taken_over(
    refused: Refusal | None, cluster: FakeCluster
) -> None:
    cluster.refusal = refused
    for _ in range(1 if refused is None else 8):
        cluster.step()
    assert cluster.created == []
    first = run_of(cluster).snapshot_digest
    settings = change_settings(cluster)
    plan = cluster.reconcile()
    assert plan.status is not None
    assert plan.create, "so that it is decided on all that there is"
    cluster.step(until=1)
    second = run_of(cluster).snapshot_digest
    assert second not in ("", first)
    assert second not in {one.snapshot for one in cluster.frozen.values()}, "the digest comes first"
    cluster.refusal = None
    cluster.settle()
    frozen = cluster.frozen_run
    assert frozen is not None
    assert frozen.values["pools"]["h100"]["nodeSelector"] == dict(settings.pools["h100"].node_selector)
    assert told(cluster, "RunRefrozen") <= 1, "it was killed before it could tell"
    assert len(cluster.created) == 1
    assert cluster.jobs[cluster.live].run.id == "1"


def test_f4_a_forged_stage_job_is_reported_once_and_not_used(cluster: FakeCluster) -> None:
    cluster.refusal = Refusal("", "422 Job is invalid")
    for _ in range(8):
        cluster.step()
    first = cluster.live
    assert stage_of(cluster, "Prepare").state == "Starting"
    change_settings(cluster, price=3)
    cluster.refusal = None
    cluster.settle()
    assert told(cluster, "RunRefrozen") == 1
    assert cluster.live != first, "its ConfigMap holds the old price"
    assert cluster.created == [cluster.live]
    assert cluster.jobs[cluster.live].prices.teacher == 3
    change_settings(cluster)
    cluster.settle()
    assert told(cluster, "RunRefrozen") == 1


def test_f4_a_child_that_came_and_went_is_a_child(cluster: FakeCluster) -> None:
    cluster.settle()
    cluster.run_child(cluster.live)
    cluster.settle()
    cluster.spec = small_spec(suspend=True)
    cluster.settle()
    cluster.result(cluster.live, outcome="Stopped")
    cluster.end_child(cluster.live)
    cluster.settle()
    cluster.settle()
    assert (cluster.status.phase, cluster.children) == ("Suspended", {})
    first = run_of(cluster).snapshot_digest
    change_settings(cluster)
    cluster.spec = small_spec()
    cluster.settle()
    assert (run_of(cluster).snapshot_digest, told(cluster, "RunRefrozen")) == (first, 0)


def test_f4_settings_without_the_run_s_pool_are_not_taken_over(cluster: FakeCluster) -> None:
    cluster.step()
    first = run_of(cluster).snapshot_digest
    cluster.settings = Settings(pools={"other": Pool(node_selector={"a": "b"})})
    cluster.settle()
    assert run_of(cluster).snapshot_digest == first
    assert len(cluster.created) == 1


def test_f4_only_the_spec_that_was_frozen_is_frozen_again(cluster: FakeCluster) -> None:
    cluster.step()
    cluster.spec = small_spec(training={"epochs": 9})
    change_settings(cluster)
    cluster.settle()
    frozen = cluster.frozen_run
    assert frozen is not None
    assert "training" not in frozen.values["spec"]
    assert reason_of(cluster, "SpecDrift") == ("True", "Edited")


def test_only_the_pools_of_a_job_enter_its_pods(cluster: FakeCluster) -> None:
    bad = Pool(node_selector={"bad": "pool"})
    cluster.settings = SETTINGS.model_copy(update={"pools": {**SETTINGS.pools, "bad": bad}})
    plans = cluster.settle()
    (job,) = [one for plan in plans for one in plan.create if one["kind"] == "Job"]
    assert "h100" in str(job["spec"]["template"]["spec"]["affinity"])
    assert "bad" not in json.dumps([one for plan in plans for one in plan.create])


def freeze_bad_pool(cluster: FakeCluster) -> None:
    """Have the run as 0.1 froze it, with a pool whose label no pod may name."""
    as_0_1_froze_it(cluster)
    (old,) = cluster.frozen.values()
    pools = {"h100": {"nodeSelector": {"nvidia.com/gpu.product": "NVIDIA H200"}}}
    cluster.frozen[old.name] = replace(old, values={**old.values, "pools": pools})


def test_f5_a_refused_pool_fails_with_field_and_fix_once_a_child_was_made(
    cluster: FakeCluster, check_message: CheckMessage
) -> None:
    name = begin(cluster, "Prepare")
    freeze_bad_pool(cluster)
    cluster.run_child(name)
    cluster.settle()
    cluster.result(name)
    cluster.end_child(name)
    cluster.settle()
    assert reason_of(cluster, "Failed") == ("True", "InvalidPool")
    assert "settings.pools.h100.nodeSelector.nvidia.com/gpu.product" in cluster.status.message
    check_message(cluster.status.message, "spec.runID")
    assert cluster.created == [name]
    cluster.spec = small_spec(runID="second")
    cluster.settle()
    assert len(cluster.created) == 2, "by the settings of now"


def test_f5_before_any_child_the_settings_of_now_heal_it(cluster: FakeCluster) -> None:
    cluster.step()
    freeze_bad_pool(cluster)
    cluster.settle()
    assert told(cluster, "SnapshotAdopted") == told(cluster, "RunRefrozen") == 1
    assert len(cluster.created) == 1
    assert cluster.status.condition("Failed") is None


def test_f7_work_that_another_version_wrote_differently_needs_a_new_attempt(cluster: FakeCluster) -> None:
    """The child of an attempt was refused, by a quota say, until the operator was upgraded."""
    cluster.refusal = Refusal("ExceededQuota", "exceeded quota: team")
    for _ in range(6):
        cluster.step()
    before = stage_of(cluster, "Prepare")
    told_by_0_1 = before.model_copy(update={"job_digest": ""})
    cluster.status = cluster.status.model_copy(update={"stages": (told_by_0_1, *cluster.status.stages[1:])})
    cluster.refusal = None
    cluster.settle()
    after = stage_of(cluster, "Prepare")
    assert (before.state, before.attempt, after.attempt) == ("Starting", 1, 2)
    assert cluster.created == [after.child]
    assert after.child != before.child
    assert after.job_digest == text_digest(cluster.jobs[after.child].to_json())
    assert after.restarts == before.restarts, "nothing is charged"
