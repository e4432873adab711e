"""Why a child does not run, in one word that is true: rows W6 to W12 of docs/behavior.md, by their names."""

from dataclasses import replace
from typing import Any

import pytest

from kubedistill.chain import StageName
from kubedistill_operator.observed import Pod
from kubedistill_operator.status import with_run
from support.fake_cluster import FakeCluster, begin, reason_of, small_spec, stage_of
from support.messages import CheckMessage

_QUOTA = "exceeded quota: team, requested: pods=1, used: pods=4, limited: pods=4"
# What the API server says of a pod that it does not make: the reason.
REFUSED_PODS = {
    "w7 a quota that is used up": (f'pods "p-x8kzl" is forbidden: {_QUOTA}', "QuotaExceeded"),
    "w7 a quota on what pods do not state": (
        'pods "p" is forbidden: failed quota: q: must specify limits.cpu for: driver', "QuotaExceeded",
    ),
    "w11 a priority class": (
        'pods "p" is forbidden: no PriorityClass with name no-such-class was found', "PriorityClassNotFound",
    ),
    "w11 an account": (
        'pods "p" is forbidden: error looking up service account team/nobody: serviceaccount "nobody" not found',
        "ServiceAccountNotFound",
    ),
    "w11 a limit range": ('pods "p" is forbidden: maximum memory usage per Container is 1Gi, but limit is 4Gi',
                         "PodsRefused"),
    "w11 pod security": ('pods "p" is forbidden: violates PodSecurity "restricted:latest": seccompProfile',
                        "PodsRefused"),
    "w11 a field of the settings": ('Pod "p" is invalid: spec.containers[0].resources.limits[gpu here]: Invalid value',
                                   "PodsRefused"),
    "w11 a webhook": ('admission webhook "policy.example.com" denied the request: no quota label', "PodsRefused"),
}  # fmt: skip


@pytest.mark.parametrize("row", REFUSED_PODS)
def test_w7_w11_a_job_without_a_pod_is_explained_by_its_event(cluster: FakeCluster, row: str) -> None:
    message, reason = REFUSED_PODS[row]
    cluster.settle()
    cluster.pods_refused = message
    cluster.settle()
    assert reason_of(cluster, "Progressing") == ("False", reason)
    assert stage_of(cluster, "Prepare").reason == reason
    cluster.now += 3601
    cluster.settle()
    assert reason_of(cluster, "Failed") == ("True", reason)
    assert stage_of(cluster, "Prepare").restarts.failure == 0


@pytest.mark.parametrize("row", REFUSED_PODS)
def test_w7_w11_a_ray_cluster_without_a_pod_is_explained_by_its_condition(cluster: FakeCluster, row: str) -> None:
    message, reason = REFUSED_PODS[row]
    name = begin(cluster, "Generate")
    cluster.children[name] = replace(cluster.children[name], reason="FailedCreate", message=message)
    cluster.settle()
    assert reason_of(cluster, "Progressing") == ("False", reason)


def test_w11_the_same_refusal_of_pods_with_other_names_is_written_once(cluster: FakeCluster) -> None:
    cluster.settle()
    said = set()
    for name in ("abcde", "fghij", "klmno"):
        cluster.pods_refused = f'Error creating: pods "quickstart-prepare-kfxpz-{name}" is forbidden: {_QUOTA}'
        cluster.now += 15
        cluster.settle()
        said.add(cluster.status.message)
    assert len(said) == 1
    assert [event.reason for event in cluster.events].count("Waiting") == 1


# Kubelet's reason and words: ours.
CONTAINERS = {
    "w5 a registry that does not answer": ("RegistryUnavailable", "image pull failed for ghcr.io", "ImagePull"),
    "w5 never": ("ErrImageNeverPull", "image is not present with pull policy of Never", "ImagePull"),
    "w6 secret": ("CreateContainerConfigError", 'secret "hub" not found', "SecretNotFound"),
    "w6 key of a secret": (
        "CreateContainerConfigError", "couldn't find key token in Secret team/hub", "SecretNotFound",
    ),
    "w6 config map": ("CreateContainerConfigError", 'configmap "more" not found', "ConfigMapNotFound"),
    "w10 root": (
        "CreateContainerConfigError",
        'container has runAsNonRoot and image will run as root (pod: "secret-1_team(0)", container: driver)',
        "ImageRefused",
    ),
    "w10 a user by name": (
        "CreateContainerConfigError", "container has runAsNonRoot and image has non-numeric user (ray)", "ImageRefused",
    ),
    "w10 no command": ("CreateContainerError", "no command specified", "ImageRefused"),
    "w10 a command that is not there": (
        "RunContainerError", 'exec: "python": executable file not found in $PATH', "ImageRefused",
    ),
}  # fmt: skip


@pytest.mark.parametrize("row", CONTAINERS)
def test_w5_w6_w10_a_container_that_does_not_start_is_explained_by_kubelet(cluster: FakeCluster, row: str) -> None:
    said, words, reason = CONTAINERS[row]
    name = begin(cluster, "Generate")
    cluster.pods[name] = (Pod("p", "u", "Pending", cluster.now, waiting_reason=said, waiting_message=words),)
    cluster.settle()
    assert reason_of(cluster, "Progressing") == ("False", reason)
    assert words in cluster.status.message
    cluster.now += 3601
    cluster.settle()
    assert reason_of(cluster, "Failed") == ("True", reason)


@pytest.mark.parametrize(("name", "at"), [("prompts", "spec.data.train"), ("bundle", "settings.caBundle.configMap")])
def test_s3_a_config_map_that_is_missing_keeps_a_run_from_starting(cluster: FakeCluster, name: str, at: str) -> None:
    cluster.spec = small_spec(data={"train": {"configMapKeyRef": {"name": "prompts", "key": "train.jsonl"}}})
    cluster.missing_config_maps = (name,)
    cluster.settle()
    assert reason_of(cluster, "Validated") == ("False", "ConfigMapNotFound")
    assert at in cluster.status.message
    assert cluster.status.run is None
    cluster.missing_config_maps = ()
    cluster.settle()
    assert cluster.created


def head(cluster: FakeCluster, **changes: Any) -> Pod:
    return Pod(**({"name": "head", "uid": "u", "phase": "Running", "created": cluster.now, "node": "n1"} | changes))


def test_a6_a_container_that_ends_repeatedly_is_named_and_charged_after_some_restarts(
    cluster: FakeCluster,
    check_message: CheckMessage,
) -> None:
    name = begin(cluster, "Generate")
    crash = {"exit_code": 127, "exit_reason": "Error", "exit_message": "ray: command not found"}
    for restarts in range(1, 5):
        waiting = "CrashLoopBackOff" if restarts % 2 else ""  # between two ends it runs for a moment
        cluster.pods[name] = (head(cluster, restarts=restarts, waiting_reason=waiting, **crash),)
        cluster.now += 15
        cluster.settle()
        assert reason_of(cluster, "Progressing") == ("False", "CrashLooping")
        assert "exit code 127" in cluster.status.message
        check_message(cluster.status.message)
        assert stage_of(cluster, "Generate").restarts.failure == 0
    assert [event.reason for event in cluster.events].count("Waiting") == 1
    cluster.pods[name] = (head(cluster, restarts=5, **crash),)
    cluster.settle()
    stage = stage_of(cluster, "Generate")
    assert (stage.restarts.failure, stage.restarts.infrastructure) == (1, 0)
    assert stage.reason == "CrashLooping"
    assert name not in cluster.children


def test_a6_a_container_that_was_started_again_and_is_ready_loops_no_more(cluster: FakeCluster) -> None:
    name = begin(cluster, "Generate")
    cluster.pods[name] = (head(cluster, restarts=7, exit_code=1, ready_since=cluster.now),)
    cluster.settle()
    assert reason_of(cluster, "Progressing") == ("True", "Generate")
    assert stage_of(cluster, "Generate").restarts.failure == 0


def test_w12_a_rayjob_that_kuberay_ignores_is_reported_after_15_seconds(
    cluster: FakeCluster, check_message: CheckMessage
) -> None:
    name = begin(cluster, "Generate")
    cluster.children[name] = replace(cluster.children[name], noticed=False)
    cluster.settle()
    assert reason_of(cluster, "Progressing") == ("True", "Generate")
    cluster.now += 15
    cluster.settle()
    assert reason_of(cluster, "Progressing") == ("False", "KubeRayAbsent")
    check_message(cluster.status.message, "GPUs")
    cluster.run_child(name)
    cluster.children[name] = replace(cluster.children[name], noticed=True)
    cluster.settle()
    assert reason_of(cluster, "Progressing") == ("True", "Generate")
    assert stage_of(cluster, "Generate").attempt == 1


def test_w12_when_kuberay_returns_the_job_progresses_and_its_pods_have_their_usual_time(cluster: FakeCluster) -> None:
    name = begin(cluster, "Generate")
    cluster.children[name] = replace(cluster.children[name], noticed=False)
    cluster.settle()
    cluster.now += 600
    cluster.settle()
    assert reason_of(cluster, "Progressing") == ("False", "KubeRayAbsent")
    cluster.children[name] = replace(cluster.children[name], noticed=True)
    cluster.settle()
    assert reason_of(cluster, "Progressing") == ("True", "Generate")
    assert (stage_of(cluster, "Generate").reason, cluster.status.phase) == ("", "Generating")
    cluster.now += 14
    cluster.settle()
    assert reason_of(cluster, "Progressing") == ("True", "Generate")
    cluster.now += 1
    cluster.settle()
    assert reason_of(cluster, "Progressing") == ("False", "WaitingForNodes")
    assert [one.message.partition(":")[0] for one in cluster.events if one.reason == "Waiting"] == [
        "KubeRayAbsent",
        "WaitingForNodes",
    ]


def test_w12_a_rayjob_that_a_queue_has_just_let_in_has_15_seconds_too(cluster: FakeCluster) -> None:
    cluster.spec = small_spec(queue={"name": "q"})
    name = begin(cluster, "Generate")
    cluster.children[name] = replace(cluster.children[name], admitted=False, noticed=False)
    cluster.status = with_run(cluster.status, counted_at="")  # Kueue holds it back before anybody looks
    cluster.settle()
    cluster.now += 3000
    cluster.children[name] = replace(cluster.children[name], admitted=True)
    cluster.settle()
    assert reason_of(cluster, "Progressing")[0] == "True"
    cluster.now += 15
    cluster.settle()
    assert reason_of(cluster, "Progressing") == ("False", "KubeRayAbsent")


def test_w12_an_unreported_ready_cluster_names_the_pods_that_hold_gpus(
    cluster: FakeCluster, check_message: CheckMessage
) -> None:
    cluster.spec = small_spec(
        teachers=[
            {"name": "big", "model": {"source": "teacher", "tensorParallelSize": 4}, "resources": {"pool": "h100"}}
        ]
    )
    name = begin(cluster, "Generate")
    cluster.settle()
    since = cluster.now
    cluster.pods[name] = (
        head(cluster, ready_since=since),
        Pod("worker", "w", "Running", since, node="n2", ready_since=since),
    )
    cluster.now += 29
    cluster.settle()
    assert reason_of(cluster, "Progressing") == ("True", "Generate")
    cluster.now += 31
    cluster.settle()
    assert reason_of(cluster, "Progressing") == ("False", "KubeRayAbsent")
    check_message(cluster.status.message, "4", "Generate")


def test_w4_a_lost_node_is_named(cluster: FakeCluster, check_message: CheckMessage) -> None:
    name = begin(cluster, "Generate")
    cluster.settle()
    cluster.pods[name] = (head(cluster, node="node-7", node_lost_since=cluster.now),)
    cluster.now += 61
    cluster.settle()
    assert reason_of(cluster, "Progressing") == ("False", "WaitingForNodes")
    check_message(cluster.status.message, "node-7")


# What the scheduler says of a pod without a node, and kubelet in a word that we don't know.
HELD_BACK = {
    "a gate": ("SchedulingGated", "Scheduling is blocked due to non-empty scheduling gates"),
    "a volume that is not bound": (
        "SchedulerError",
        "running PreBind plugin VolumeBinding: binding volumes: timed out",
    ),
}


@pytest.mark.parametrize("stage", ["Prepare", "Generate"])
@pytest.mark.parametrize("row", HELD_BACK)
def test_w16_a_pod_that_the_scheduler_holds_back_is_reported_with_its_message(
    cluster: FakeCluster, row: str, stage: StageName
) -> None:
    said, words = HELD_BACK[row]
    name = begin(cluster, stage)
    cluster.pods[name] = (Pod("p", "u", "Pending", cluster.now, waiting_reason=said, waiting_message=words),)
    cluster.settle()
    assert reason_of(cluster, "Progressing")[0] == "True", "that may last a moment"
    cluster.now += 15
    cluster.settle()
    assert reason_of(cluster, "Progressing") == ("False", "PodsNotStarted")
    assert words in cluster.status.message
    cluster.now += 3600
    cluster.settle()
    assert reason_of(cluster, "Failed") == ("True", "PodsNotStarted")
    assert stage_of(cluster, stage).restarts.infrastructure == 0


def test_w16_a_pod_that_no_scheduler_looks_at_names_the_scheduler(cluster: FakeCluster) -> None:
    cluster.settings = cluster.settings.model_copy(update={"scheduler_name": "volcano"})
    name = begin(cluster, "Generate")
    cluster.pods[name] = (Pod("p", "u", "Pending", cluster.now),)
    cluster.settle()
    cluster.now += 16
    cluster.settle()
    assert reason_of(cluster, "Progressing") == ("False", "PodsNotStarted")
    assert "volcano" in cluster.status.message


# The latest Event of a pod on a node of which no container starts: our word.
IDLE = {
    "a volume": ('FailedMount: MountVolume.SetUp failed for volume "storage": exit status 32', "PodsNotStarted"),
    "the network": (
        "FailedCreatePodSandBox: Failed to create pod sandbox: failed to assign an IP address to container",
        "PodsNotStarted",
    ),
    "an image": ('Pulling: Pulling image "kubedistill/runtime:0.1.0"', "PodsNotStarted"),
    "nothing since": ("Scheduled: Successfully assigned team/p to n1", "PodsNotStarted"),
    "w6 a ConfigMap that was deleted": (
        'FailedMount: MountVolume.SetUp failed for volume "data" : configmap "prompts" not found', "ConfigMapNotFound",
    ),
    "w6 a Secret": ('FailedMount: MountVolume.SetUp failed for volume "x" : secret "x" not found', "SecretNotFound"),
}  # fmt: skip


@pytest.mark.parametrize("stage", ["Prepare", "Generate"])
@pytest.mark.parametrize("row", IDLE)
def test_w16_a_placed_pod_that_does_not_start_is_explained_by_its_latest_event(
    cluster: FakeCluster, row: str, stage: StageName
) -> None:
    told, reason = IDLE[row]
    name = begin(cluster, stage)
    cluster.pods[name] = (head(cluster, name="p", phase="Pending", waiting_reason="ContainerCreating", is_idle=True),)
    cluster.idle_event = told
    cluster.settle()
    if reason == "PodsNotStarted":
        assert reason_of(cluster, "Progressing")[0] == "True", "mounts are tried again, and images take a moment"
    cluster.now += 60
    cluster.settle()
    assert reason_of(cluster, "Progressing") == ("False", reason)
    assert told in cluster.status.message
    assert "node n1" in cluster.status.message
    assert [event.reason for event in cluster.events].count("Waiting") == 1
    cluster.now += 3600
    cluster.settle()
    assert reason_of(cluster, "Failed") == ("True", reason)


def test_w16_without_events_the_command_that_shows_more_is_named(
    cluster: FakeCluster, check_message: CheckMessage
) -> None:
    name = begin(cluster, "Generate")
    cluster.pods[name] = (head(cluster, name="p", phase="Pending", waiting_reason="ContainerCreating", is_idle=True),)
    cluster.settle()
    cluster.now += 60
    cluster.settle()
    assert reason_of(cluster, "Progressing") == ("False", "PodsNotStarted")
    check_message(cluster.status.message)


def test_w16_a_config_map_that_kubelet_has_not_seen_yet_is_not_reported_as_missing(
    cluster: FakeCluster,
) -> None:
    name = begin(cluster, "Generate")
    cluster.pods[name] = (head(cluster, name="p", phase="Pending", is_idle=True),)
    cluster.idle_event = f'FailedMount: MountVolume.SetUp failed for volume "job" : configmap "{name}" not found'
    cluster.settle()
    assert reason_of(cluster, "Progressing") == ("True", "Generate")


CRASHED = {"phase": "Failed", "exit_code": 42, "exit_reason": "Error", "exit_message": "init failed on purpose"}


def test_a6_pods_that_fail_and_are_replaced_are_a_loop_too(cluster: FakeCluster, check_message: CheckMessage) -> None:
    name = begin(cluster, "Generate")
    cluster.pods[name] = (head(cluster, phase="Pending", waiting_reason="PodInitializing"),)
    cluster.replaced = tuple(head(cluster, name=f"worker-{one}", **CRASHED) for one in range(2))
    cluster.settle()
    assert reason_of(cluster, "Progressing") == ("False", "CrashLooping")
    assert "pod worker-1" in cluster.status.message
    assert "exit code 42" in cluster.status.message
    check_message(cluster.status.message)
    assert stage_of(cluster, "Generate").restarts.failure == 0
    cluster.replaced = tuple(head(cluster, name=f"worker-{one}", **CRASHED) for one in range(5))
    cluster.settle()
    stage = stage_of(cluster, "Generate")
    assert (stage.restarts.failure, stage.restarts.infrastructure, stage.reason) == (1, 0, "CrashLooping")


def test_w16_pods_that_kubelet_rejects_repeatedly_are_reported_with_its_message(cluster: FakeCluster) -> None:
    name = begin(cluster, "Generate")
    words = "Pod was rejected: Allocate failed due to requested number of devices unavailable for nvidia.com/gpu"
    refused = {"phase": "Failed", "exit_reason": "UnexpectedAdmissionError", "exit_message": words}
    cluster.pods[name] = (head(cluster),)
    cluster.replaced = tuple(head(cluster, name=f"worker-{one}", **refused) for one in range(9))
    cluster.settle()
    assert reason_of(cluster, "Progressing") == ("False", "PodsNotStarted")
    assert words in cluster.status.message
    assert stage_of(cluster, "Generate").attempt == 1, "another attempt would be refused as well"


def test_a13_a_worker_preempted_while_its_cluster_starts_is_not_a_crash_loop(cluster: FakeCluster) -> None:
    name = begin(cluster, "Generate")
    cluster.pods[name] = (head(cluster, ready_since=cluster.now),)
    left = {**CRASHED, "exit_reason": "PreemptionByScheduler"}
    cluster.replaced = tuple(head(cluster, name=f"worker-{one}", **left) for one in range(9))
    cluster.settle()
    assert reason_of(cluster, "Progressing") == ("True", "Generate")
