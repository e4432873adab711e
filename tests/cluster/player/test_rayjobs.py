"""Played RayJobs on a real API server pass through the states of KubeRay 1.7."""

import threading
import time
from collections.abc import Callable
from datetime import datetime
from typing import Any

from support.fake_kuberay.scenarios import OK, Scenario, Steps, step
from support.fake_kuberay.transitions import FINALIZER
from support.kube_api import wait_for

MakeWorkplace = Callable[..., Any]


def only(name: str, steps: Steps, **more: Any) -> dict[str, Any]:
    """Return settings of a player that plays the same for every child."""
    scenario = Scenario(name, "", {("*", 0): steps}, **more)
    return {"choose": lambda job: scenario}


def test_a_rayjob_comes_up_runs_and_leaves_a_result(workplace: Any) -> None:
    child = workplace.child("ok-1")
    child.becomes(("Complete", "SUCCEEDED"))
    assert child.object["metadata"]["finalizers"] == [FINALIZER]
    status = child.status
    assert (status["succeeded"], status["failed"]) == (1, 0)
    assert status["jobId"].startswith(f"{child.name}-")
    assert status["rayClusterName"].startswith(f"{child.name}-")
    assert status["startTime"] <= status["rayJobInfo"]["startTime"] <= status["endTime"]
    assert child.channel["owner"] == f"{child.name}:{child.result['driver']}"
    assert [entry["number"] for entry in workplace.journal.of("Submitted", child=child.name)] == [1]
    wait_for(lambda: not child.pods, what="the cluster is deleted")


def test_pods_are_those_of_the_templates_with_kuberays_labels(workplace: Any) -> None:
    child = workplace.child("silent-1")
    child.becomes(("Running", "RUNNING"))
    assert sorted(pod["metadata"]["labels"]["ray.io/node-type"] for pod in child.pods) == ["head", "worker"]
    for pod in child.pods:
        assert pod["metadata"]["labels"]["ray.io/cluster"] == child.status["rayClusterName"]
        assert pod["metadata"]["labels"]["kubedistill.io/job"] == "silent-1"
        assert pod["status"]["containerStatuses"][0]["state"].keys() == {"running"}
        assert pod["spec"]["nodeName"]
    assert child.status["rayClusterStatus"]["readyWorkerReplicas"] == 1


def test_the_obstacle_of_a_cluster_is_in_its_pods_or_in_its_status(workplace: Any) -> None:
    waits = workplace.child("no-image-1"), workplace.child("unschedulable-1"), workplace.child("no-quota-1")
    image, node, quota = waits

    def reason(child: Any) -> str:
        states = [state for pod in child.pods for state in pod["status"].get("containerStatuses", [])]
        return next((state["state"].get("waiting", {}).get("reason", "") for state in states), "")

    wait_for(lambda: reason(image) == "ImagePullBackOff", what="the pods say ImagePullBackOff")
    wait_for(lambda: "Unschedulable" in str([pod["status"] for pod in node.pods]), what="the pods say Unschedulable")
    wait_for(lambda: "exceeded quota" in str(quota.status), what="the cluster's status shows the refusal")
    conditions = {one["type"]: one["reason"] for one in quota.status["rayClusterStatus"]["conditions"]}
    assert conditions["ReplicaFailure"] == "FailedCreateHeadPod"
    assert {child.state for child in waits} == {("Initializing", "")}


def test_a_cluster_that_never_comes_up_fails_at_its_deadline(workplace: Any) -> None:
    child = workplace.child("unschedulable-2", preRunningDeadlineSeconds=100)
    child.becomes(("Failed", ""))
    assert child.status["reason"] == "PreRunningDeadlineExceeded"
    wait_for(lambda: not child.pods, what="the cluster is deleted")


def test_a_retry_is_another_cluster_and_another_start(workplace: Any) -> None:
    child = workplace.child("raises-1", stage="Train", backoffLimit=1)
    wait_for(lambda: child.status.get("failed") == 1, what="it has failed once")
    wait_for(lambda: len(workplace.journal.of("Submitted", child=child.name)) == 2, what="it is submitted again")
    wait_for(lambda: child.state[0] == "Running", what="it runs again")
    names = {pod["metadata"]["labels"]["ray.io/cluster"] for pod in child.pods}
    assert child.status["rayClusterName"] in names
    submitted = workplace.journal.of("Submitted", child=child.name)
    assert _time(child.status["startTime"]) >= int(submitted[0]["at"])


def test_while_kuberay_is_away_pods_continue_and_the_end_is_not_reported(make_workplace: MakeWorkplace) -> None:
    away = threading.Event()
    child = make_workplace(away=away, scale=0.1).child("ok-2")
    child.becomes(("Running", "RUNNING"))
    away.set()
    wait_for(lambda: child.result, what="the driver leaves its result")
    time.sleep(1)
    assert child.state == ("Running", "RUNNING")
    assert len(child.pods) == 2
    away.clear()
    child.becomes(("Complete", "SUCCEEDED"))
    wait_for(lambda: not child.pods, what="the cluster is deleted")


def test_suspension_takes_names_and_pods_and_resumption_brings_others(workplace: Any) -> None:
    child = workplace.child("silent-2")
    child.becomes(("Running", "RUNNING"))
    before = child.status["rayClusterName"]
    child.edit({"suspend": True})
    child.becomes(("Suspended", ""))
    assert not {"rayClusterName", "jobId", "dashboardURL", "reason"} & child.status.keys()
    wait_for(lambda: not child.pods, what="its pods are gone")
    child.edit({"suspend": False})
    wait_for(lambda: child.state[0] == "Running", what="it runs again")
    assert child.status["rayClusterName"] != before


def test_an_invalid_rayjob_stays_invalid_when_it_is_fixed(workplace: Any) -> None:
    child = workplace.child("ok-2", ttlSecondsAfterFinished=-5)
    child.becomes(("ValidationFailed", ""))
    child.edit({"ttlSecondsAfterFinished": 5})
    mended = child.object["metadata"]["generation"]
    workplace.child("ok-3").becomes(("Complete", "SUCCEEDED"))  # time enough for any other RayJob's whole life
    assert (child.state, child.object["metadata"]["generation"]) == (("ValidationFailed", ""), mended)
    assert child.status["message"] == "ttlSecondsAfterFinished is negative"


def test_interactive_mode_waits_for_a_job_id(workplace: Any) -> None:
    child = workplace.child("silent-3", submissionMode="InteractiveMode")
    child.becomes(("Waiting", ""))
    child.edit({"jobId": "by-hand"})
    wait_for(lambda: child.state[0] == "Running", what="it is adopted")
    assert child.status["jobId"] == "by-hand"


def test_a_submitter_submits_in_k8s_job_mode(workplace: Any) -> None:
    child = workplace.child("ok-4", submissionMode="K8sJobMode")
    child.becomes(("Complete", "SUCCEEDED"))
    assert len(workplace.journal.of("Submitted", child=child.name)) == 1


def test_a_lost_head_is_replaced_and_its_driver_started_again(make_workplace: Any) -> None:
    workplace = make_workplace(scale=0.1)
    silent, traced = workplace.child("head-lost-1"), workplace.child("head-lost-traced-1")
    seen: dict[str, list[str]] = {silent.name: [], traced.name: []}
    while any(child.state[0] != "Complete" for child in (silent, traced)):
        for child in (silent, traced):
            if (state := child.state[1]) not in ("", *seen[child.name][-1:]):
                seen[child.name].append(state)
    assert [silent.channel["starts"], traced.channel["starts"]] == ["2", "2"]
    assert seen[silent.name].count("RUNNING") == 1
    assert seen[traced.name].count("RUNNING") == 2
    assert (silent.status["failed"], traced.status["failed"]) == (0, 0)


def test_a_head_that_restarts_in_place_takes_its_time_and_its_workers_with_it(make_workplace: Any) -> None:
    steps = (*OK[:5], step("KillDriver", when="Working", pending=True))
    workplace = make_workplace(scale=0.2, **only("restarts", steps))
    child = workplace.child("restarts")
    child.becomes(("Running", "RUNNING"))
    before = {pod["metadata"]["labels"]["ray.io/node-type"]: pod["metadata"]["name"] for pod in child.pods}
    wait_for(lambda: "jobStatusCheckFailureStartTime" in child.status, what="KubeRay finds no dashboard")
    conditions = {one["type"]: one["reason"] for one in child.status["rayClusterStatus"]["conditions"]}
    assert conditions["RayClusterProvisioned"] == "AllPodRunningAndReadyFirstTime", "which it stays, whatever comes"
    child.becomes(("Running", "PENDING"))
    assert "jobStatusCheckFailureStartTime" not in child.status

    def pods() -> dict[str, Any]:
        live = [pod for pod in child.pods if "deletionTimestamp" not in pod["metadata"]]
        return {pod["metadata"]["labels"]["ray.io/node-type"]: pod for pod in live}

    wait_for(
        lambda: len(pods()) == 2 and pods()["worker"]["metadata"]["name"] != before["worker"],
        what="the worker is replaced",
    )
    head = pods()["head"]["status"]["containerStatuses"][0]
    assert pods()["head"]["metadata"]["name"] == before["head"]
    assert (head["restartCount"], head["ready"], head["lastState"]["terminated"]["exitCode"]) == (1, True, 137)
    assert len(workplace.journal.of("Submitted", child=child.name)) == 2


def test_a_head_that_may_not_restart_stays_away(make_workplace: Any) -> None:
    steps = (*OK[:5], step("KillDriver", when="Working", replace=True))
    workplace = make_workplace(**only("once", steps))
    child = workplace.child("once", annotations={"ray.io/disable-provisioned-head-restart": "true"})
    child.becomes(("Failed", "RUNNING"))
    assert child.status["reason"] == "JobStatusCheckTimeoutExceeded"
    assert len(workplace.journal.of("Submitted", child=child.name)) == 1


def test_deletion_drops_the_finalizer_and_pods_end_when_their_kubelet_says_so(make_workplace: Any) -> None:
    workplace = make_workplace(**only("lingers", OK[:5], linger=300))
    child = workplace.child("lingers")
    child.becomes(("Running", "RUNNING"))
    child.delete()
    wait_for(lambda: child.object is None, what="the RayJob is gone")
    wait_for(lambda: all("deletionTimestamp" in pod["metadata"] for pod in child.pods), what="its pods are ending")
    assert len(child.pods) == 2, "they linger"
    wait_for(lambda: not child.pods, what="its pods are gone")


def test_pods_on_a_lost_node_never_end(workplace: Any) -> None:
    child = workplace.child("node-lost-2", stage="Train")
    child.becomes(("Failed", "RUNNING"))
    wait_for(lambda: all("deletionTimestamp" in pod["metadata"] for pod in child.pods), what="its pods are ending")
    node = workplace.api.get("v1/Node", child.pods[0]["spec"]["nodeName"])
    assert [(one["type"], one["status"]) for one in node["status"]["conditions"]] == [("Ready", "Unknown")]
    workplace.child("ok-5").becomes(("Complete", "SUCCEEDED"))
    assert len(child.pods) == 2


def _time(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()
