"""The operator as helm installs it, for all namespaces and for one: its account, roles and settings, and no other
rights; on a real API server with played children.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from support.chart_release import Release
from support.fake_kuberay.background import playing
from support.kube_api import Api, wait_for
from support.operator_harness import claim
from support.operator_process import Replica
from support.small_manifests import distillation_job

JOBS = "kubedistill.io/v1alpha1/DistillationJob"
STAGES = ("Prepare", "Generate", "Curate", "Train", "Evaluate", "Export")


@pytest.fixture(params=["all namespaces", "one namespace"])
def operator(
    request: pytest.FixtureRequest, new_release: Callable[..., Release], namespace: str, tmp_path: Path
) -> Iterator[Replica]:
    """Yield one replica of a new release."""
    release = new_release()
    watched = {"watchNamespaces": [namespace]} if request.param == "one namespace" else {}
    release.install({**watched, "storage": {"volumeClaim": "shared"}})
    with release.replica(tmp_path) as replica:
        wait_for(replica.leads, what="it leads", seconds=120)
        yield replica
        errors = [line for line in replica.lines() if line["level"] in ("ERROR", "CRITICAL")]
        assert not errors, errors[0]


def submit(api: Api, name: str, *, namespace: str) -> None:
    api.apply(claim("shared"), namespace=namespace)
    job = distillation_job(name)
    job["spec"]["data"] = {"train": {"uri": "train.jsonl"}}
    job["spec"]["storage"] = {"uri": f"file:///kubedistill/storage/{namespace}", "volumeClaim": "shared"}
    api.apply(job, namespace=namespace)


def status_of(api: Api, name: str, *, namespace: str) -> dict[str, Any]:
    job = api.get(JOBS, name, namespace=namespace)
    return (job or {}).get("status") or {}


def ended(api: Api, name: str, *, namespace: str, seconds: float = 240) -> dict[str, Any]:
    def look() -> dict[str, Any] | None:
        status = status_of(api, name, namespace=namespace)
        return status if status.get("phase") in ("Succeeded", "Failed") else None

    return wait_for(look, what=f"{name} has ended", seconds=seconds)


def test_an_applied_job_succeeds_with_status_events_and_metrics(
    api: Api, kubeconfig: Path, namespace: str, operator: Replica
) -> None:
    with playing(kubeconfig, namespace=namespace, scale=0.02):
        submit(api, "ok-1", namespace=namespace)
        status = ended(api, "ok-1", namespace=namespace)
        assert status["phase"] == "Succeeded", status
        assert {one["type"] for one in status["conditions"] if one["status"] == "True"} >= {
            "Complete",
            "DataGenerated",
            "Evaluated",
            "StudentTrained",
            "Validated",
        }
        assert [(stage["name"], stage["state"], stage["attempt"]) for stage in status["stages"]] == [
            (name, "Succeeded", 1) for name in STAGES
        ]
        assert status["result"]["gatePassed"] is True
        shown = (("name", "ok-1"), ("namespace", namespace), ("phase", "Succeeded"))
        assert operator.metrics()["distillation_job_status_phase", shown] == 1
    events = api.list("v1/Event", namespace=namespace)
    reasons = [event["reason"] for event in events if event["involvedObject"]["name"] == "ok-1"]
    assert reasons.count("StageSucceeded") == len(STAGES)
    assert "RunSucceeded" in reasons


@pytest.mark.parametrize(
    ("scenario", "phase", "reason"),
    [("head-lost", "Succeeded", ""), ("gate-failed", "Failed", "EvaluationGate")],
)
def test_a_scenario_ends_as_behavior_says(
    api: Api, kubeconfig: Path, namespace: str, operator: Replica, scenario: str, phase: str, reason: str
) -> None:
    with playing(kubeconfig, namespace=namespace, scale=0.02):
        submit(api, f"{scenario}-1", namespace=namespace)
        status = ended(api, f"{scenario}-1", namespace=namespace, seconds=200)
    assert status["phase"] == phase, status
    failed = [one["reason"] for one in status["conditions"] if (one["type"], one["status"]) == ("Failed", "True")]
    assert failed == ([reason] if reason else [])


def test_a_deleted_job_leaves_nothing(api: Api, kubeconfig: Path, namespace: str, operator: Replica) -> None:
    with playing(kubeconfig, namespace=namespace, scale=0.02):
        submit(api, "slow-1", namespace=namespace)
        wait_for(lambda: status_of(api, "slow-1", namespace=namespace).get("phase"), what="it has begun")
        api.delete(JOBS, "slow-1", namespace=namespace)
        ours = {"app.kubernetes.io/managed-by": "kubedistill"}
        kinds = ("v1/ConfigMap", "batch/v1/Job", "ray.io/v1/RayJob", "rbac.authorization.k8s.io/v1/Role")

        def left() -> list[str]:
            return [
                one["metadata"]["name"] for kind in kinds for one in api.list(kind, namespace=namespace, labels=ours)
            ]

        wait_for(lambda: not left(), what="the garbage collector has taken all", seconds=90)
    assert api.get(JOBS, "slow-1", namespace=namespace) is None
