"""What an attempt that is over leaves running: who waits for it, and what is shown; rows A1, W12 and W13."""

from dataclasses import replace

import pytest

from kubedistill.chain import StageName
from kubedistill_operator.observed import Pod
from world import World, begin, reason_of, small_spec, stage_of

BEFORE: dict[StageName, StageName] = {
    "Generate": "Prepare", "Curate": "Generate", "Train": "Curate", "Evaluate": "Train", "Export": "Evaluate",
}  # fmt: skip


def succeed(world: World, stage: StageName) -> str:
    """Play a stage to its result, with its child and pods left as they are; returns the child's name."""
    name = begin(world, stage)
    world.run_child(name)
    world.settle()
    world.result(name)
    world.settle()
    assert stage_of(world, stage).state == "Succeeded"
    return name


@pytest.mark.parametrize("stage", ["Curate", "Export", "Generate"])
def test_a1_a_stage_that_needs_no_gpu_of_the_last_one_starts_at_once(world: World, stage: StageName) -> None:
    last = succeed(world, BEFORE[stage])
    assert stage_of(world, stage).state == "Starting"
    assert world.children[last].state == "Running"


@pytest.mark.parametrize(("stage", "holds"), [("Train", "Generate"), ("Evaluate", "Train")])
def test_a1_a_stage_that_needs_the_gpus_of_an_earlier_one_waits_for_its_pods(
    world: World, stage: StageName, holds: StageName
) -> None:
    last = succeed(world, holds)
    if stage == "Train":
        world.complete_stage("Curate")
    assert stage_of(world, stage).state == "Pending"
    world.children[last] = replace(world.children[last], state="Ended")
    world.settle()
    assert stage_of(world, stage).state == "Pending", "its cluster is still there"
    world.pods.pop(last)
    world.settle()
    assert stage_of(world, stage).state == "Starting"


def test_a1_a_run_that_begins_again_waits_for_all_that_is_left_of_the_one_before(world: World) -> None:
    name = begin(world, "Curate")
    world.run_child(name)
    world.settle()
    world.result(name, outcome="Failed", cause="user", reason="LowYield", message="too few")
    world.settle()
    assert name not in world.children
    world.annotations["kubedistill.io/rerun"] = "now"
    world.settle()
    assert stage_of(world, "Prepare").state == "Pending"
    world.pods.pop(name)
    world.settle()
    assert stage_of(world, "Prepare").state == "Starting"


def test_w12_w13_a_rayjob_whose_end_nobody_tells_is_shown_and_ends_the_run_at_last(world: World) -> None:
    world.spec = small_spec(
        childRetentionSeconds=86_400,
        student={"model": {"source": "student"}, "resources": {"pool": "h100", "workers": 2, "gpusPerWorker": 4}},
    )
    name = succeed(world, "Train")
    assert reason_of(world, "Progressing") == ("True", "Train")
    world.now += 15
    world.settle()
    assert reason_of(world, "Progressing") == ("False", "PodsRemain")
    assert f"8 GPUs of Train: {name}-head" in world.status.message
    world.now += 15
    world.settle()
    assert reason_of(world, "Progressing") == ("False", "KubeRayAbsent")
    assert "8 GPUs" in world.status.message
    assert [event.message.partition(":")[0] for event in world.events if event.reason == "Waiting"] == [
        "PodsRemain",
        "KubeRayAbsent",
    ]
    world.now += 3570
    world.settle()
    assert reason_of(world, "Failed") == ("True", "KubeRayAbsent")


def test_w12_kuberay_that_comes_back_lets_the_run_go_on_and_nothing_is_charged(world: World) -> None:
    name = succeed(world, "Train")
    world.now += 60
    world.settle()
    assert reason_of(world, "Progressing") == ("False", "KubeRayAbsent")
    world.end_child(name)
    world.settle()
    assert stage_of(world, "Evaluate").state == "Starting"
    assert reason_of(world, "Progressing") == ("True", "Evaluate")
    assert stage_of(world, "Train").restarts.infrastructure == 0


def test_w12_a_cluster_that_outlives_its_rayjob_is_kuberays_to_delete(world: World) -> None:
    name = succeed(world, "Train")
    world.children[name] = replace(world.children[name], state="Ended")
    world.now += 31
    world.settle()
    assert reason_of(world, "Progressing") == ("False", "KubeRayAbsent")


def test_w13_pods_that_are_on_their_way_out_are_named_and_kuberay_is_not_blamed(world: World) -> None:
    name = succeed(world, "Train")
    world.children[name] = replace(world.children[name], state="Ended")
    world.pods[name] = (Pod("slow", "u", "Running", world.now, node="n1", deleting=True),)
    world.now += 120
    world.settle()
    assert reason_of(world, "Progressing") == ("False", "PodsRemain")
    assert "slow" in world.status.message


def test_w13_a_lost_node_is_named_until_its_pods_count_as_gone(world: World) -> None:
    name = succeed(world, "Train")
    world.children[name] = replace(world.children[name], state="Ended")
    world.pods[name] = (Pod("p", "u", "Running", world.now, node="node-7", node_lost_since=world.now),)
    world.now += 60
    world.settle()
    assert reason_of(world, "Progressing") == ("False", "PodsRemain")
    assert "node node-7 of pod p" in world.status.message
    world.now += 240
    world.settle()
    assert stage_of(world, "Evaluate").state == "Starting"


def test_w12_a_deleted_rayjob_that_stays_is_shown_while_a_job_stops(world: World) -> None:
    name = begin(world, "Train")
    world.run_child(name)
    world.settle()
    world.spec = small_spec(suspend=True)
    world.settle()
    child = world.children[name]
    world.now += 61
    world.settle()
    world.children[name] = replace(child, deleting=True)  # KubeRay's finalizer holds it
    world.now += 31
    world.settle()
    assert reason_of(world, "Progressing") == ("False", "KubeRayAbsent")
    assert stage_of(world, "Train").reason == "Suspended"
    world.now += 4000
    world.settle()
    assert world.status.phase != "Failed", "whoever suspends a job does not want it to fail"
    world.end_child(name)
    del world.children[name]
    world.settle()
    assert world.status.phase == "Suspended"


def test_a1_a_stage_that_is_there_already_is_skipped_whatever_still_runs(world: World) -> None:
    world.stored |= {"student"}
    last = succeed(world, "Generate")
    world.complete_stage("Curate")
    assert stage_of(world, "Train").state == "Skipped"
    assert stage_of(world, "Evaluate").state == "Pending"
    world.end_child(last)
    world.settle()
    assert stage_of(world, "Evaluate").state == "Starting"


def test_w13_time_that_a_job_was_suspended_is_no_time_that_it_waited(world: World) -> None:
    name = succeed(world, "Prepare")
    world.pods[name] = (Pod("p", "u", "Running", world.now, node="n1"),)
    world.spec = small_spec(suspend=True)
    world.settle()
    world.now += 100_000
    world.spec = small_spec()
    world.settle()
    assert world.status.phase != "Failed"


def test_w13_a_short_schedulingtimeout_waits_for_a_lost_node_to_count_as_gone(world: World) -> None:
    world.spec = small_spec(schedulingTimeoutSeconds=30)
    name = succeed(world, "Train")
    world.children[name] = replace(world.children[name], state="Ended")
    world.pods[name] = (Pod("p", "u", "Running", world.now, node="node-7", node_lost_since=world.now),)
    for _ in range(20):
        world.now += 15
        world.settle()
    assert stage_of(world, "Evaluate").state == "Starting"
