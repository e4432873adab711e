"""How a run starts, and what edits, runIDs and annotations do to it: rows S of docs/behavior.md, by their names."""

from typing import Any

import pytest

from kubedistill.chain import CHAIN
from kubedistill.contract import ArtifactRef
from kubedistill.manifest.settings import DefaultStorage, Images, PodSecurityContext, Pool
from kubedistill.v1alpha1 import Restarts
from kubedistill_operator.status import is_true, with_stage
from support.fake_cluster import FakeCluster, begin, reason_of, small_spec, stage_of
from support.messages import CheckMessage

FORBIDDEN = Pool(node_selector={"a": "b"}, allowed_namespaces=("other",))


STAGES = [stage.name for stage in CHAIN]


def test_a1_a_whole_run_succeeds_stage_by_stage(cluster: FakeCluster) -> None:
    for stage in STAGES:
        cluster.complete_stage(stage)
    assert cluster.status.phase == "Succeeded"
    assert is_true(cluster.status, "Complete")
    assert len(cluster.created) == len(STAGES) == len(set(cluster.created))
    assert [event.reason for event in cluster.events].count("StageSucceeded") == len(STAGES)
    assert {one for one in ("DataGenerated", "StudentTrained", "Evaluated") if is_true(cluster.status, one)} == {
        "DataGenerated",
        "StudentTrained",
        "Evaluated",
    }
    assert cluster.step().status is None, "a run that is over is a fixed point"


def test_a1_status_and_events_say_what_came_of_it(cluster: FakeCluster, check_message: CheckMessage) -> None:
    name = begin(cluster, "Evaluate")
    cluster.run_child(name)
    cluster.settle()
    figures = {"teacherAccuracy": 0.906, "baselineAccuracy": 0.403, "distilledAccuracy": 2 / 3}
    report = {"report": ArtifactRef(key="r", uri="file:///kubedistill/storage/artifacts/report/r", complete=True)}
    summary = {**figures, "gate": {"passed": True}}
    cluster.result(name, summary=summary, message="gate passed", artifacts=report)
    cluster.step()
    assert stage_of(cluster, "Evaluate").message == "gate passed"
    assert stage_of(cluster, "Evaluate").starts == 1, "though its driver was never seen running"
    check_message(cluster.events[-1].message, "1")
    check_message(cluster.status.message)
    assert cluster.status.result is not None
    assert cluster.status.result.distilled_accuracy == 0.666667
    assert cluster.status.run is not None
    assert [one.uri for one in cluster.status.run.artifacts if one.name == "report"] == [report["report"].uri]
    cluster.end_child(name)
    cluster.complete_stage("Export")
    praise = "accuracy went from 40.3% to 66.7% (teacher 90.6%); the student is exported"
    assert cluster.status.message == praise
    assert cluster.events[-1].message == f"run 1: {praise}"
    assert (cluster.status.attempt, cluster.status.stage, cluster.status.progress) == (None, "", "")


def test_s1_the_run_is_frozen_before_anything_is_made(cluster: FakeCluster) -> None:
    plan = cluster.step()
    assert plan.create[0]["metadata"]["name"].startswith("quickstart-run-")
    assert plan.create[0]["immutable"] is True
    assert cluster.status.phase == "Preparing"
    assert [event.reason for event in cluster.events] == ["RunStarted"]


def test_new_settings_reach_the_next_pods_of_a_run_but_for_its_pools_and_images(cluster: FakeCluster) -> None:
    cluster.step()
    images = Images(runtime="later", runtime_cpu="later", registry="later.io", pull_secrets=("later",))
    changes = {"images": images, "pools": {}, "pod_security_context": PodSecurityContext(fs_group=7)}
    cluster.settings = cluster.settings.model_copy(update=changes)
    (job,) = [one for plan in cluster.settle() for one in plan.create if one["kind"] == "Job"]
    pod = job["spec"]["template"]["spec"]
    assert pod["containers"][0]["image"] == Images().runtime_cpu
    assert "h100" in str(pod["affinity"]), "the pools are those of the start"
    assert pod["securityContext"]["fsGroup"] == 7
    assert pod["imagePullSecrets"] == [{"name": "later"}]


@pytest.mark.parametrize(
    ("settings", "claim_modes", "reason", "says"),
    [
        ({"pools": {}}, ("ReadWriteMany",), "UnknownPool", "pool"),
        ({"pools": {"h100": FORBIDDEN}}, ("ReadWriteMany",), "PoolNotAllowed", "namespace"),
        ({}, None, "ClaimNotFound", "shared"),
        ({}, ("ReadWriteOnce",), "StorageNotShared", "ReadWriteMany"),
    ],
    ids=["s2 unknown pool", "s2 forbidden pool", "s3 no claim", "s3 not shared"],
)  # fmt: skip
def test_s2_s3_a_job_that_cannot_start_says_why_and_starts_once_it_is_fixed(
    cluster: FakeCluster, settings: dict, claim_modes: tuple[str, ...] | None, reason: str, says: str
) -> None:
    good = cluster.settings
    cluster.settings, cluster.claim_access_modes = good.model_copy(update=settings), claim_modes
    cluster.settle()
    assert reason_of(cluster, "Validated") == ("False", reason)
    assert says in cluster.status.message
    assert cluster.status.phase == "Pending"
    assert cluster.created == []
    assert [event.reason for event in cluster.events] == ["ValidationFailed"], "said once"
    cluster.settings, cluster.claim_access_modes = good, ("ReadWriteMany",)
    cluster.settle()
    assert reason_of(cluster, "Validated") == ("True", "Valid")
    assert cluster.created


def test_s2_a_training_worker_holds_no_gpu_that_it_does_not_use(
    cluster: FakeCluster, check_message: CheckMessage
) -> None:
    student = {"model": {"source": "student"}, "resources": {"pool": "h100", "workers": 2, "gpusPerWorker": 4}}
    cluster.spec = small_spec(student=student)
    cluster.settle()
    assert reason_of(cluster, "Validated") == ("False", "InvalidManifest")
    check_message(cluster.status.message, "gpusPerWorker", "workers: 8")
    assert cluster.created == []


@pytest.mark.parametrize("field", ["spec.storage.volumeClaim", "settings.storage.volumeClaim"])
@pytest.mark.parametrize("modes", [None, ("ReadWriteOnce",)])
def test_s3_a_claim_is_named_by_the_field_that_names_it_and_looked_for_every_15_s(
    cluster: FakeCluster, field: str, modes: tuple[str, ...] | None, check_message: CheckMessage
) -> None:
    if field.startswith("settings"):
        storage = DefaultStorage(volume_claim="shared")
        cluster.spec, cluster.settings = (
            small_spec(storage={}),
            cluster.settings.model_copy(update={"storage": storage}),
        )
    cluster.claim_access_modes = modes
    cluster.settle()
    condition = cluster.status.condition("Validated")
    assert condition is not None
    check_message(condition.message, field, "shared")
    assert cluster.step().requeue_after == 15


@pytest.mark.parametrize(
    ("modes", "reason"),
    [
        (None, "ClaimNotFound"),
        (("ReadWriteOnce",), "StorageNotShared"),
        (("ReadWriteOnce", "ReadWriteMany"), "Valid"),
        (("ReadOnlyMany",), "Valid"),
    ],
)
def test_s3_the_claim_for_downloads_is_looked_at_before_anything_is_made(
    cluster: FakeCluster, modes: tuple[str, ...] | None, reason: str, check_message: CheckMessage
) -> None:
    cluster.spec, cluster.cache_access_modes = small_spec(modelCache={"volumeClaim": "models"}), modes
    cluster.settle()
    condition = cluster.status.condition("Validated")
    assert condition is not None
    assert condition.reason == reason
    assert bool(cluster.created) == (reason == "Valid")
    if not cluster.created:
        check_message(condition.message, "spec.modelCache.volumeClaim", "models")
        assert cluster.step().requeue_after == 15


def test_s3_on_one_node_every_claim_is_shared(cluster: FakeCluster) -> None:
    storage = DefaultStorage(volume_claim="shared", single_node=True)
    cluster.settings = cluster.settings.model_copy(update={"storage": storage})
    cluster.spec = small_spec(modelCache={"volumeClaim": "models"})
    cluster.claim_access_modes = cluster.cache_access_modes = ("ReadWriteOnce",)
    cluster.settle()
    assert reason_of(cluster, "Validated") == ("True", "Valid")


def test_s5_an_edit_waits_for_a_new_run(cluster: FakeCluster) -> None:
    name = begin(cluster, "Generate")
    cluster.run_child(name)
    cluster.spec = small_spec(training={"epochs": 7})
    cluster.settle()
    assert reason_of(cluster, "SpecDrift") == ("True", "Edited")
    assert cluster.live == name
    assert [event.reason for event in cluster.events].count("SpecDrift") == 1
    cluster.spec = small_spec()
    cluster.settle()
    assert cluster.status.condition("SpecDrift") is None


@pytest.mark.parametrize(
    "edit", [{"childRetentionSeconds": 1}, {"activeDeadlineSeconds": 99_999}, {"queue": {"name": "q"}}]
)
def test_s6_live_fields_are_no_drift(cluster: FakeCluster, edit: dict) -> None:
    begin(cluster, "Generate")
    cluster.spec = small_spec(**edit)
    cluster.settle()
    assert cluster.status.condition("SpecDrift") is None


def test_s7_a_new_run_id_supersedes(cluster: FakeCluster) -> None:
    name = begin(cluster, "Train")
    cluster.run_child(name)
    cluster.settle()
    cluster.spec = small_spec(runID="second")
    cluster.settle()
    assert cluster.channels[name].stop, "the driver is asked to save first"
    assert cluster.status.run is not None
    assert cluster.status.run.id == "1"
    cluster.result(name, outcome="Stopped", cause="none", reason="Stopped")
    cluster.settle()
    assert name not in cluster.children
    assert cluster.status.run.id == "1", "its pods still run"
    cluster.end_child(name)
    cluster.settle()
    assert cluster.status.run.id == "second"
    assert [(one.id, one.outcome) for one in cluster.status.run_history] == [("1", "Superseded")]
    assert stage_of(cluster, "Prepare").attempt == 1


def test_s8_a_used_run_id_starts_nothing(cluster: FakeCluster) -> None:
    cluster.spec = small_spec(runID="first")
    begin(cluster, "Generate")
    cluster.spec = small_spec(runID="second")
    cluster.settle()
    assert cluster.status.run is not None
    assert cluster.status.run.id == "second"
    cluster.spec = small_spec(runID="first")
    cluster.settle()
    assert cluster.status.run.id == "second"
    assert reason_of(cluster, "SpecDrift") == ("True", "RunIDReused")


def test_s9_rerun_is_handled_once(cluster: FakeCluster) -> None:
    for stage in STAGES:
        cluster.complete_stage(stage)
    cluster.annotations["kubedistill.io/rerun"] = "monday"
    cluster.settle()
    assert cluster.status.run is not None
    assert cluster.status.run.id == "rerun-monday"
    cluster.complete_stage("Prepare")
    assert cluster.status.phase == "Succeeded", "everything was there already"
    cluster.settle()
    assert [one.id for one in cluster.status.run_history] == ["1"]
    assert [stage.state for stage in cluster.status.stages] == ["Succeeded", *["Skipped"] * 5]


def test_s9_a_stage_is_skipped_by_what_the_run_s_own_image_makes(cluster: FakeCluster) -> None:
    """As a run of 0.1, whose Curate makes no samples, that was suspended in Train and continues under this version."""
    name = begin(cluster, "Prepare")
    cluster.run_child(name)
    known = {"rows": True, "answers": True, "judge": True, "dataset": True, "student": False, "report": False}
    cluster.result(
        name, artifacts={one: ArtifactRef(key=one, uri="", complete=complete) for one, complete in known.items()}
    )
    cluster.end_child(name)
    cluster.settle()
    assert [stage.state for stage in cluster.status.stages[:4]] == ["Succeeded", "Skipped", "Skipped", "Starting"]


def test_s10_cancel_saves_and_ends_for_good(cluster: FakeCluster) -> None:
    name = begin(cluster, "Train")
    cluster.run_child(name)
    cluster.settle()
    cluster.annotations["kubedistill.io/cancel"] = "now"
    cluster.settle()
    assert cluster.channels[name].stop
    cluster.now += 61
    cluster.settle()
    cluster.end_child(name)
    cluster.settle()
    assert reason_of(cluster, "Failed") == ("True", "Cancelled")
    assert name not in cluster.children


def test_f7_a_child_without_its_work_is_replaced_when_the_work_has_changed(cluster: FakeCluster) -> None:
    """The operator was killed between the two, and the next one is of another version."""
    for _ in range(5):
        cluster.step(until=2)  # its account and the child, and no more
    name = cluster.live
    assert name not in cluster.jobs, "its pod waits for what it is told"
    cluster.status = with_stage(cluster.status, "Prepare", job_digest="of another version")
    cluster.settle()
    assert name not in cluster.children
    assert (stage_of(cluster, "Prepare").attempt, cluster.live in cluster.jobs) == (2, True)
    assert stage_of(cluster, "Prepare").restarts == Restarts()


HUB_SPEC = small_spec(
    teachers=[
        {"name": "big", "model": {"source": "hf://a/teacher", "revision": "v1"}, "resources": {"pool": "h100"}},
        {"name": "far", "endpoint": {"model": "m", "tokenizer": "hf://a/tokenizer"}},
    ],
    student={"model": {"source": "hf://a/student"}},
)


def test_s17_all_stages_of_a_run_use_the_commits_that_its_first_prepare_found(cluster: FakeCluster) -> None:
    cluster.spec = HUB_SPEC
    first = begin(cluster, "Prepare")
    cluster.run_child(first)
    cluster.settle()
    found = {"hf://a/teacher@v1": "1" * 40, "hf://a/student": "2" * 40, "hf://a/tokenizer": "3" * 40}
    cluster.result(first, summary={"models": found})
    cluster.end_child(first)
    cluster.settle()
    assert cluster.status.run is not None
    assert {one.name: one.commit for one in cluster.status.run.models} == found
    assert (cluster.jobs[first].models, cluster.jobs[cluster.live].models) == ({}, found)
    cluster.complete_stage("Generate")
    assert cluster.jobs[cluster.live].models == found
    cluster.spec = cluster.spec.model_copy(update={"run_id": "second"})
    cluster.settle()
    cluster.end_child(cluster.live)
    cluster.settle()
    assert cluster.jobs[cluster.live].stage == "Prepare"
    assert cluster.jobs[cluster.live].models == {}, "a new run asks the hub again"


ESTIMATE: dict[str, Any] = {
    "stages": [
        {"stage": "Generate", "tokens": 600, "seconds": 7.00001, "gpuHours": 0.5, "dollars": 2.0},
        {"stage": "Train", "tokens": 30, "seconds": 3.0, "gpuHours": 0.25, "dollars": None},
        {"stage": "Evaluate", "reused": True},
    ],
    "diskBytes": 4096,
    "downloadBytes": 0,
    "assumptions": ["answers\nare labels"],
}


def test_s19_the_status_has_the_estimate_of_the_run_s_latest_prepare(cluster: FakeCluster) -> None:
    name = begin(cluster, "Prepare")
    cluster.run_child(name)
    cluster.settle()
    cluster.result(name, summary={"estimate": ESTIMATE})
    cluster.settle()
    found = cluster.status.estimate
    assert found is not None
    assert (found.tokens, found.seconds, found.gpu_hours, found.dollars) == (630, 10.0, 0.75, None)
    assert [(one.name, one.seconds, one.reused) for one in found.stages] == [
        ("Generate", 7.0, False), ("Train", 3.0, False), ("Evaluate", None, True),
    ]  # fmt: skip
    assert (found.disk_bytes, found.assumptions) == (4096, ("answers are labels",))
    cluster.spec = small_spec(runID="second")
    cluster.settle()
    cluster.end_child(name)
    cluster.settle()
    assert cluster.status.estimate is None, "another run is not estimated before its own Prepare has ended"


@pytest.mark.parametrize("figure", [{"seconds": -1}, {"dollars": "many"}, {"tokens": 10**30}, {"gpuHours": 1e999}])
def test_s19_an_estimate_that_is_not_in_numbers_is_not_recorded(figure: dict[str, Any], cluster: FakeCluster) -> None:
    name = begin(cluster, "Prepare")
    cluster.run_child(name)
    cluster.settle()
    cluster.result(name, summary={"estimate": {**ESTIMATE, "stages": [{"stage": "Train", **figure}]}})
    cluster.settle()
    assert (stage_of(cluster, "Prepare").state, cluster.status.estimate) == ("Succeeded", None)


FORGED: dict[str, Any] = {
    "a model that the spec does not name": {"hf://b/other": "1" * 40},
    "no commit": {"hf://a/student": "main"},
    "a path": {"hf://a/student": "../" * 13 + "x"},
    "a number": {"hf://a/student": 7},
    "no object": ["hf://a/student"],
}


@pytest.mark.parametrize("case", FORGED)
def test_s17_only_commits_of_the_spec_s_models_are_recorded(case: str, cluster: FakeCluster) -> None:
    cluster.spec = HUB_SPEC
    name = begin(cluster, "Prepare")
    cluster.run_child(name)
    cluster.settle()
    cluster.result(name, summary={"models": FORGED[case]})
    cluster.settle()
    assert cluster.status.run is not None
    assert (stage_of(cluster, "Prepare").state, cluster.status.run.models) == ("Succeeded", ())
