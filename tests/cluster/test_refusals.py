"""What the API server refuses to have made: it shows in the job within 30 s, costs little, and ends with its cause.

Rows W7 and W8 of docs/behaviour.md, with a real ResourceQuota and a real ValidatingAdmissionPolicy.
"""

import secrets
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from kube_api import Api, Manifest, Refused, wait_for
from kubedistill_operator.names import service_account_name
from operator_desk import JOBS, Desk, claim, open_desk
from player.background import playing
from small_manifests import owned_by

QUOTAS, RAYJOBS = "v1/ResourceQuota", "ray.io/v1/RayJob"
ADMISSION = "admissionregistration.k8s.io/v1"
SHOWN_SECONDS = 30


@pytest.fixture(scope="module")
def desk(
    api: Api, kubeconfig: Path, operator_kubeconfig: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Desk]:
    names = [f"test-{secrets.token_hex(4)}" for _ in range(2)]
    with (
        open_desk(api, operator_kubeconfig, tmp_path_factory.mktemp("operator"), *names) as desk,
        playing(kubeconfig, namespace=names[0], scale=0.02),
    ):
        yield desk


def limit(desk: Desk, **hard: str) -> None:
    """Set a quota, and wait until it is in force."""
    name = "limits"
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": name}, "spec": {"hard": hard}}
    where = desk.namespaces[0]
    desk.api.apply(quota, namespace=where)

    def is_in_force() -> bool:
        status = (desk.api.get(QUOTAS, name, namespace=where) or {}).get("status") or {}
        return status.get("hard") == hard and (status.get("used") or {}).keys() == hard.keys()

    wait_for(is_in_force, what="the quota is in force", seconds=90)


@pytest.fixture
def no_rayjobs(desk: Desk) -> Iterator[None]:
    limit(desk, **{"count/rayjobs.ray.io": "0"})
    yield
    desk.api.delete(QUOTAS, "limits", namespace=desk.namespaces[0])


def waited(desk: Desk, name: str, stage: str) -> float:
    """Seconds from the start of an attempt until it was shown why it waits, as the status tells them."""
    conditions = desk.status(name)["conditions"]
    since = next(one["lastTransitionTime"] for one in conditions if one["type"] == "Progressing")
    began = desk.stage(name, stage)["startedAt"]
    return (datetime.fromisoformat(since) - datetime.fromisoformat(began)).total_seconds()


@pytest.mark.usefixtures("no_rayjobs")
def test_w7_a_quota_on_children_is_shown_costs_little_and_ends_when_it_is_raised(desk: Desk) -> None:
    desk.submit("ok-1")
    message = desk.shows("ok-1", "Progressing", reason="QuotaExceeded")
    assert waited(desk, "ok-1", "Generate") < SHOWN_SECONDS
    assert "exceeded quota: limits" in message
    assert "count/rayjobs.ray.io=0" in message
    assert desk.phase("ok-1") == "Generating"
    assert desk.status("ok-1")["message"].startswith("QuotaExceeded: ")
    version = (desk.job("ok-1") or {})["metadata"]["resourceVersion"]
    asked, looked = desk.counted("rest_client_requests_total"), desk.counted("controller_runtime_reconcile_total")
    time.sleep(20)
    assert desk.counted("controller_runtime_reconcile_total") - looked <= 4, "every 15 seconds"
    assert desk.counted("rest_client_requests_total") - asked <= 80
    assert (desk.job("ok-1") or {})["metadata"]["resourceVersion"] == version, "the same is not written again"
    assert desk.tells("ok-1", "Waiting").count("Waiting") == 1
    limit(desk, **{"count/rayjobs.ray.io": "100"})
    desk.becomes("ok-1", "Succeeded")
    generate = desk.stage("ok-1", "Generate")
    assert (generate["attempt"], sum((generate.get("restarts") or {}).values())) == (1, 0), "nothing was charged"


@pytest.mark.usefixtures("no_rayjobs")
def test_w7_a_quota_that_stays_ends_the_run(desk: Desk) -> None:
    desk.submit("ok-2", schedulingTimeoutSeconds=5)
    desk.becomes("ok-2", "Failed")
    condition = desk.condition("ok-2", "Failed")
    assert condition is not None
    assert condition[1] == "QuotaExceeded"
    assert "longer than schedulingTimeoutSeconds 5" in condition[2]


def test_w7_a_quota_on_pods_of_a_ray_cluster_is_shown(desk: Desk) -> None:
    desk.submit("no-quota-1")
    message = desk.shows("no-quota-1", "Progressing", reason="QuotaExceeded")
    assert "exceeded quota: team" in message
    desk.api.delete("kubedistill.io/v1alpha1/DistillationJob", "no-quota-1", namespace=desk.namespaces[0])


NOBODY, NO_CLASS = "nobody", f"none-{secrets.token_hex(4)}"
# Name of a job: its pods, the reason, what the message names.
NO_PODS = {
    "ok-6": ({"serviceAccountName": NOBODY}, "ServiceAccountNotFound", f'serviceaccount "{NOBODY}" not found'),
    "ok-7": ({"priorityClassName": NO_CLASS}, "PriorityClassNotFound", NO_CLASS),
}


def test_w11_why_the_pods_of_a_job_are_refused_is_what_the_api_server_says(desk: Desk) -> None:
    where = desk.namespaces[0]
    for name, (pods, _, _) in NO_PODS.items():
        desk.submit(name, pods=pods)
    for name, (_, reason, named) in NO_PODS.items():
        message = desk.shows(name, "Progressing", reason=reason)
        assert named in message
        assert waited(desk, name, "Prepare") < SHOWN_SECONDS
    desk.api.create({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": NOBODY}}, namespace=where)
    desk.api.create(
        {"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": NO_CLASS}, "value": 1}
    )
    for name in NO_PODS:
        desk.becomes(name, "Succeeded")
        assert sum((desk.stage(name, "Prepare").get("restarts") or {}).values()) == 0
    desk.api.delete("scheduling.k8s.io/v1/PriorityClass", NO_CLASS)


@pytest.fixture
def small_containers(desk: Desk) -> Iterator[None]:
    """A LimitRange and a quota that no pod of a job meets."""
    most = {"limits": [{"type": "Container", "max": {"memory": "16Mi"}}]}
    kind, where = {"apiVersion": "v1", "kind": "LimitRange", "metadata": {"name": "small"}}, desk.namespaces[0]
    desk.api.create({**kind, "spec": most}, namespace=where)
    yield
    desk.api.delete("v1/LimitRange", "small", namespace=where)


@pytest.mark.usefixtures("small_containers")
def test_w7_w11_limits_of_a_namespace_are_told_from_its_quota(desk: Desk) -> None:
    desk.submit("ok-8")
    message = desk.shows("ok-8", "Progressing", reason="PodsRefused")
    assert "maximum memory usage per Container is 16Mi" in message
    desk.api.delete("v1/LimitRange", "small", namespace=desk.namespaces[0])
    limit(desk, **{"limits.cpu": "100"})
    desk.submit("ok-9")
    message = desk.shows("ok-9", "Progressing", reason="QuotaExceeded")
    assert "must specify limits.cpu" in message
    desk.api.delete(QUOTAS, "limits", namespace=desk.namespaces[0])
    for name in ("ok-8", "ok-9"):
        desk.becomes(name, "Succeeded")


def policy(namespace: str) -> tuple[Manifest, Manifest]:
    """A policy that takes no RayJobs, and its binding to a namespace."""
    rules = [{"apiGroups": ["ray.io"], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["rayjobs"]}]
    name = f"none-in-{namespace}"
    return {
        "apiVersion": ADMISSION,
        "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": name},
        "spec": {
            "failurePolicy": "Fail",
            "matchConstraints": {"resourceRules": rules},
            "validations": [{"expression": "false", "message": "GPUs are frozen until Monday"}],
        },
    }, {
        "apiVersion": ADMISSION,
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": name},
        "spec": {
            "policyName": name,
            "validationActions": ["Deny"],
            "matchResources": {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}}},
        },
    }


@pytest.fixture
def frozen_gpus(desk: Desk) -> Iterator[Manifest]:
    """A policy in force; gives its binding."""
    both = policy(desk.namespaces[0])
    for manifest in both:
        desk.api.create(manifest)
    probe = {"apiVersion": "ray.io/v1", "kind": "RayJob", "metadata": {"name": "probe"}, "spec": {"entrypoint": "true"}}

    def is_in_force() -> bool:
        try:
            desk.api.create(probe, namespace=desk.namespaces[0], dry_run=True)
        except Refused as error:
            return "frozen until Monday" in error.message
        return False

    wait_for(is_in_force, what="the policy is in force", seconds=60)
    yield both[1]
    for manifest in both:
        desk.api.delete(f"{ADMISSION}/{manifest['kind']}", manifest["metadata"]["name"])


def test_w8_a_policy_that_refuses_the_child_is_shown_and_goes_on_when_it_is_lifted(
    desk: Desk, frozen_gpus: Manifest
) -> None:
    desk.submit("ok-3")
    message = desk.shows("ok-3", "Progressing", reason="WriteRefused")
    assert waited(desk, "ok-3", "Generate") < SHOWN_SECONDS
    assert "GPUs are frozen until Monday" in message
    desk.api.delete(f"{ADMISSION}/{frozen_gpus['kind']}", frozen_gpus["metadata"]["name"])
    desk.becomes("ok-3", "Succeeded")


def test_w8_a_name_that_is_taken_is_shown_and_goes_on_when_it_is_free(desk: Desk) -> None:
    where = desk.namespaces[0]
    desk.submit("ok-4", storage={"volumeClaim": "later", "uri": "file:///kubedistill/storage/ok-4"})
    desk.shows("ok-4", "Validated", reason="ClaimNotFound")
    job = desk.job("ok-4") or {}
    name = service_account_name("ok-4", uid=job["metadata"]["uid"])
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}}
    desk.api.create(owned_by(job, account), namespace=where)  # as somebody would who wants to give it rights
    desk.api.create(claim("later"), namespace=where)
    desk.api.patch(JOBS, "ok-4", {"metadata": {"annotations": {"looked-at": "at once"}}}, namespace=where)
    message = desk.shows("ok-4", "Progressing", reason="NameTaken")
    assert name in message
    assert "delete it or rename the job" in message
    assert waited(desk, "ok-4", "Prepare") < SHOWN_SECONDS
    desk.api.delete("v1/ServiceAccount", name, namespace=where)
    desk.becomes("ok-4", "Succeeded")


def test_w8_what_an_orphaned_job_has_left_is_in_nobodys_way(desk: Desk) -> None:
    where = desk.namespaces[0]
    first = desk.submit("ok-5", schedulingTimeoutSeconds=30)
    account = service_account_name("ok-5", uid=first["metadata"]["uid"])
    wait_for(lambda: desk.api.get("v1/ServiceAccount", account, namespace=where), what="its account is there")
    desk.api.delete(JOBS, "ok-5", namespace=where, propagation="Orphan")
    wait_for(lambda: desk.job("ok-5") is None, what="the job is gone")
    desk.submit("ok-5", schedulingTimeoutSeconds=30)
    desk.becomes("ok-5", "Succeeded")
    assert desk.api.get("v1/ServiceAccount", account, namespace=where), "it stays, and serves nobody"
