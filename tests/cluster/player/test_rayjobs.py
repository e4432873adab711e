"""RayJobs on a real API server live as KubeRay 1.7 has them live, whatever the scenario does to them."""

from typing import Any

from kube_api import wait_for

FINALIZER = "ray.io/rayjob-finalizer"


def test_a_rayjob_comes_up_runs_and_leaves_a_result(workplace: Any) -> None:
    child = workplace.child("ok")
    wait_for(lambda: child.state == ("Complete", "SUCCEEDED"), what="it succeeds")
    assert child.object["metadata"]["finalizers"] == [FINALIZER]
    assert (child.status["succeeded"], child.status["failed"]) == (1, 0)
    assert child.result["outcome"] == "Succeeded"
    assert child.channel["owner"] == f"{child.name}:{child.result['driver']}"
    assert child.channel["starts"] == "1"
    wait_for(lambda: not child.pods, what="the cluster is deleted")
