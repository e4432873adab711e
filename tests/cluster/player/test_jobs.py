"""Played Jobs on a real API server pass through the states of the Job controller."""

from typing import Any

from support.kube_api import wait_for

FINISHED = {"SuccessCriteriaMet": "CompletionsReached", "Complete": "CompletionsReached"}
BROKEN = {"FailureTarget": "BackoffLimitExceeded", "Failed": "BackoffLimitExceeded"}


def test_a_job_runs_one_pod_and_is_complete(workplace: Any) -> None:
    child = workplace.child("ok-1", stage="Curate")
    wait_for(lambda: child.conditions == FINISHED, what="it is complete")
    (pod,) = child.pods
    assert pod["status"]["phase"] == "Succeeded"
    assert pod["metadata"]["labels"]["batch.kubernetes.io/job-name"] == child.name
    assert child.status["succeeded"] == 1
    assert child.result["artifacts"].keys() == {"dataset", "samples"}


def test_a_pod_that_was_killed_stays_and_shows_why(workplace: Any) -> None:
    child = workplace.child("oom-driver-1", stage="Curate")
    wait_for(lambda: child.conditions == BROKEN, what="it has failed")
    (pod,) = child.pods
    ended = pod["status"]["containerStatuses"][0]["state"]["terminated"]
    assert (ended["reason"], ended["exitCode"]) == ("OOMKilled", 137)


def test_another_pod_comes_while_the_limit_allows(workplace: Any) -> None:
    child = workplace.child("oom-driver-2", stage="Curate", backoffLimit=1)
    wait_for(lambda: len(child.pods) == 2, what="there is another pod")
    assert child.status["failed"] == 1


def test_suspension_takes_the_pod_and_resumption_brings_another(workplace: Any) -> None:
    child = workplace.child("slow-1", stage="Curate")
    wait_for(lambda: child.channel["starts"] == "1", what="its driver runs")
    (before,) = child.pods
    child.edit({"suspend": True})
    wait_for(lambda: child.conditions == {"Suspended": "JobSuspended"}, what="it is suspended")
    assert "startTime" not in child.status
    wait_for(lambda: not child.pods, what="its pod is gone")
    child.edit({"suspend": False})
    wait_for(lambda: child.status.get("ready") == 1, what="it runs again")
    assert child.pods[0]["metadata"]["uid"] != before["metadata"]["uid"]
    assert child.conditions == {}


def test_a_queue_holds_and_admits(workplace: Any) -> None:
    child = workplace.child("queued-1", stage="Curate", queue=True)
    wait_for(lambda: child.conditions == {"Suspended": "JobSuspended"}, what="it is held")
    wait_for(lambda: child.conditions == FINISHED, what="it is complete")
    (pod,) = child.pods
    assert pod["spec"]["nodeSelector"] == {"kubedistill.io/flavor": "player"}, "as Kueue puts the flavor into templates"


def test_a_queue_that_nothing_is_said_of_admits_at_once(workplace: Any) -> None:
    child = workplace.child("ok-2", stage="Curate", queue=True, suspend=True)
    wait_for(lambda: child.conditions == FINISHED, what="it is complete")


def test_a_deadline_ends_it(workplace: Any) -> None:
    child = workplace.child("slow-2", stage="Curate", activeDeadlineSeconds=200)
    wait_for(lambda: child.conditions.get("Failed") == "DeadlineExceeded", what="it has failed")
    wait_for(lambda: not child.pods, what="its pod is gone")


def test_a_deleted_job_leaves_nothing(workplace: Any) -> None:
    child = workplace.child("slow-3", stage="Curate")
    wait_for(lambda: child.channel["starts"] == "1", what="its driver runs")
    child.delete()
    wait_for(lambda: child.object is None and not child.pods, what="it is gone with its pod")
