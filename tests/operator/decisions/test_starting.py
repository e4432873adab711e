"""How a run starts, and what edits, runIDs and annotations do to it: rows S of docs/behaviour.md, by their names."""

import pytest

from kubedistill.chain import CHAIN
from kubedistill.contract import ArtifactRef
from kubedistill.settings import Images, PodSecurityContext, Pool
from kubedistill.v1alpha1 import Restarts
from kubedistill_operator.status import find_condition, is_true, with_stage
from world import World, begin, reason_of, small_spec, stage_of

FORBIDDEN = Pool(node_selector={"a": "b"}, allowed_namespaces=("other",))


STAGES = [stage.name for stage in CHAIN]


def test_a1_a_whole_run_succeeds_stage_by_stage(world: World) -> None:
    for stage in STAGES:
        world.complete_stage(stage)
    assert world.status.phase == "Succeeded"
    assert is_true(world.status, "Complete")
    assert len(world.created) == len(STAGES) == len(set(world.created))
    assert [event.reason for event in world.events].count("StageSucceeded") == len(STAGES)
    assert {one for one in ("DataGenerated", "StudentTrained", "Evaluated") if is_true(world.status, one)} == {
        "DataGenerated",
        "StudentTrained",
        "Evaluated",
    }
    assert world.step().status is None, "a run that is over is a fixed point"


def test_a1_status_and_events_say_what_came_of_it(world: World) -> None:
    name = begin(world, "Evaluate")
    world.run_child(name)
    world.settle()
    figures = {"teacherAccuracy": 0.906, "baselineAccuracy": 0.403, "distilledAccuracy": 2 / 3}
    report = {"report": ArtifactRef(key="r", uri="file:///kubedistill/storage/artifacts/report/r", complete=True)}
    summary = {**figures, "gate": {"passed": True}}
    world.result(name, summary=summary, message="gate passed", artifacts=report)
    world.step()
    assert stage_of(world, "Evaluate").message == "gate passed"
    assert stage_of(world, "Evaluate").starts == 1, "though its driver was never seen at work"
    assert world.events[-1].message == "Evaluate attempt 1: gate passed"
    assert world.status.message == "Evaluate: gate passed", "until the next stage has something to say"
    assert world.status.result is not None
    assert world.status.result.distilled_accuracy == 0.666667
    assert world.status.run is not None
    assert [one.uri for one in world.status.run.artifacts if one.name == "report"] == [report["report"].uri]
    world.end_child(name)
    world.complete_stage("Export")
    praise = "accuracy went from 40.3% to 66.7% (teacher 90.6%); the student is exported"
    assert world.status.message == praise
    assert world.events[-1].message == f"run 1: {praise}"
    assert (world.status.attempt, world.status.stage, world.status.progress) == (None, "", "")


def test_s1_the_run_is_frozen_before_anything_is_made(world: World) -> None:
    plan = world.step()
    assert plan.create[0]["metadata"]["name"].startswith("quickstart-run-")
    assert plan.create[0]["immutable"] is True
    assert world.status.phase == "Preparing"
    assert [event.reason for event in world.events] == ["RunStarted"]


def test_new_settings_reach_the_next_pods_of_a_run_but_for_its_pools_and_images(world: World) -> None:
    world.step()
    images = Images(runtime="later", runtime_cpu="later", registry="later.io", pull_secrets=("later",))
    changes = {"images": images, "pools": {}, "pod_security_context": PodSecurityContext(fs_group=7)}
    world.settings = world.settings.model_copy(update=changes)
    (job,) = [one for plan in world.settle() for one in plan.create if one["kind"] == "Job"]
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
def test_s2_s3_what_can_not_start_says_why_and_heals(
    world: World, settings: dict, claim_modes: tuple[str, ...] | None, reason: str, says: str
) -> None:
    good = world.settings
    world.settings, world.claim_access_modes = good.model_copy(update=settings), claim_modes
    world.settle()
    assert reason_of(world, "Validated") == ("False", reason)
    assert says in world.status.message
    assert world.status.phase == "Pending"
    assert world.created == []
    assert [event.reason for event in world.events] == ["ValidationFailed"], "said once"
    world.settings, world.claim_access_modes = good, ("ReadWriteMany",)
    world.settle()
    assert reason_of(world, "Validated") == ("True", "Valid")
    assert world.created


def test_s5_an_edit_waits_for_a_new_run(world: World) -> None:
    name = begin(world, "Generate")
    world.run_child(name)
    world.spec = small_spec(training={"epochs": 7})
    world.settle()
    assert reason_of(world, "SpecDrift") == ("True", "Edited")
    assert world.live == name
    assert [event.reason for event in world.events].count("SpecDrift") == 1
    world.spec = small_spec()
    world.settle()
    assert find_condition(world.status, "SpecDrift") is None


@pytest.mark.parametrize(
    "edit", [{"childRetentionSeconds": 1}, {"activeDeadlineSeconds": 99_999}, {"queue": {"name": "q"}}]
)
def test_s6_live_fields_are_no_drift(world: World, edit: dict) -> None:
    begin(world, "Generate")
    world.spec = small_spec(**edit)
    world.settle()
    assert find_condition(world.status, "SpecDrift") is None


def test_s7_a_new_run_id_supersedes(world: World) -> None:
    name = begin(world, "Train")
    world.run_child(name)
    world.settle()
    world.spec = small_spec(runID="second")
    world.settle()
    assert world.channels[name].stop, "the driver is asked to save first"
    assert world.status.run is not None
    assert world.status.run.id == "1"
    world.result(name, outcome="Stopped", cause="none", reason="Stopped")
    world.settle()
    assert name not in world.children
    assert world.status.run.id == "1", "its pods still run"
    world.end_child(name)
    world.settle()
    assert world.status.run.id == "second"
    assert [(one.id, one.outcome) for one in world.status.run_history] == [("1", "Superseded")]
    assert stage_of(world, "Prepare").attempt == 1


def test_s8_a_used_run_id_starts_nothing(world: World) -> None:
    world.spec = small_spec(runID="first")
    begin(world, "Generate")
    world.spec = small_spec(runID="second")
    world.settle()
    assert world.status.run is not None
    assert world.status.run.id == "second"
    world.spec = small_spec(runID="first")
    world.settle()
    assert world.status.run.id == "second"
    assert reason_of(world, "SpecDrift") == ("True", "RunIDReused")


def test_s9_rerun_is_honoured_once(world: World) -> None:
    for stage in STAGES:
        world.complete_stage(stage)
    world.annotations["kubedistill.io/rerun"] = "monday"
    world.settle()
    assert world.status.run is not None
    assert world.status.run.id == "rerun-monday"
    world.complete_stage("Prepare")
    assert world.status.phase == "Succeeded", "everything was there already"
    world.settle()
    assert [one.id for one in world.status.run_history] == ["1"]
    assert [stage.state for stage in world.status.stages] == ["Succeeded", *["Skipped"] * 5]


def test_s9_a_stage_is_skipped_by_what_the_run_s_own_image_makes(world: World) -> None:
    """As a run of 0.1, whose Curate makes no samples, that was suspended in Train and goes on under this version."""
    name = begin(world, "Prepare")
    world.run_child(name)
    known = {"rows": True, "answers": True, "judge": True, "dataset": True, "student": False, "report": False}
    world.result(
        name, artifacts={one: ArtifactRef(key=one, uri="", complete=complete) for one, complete in known.items()}
    )
    world.end_child(name)
    world.settle()
    assert [stage.state for stage in world.status.stages[:4]] == ["Succeeded", "Skipped", "Skipped", "Starting"]


def test_s10_cancel_saves_and_ends_for_good(world: World) -> None:
    name = begin(world, "Train")
    world.run_child(name)
    world.settle()
    world.annotations["kubedistill.io/cancel"] = "now"
    world.settle()
    assert world.channels[name].stop
    world.now += 61
    world.settle()
    world.end_child(name)
    world.settle()
    assert reason_of(world, "Failed") == ("True", "Cancelled")
    assert name not in world.children


def test_f7_a_child_that_was_made_without_its_work_gives_way_when_that_would_be_another(world: World) -> None:
    """The operator was killed between the two, and the next one is of another version."""
    for _ in range(5):
        world.step(until=2)  # its account and the child, and no more
    name = world.live
    assert name not in world.jobs, "its pod waits for what it is told"
    world.status = with_stage(world.status, "Prepare", job_digest="of another version")
    world.settle()
    assert name not in world.children
    assert (stage_of(world, "Prepare").attempt, world.live in world.jobs) == (2, True)
    assert stage_of(world, "Prepare").restarts == Restarts()
