"""What the API server refuses to have made: it shows in the job within 30 s, costs little, and ends with its cause.

Rows W7 and W8 of docs/behavior.md, with a real ResourceQuota and a real ValidatingAdmissionPolicy.
"""

import secrets
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from kubedistill_operator.names import service_account_name
from support.fake_kuberay.background import playing
from support.kube_api import Api, Manifest, Refused, wait_for
from support.messages import check_facts
from support.operator_harness import JOBS, LOOK_SECONDS, OperatorHarness, claim, open_harness
from support.small_manifests import owned_by

QUOTAS, RAYJOBS = "v1/ResourceQuota", "ray.io/v1/RayJob"
ADMISSION = "admissionregistration.k8s.io/v1"
SHOWN_SECONDS = 30
SCALE = 0.02
"""Our seconds for one of the player's, by which KubeRay's own preRunningDeadlineSeconds is played."""


@pytest.fixture(scope="module")
def harness(
    api: Api, kubeconfig: Path, operator_kubeconfig: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[OperatorHarness]:
    names = [f"test-{secrets.token_hex(4)}" for _ in range(2)]
    with (
        open_harness(api, operator_kubeconfig, tmp_path_factory.mktemp("operator"), *names) as harness,
        playing(kubeconfig, namespace=names[0], scale=SCALE),
    ):
        yield harness


def limit(harness: OperatorHarness, **hard: str) -> None:
    """Set a quota, and wait until it is in force."""
    name = "limits"
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": name}, "spec": {"hard": hard}}
    where = harness.namespaces[0]
    harness.api.apply(quota, namespace=where)

    def is_in_force() -> bool:
        status = (harness.api.get(QUOTAS, name, namespace=where) or {}).get("status") or {}
        return status.get("hard") == hard and (status.get("used") or {}).keys() == hard.keys()

    wait_for(is_in_force, what="the quota is in force", seconds=90)


@pytest.fixture
def no_rayjobs(harness: OperatorHarness) -> Iterator[None]:
    limit(harness, **{"count/rayjobs.ray.io": "0"})
    yield
    harness.api.delete(QUOTAS, "limits", namespace=harness.namespaces[0])


def waited(harness: OperatorHarness, name: str, stage: str) -> float:
    """Return seconds from the start of an attempt until it was shown why it waits, as the status tells them."""
    conditions = harness.status(name)["conditions"]
    since = next(one["lastTransitionTime"] for one in conditions if one["type"] == "Progressing")
    began = harness.stage(name, stage)["startedAt"]
    return (datetime.fromisoformat(since) - datetime.fromisoformat(began)).total_seconds()


@pytest.mark.usefixtures("no_rayjobs")
def test_w7_a_quota_on_children_is_shown_costs_little_and_ends_when_it_is_raised(harness: OperatorHarness) -> None:
    harness.submit("ok-1")
    message = harness.shows("ok-1", "Progressing", reason="QuotaExceeded")
    assert waited(harness, "ok-1", "Generate") < SHOWN_SECONDS
    assert "exceeded quota: limits" in message
    assert "count/rayjobs.ray.io=0" in message
    assert harness.phase("ok-1") == "Generating"
    assert harness.status("ok-1")["message"].startswith("QuotaExceeded: ")
    version = (harness.job("ok-1") or {})["metadata"]["resourceVersion"]
    asked, looked = harness.counted("rest_client_requests_total"), harness.counted("controller_runtime_reconcile_total")
    began = time.monotonic()
    wait_for(
        lambda: harness.counted("controller_runtime_reconcile_total") >= looked + 3,
        what="the job is looked at three times more",
        seconds=LOOK_SECONDS,
    )
    assert time.monotonic() - began > 15, "once in 15 seconds"
    assert harness.counted("rest_client_requests_total") - asked <= 80
    assert (harness.job("ok-1") or {})["metadata"]["resourceVersion"] == version, "the same is not written again"
    assert harness.tells("ok-1", "Waiting").count("Waiting") == 1
    limit(harness, **{"count/rayjobs.ray.io": "100"})
    harness.becomes("ok-1", "Succeeded")
    generate = harness.stage("ok-1", "Generate")
    assert (generate["attempt"], sum((generate.get("restarts") or {}).values())) == (1, 0), "nothing was charged"


@pytest.mark.usefixtures("no_rayjobs")
def test_w7_a_quota_that_stays_ends_the_run(harness: OperatorHarness) -> None:
    harness.submit("ok-2", schedulingTimeoutSeconds=5)
    harness.becomes("ok-2", "Failed")
    condition = harness.condition("ok-2", "Failed")
    assert condition is not None
    assert condition[1] == "QuotaExceeded"
    check_facts(condition[2], "schedulingTimeoutSeconds", 5)


def test_w7_a_quota_on_pods_of_a_ray_cluster_is_shown(harness: OperatorHarness) -> None:
    harness.submit("no-quota-1")
    message = harness.shows("no-quota-1", "Progressing", reason="QuotaExceeded")
    assert "exceeded quota: team" in message
    harness.api.delete("kubedistill.io/v1alpha1/DistillationJob", "no-quota-1", namespace=harness.namespaces[0])


NOBODY, NO_CLASS = "nobody", f"none-{secrets.token_hex(4)}"
# Name of a job: its pods, the reason, what the message names.
NO_PODS = {
    "ok-6": ({"serviceAccountName": NOBODY}, "ServiceAccountNotFound", f'serviceaccount "{NOBODY}" not found'),
    "ok-7": ({"priorityClassName": NO_CLASS}, "PriorityClassNotFound", NO_CLASS),
}


def test_w11_refused_pods_of_a_job_are_explained_by_the_api_servers_message(harness: OperatorHarness) -> None:
    where = harness.namespaces[0]
    for name, (pods, _, _) in NO_PODS.items():
        harness.submit(name, pods=pods)
    for name, (_, reason, named) in NO_PODS.items():
        message = harness.shows(name, "Progressing", reason=reason)
        assert named in message
        assert waited(harness, name, "Prepare") < SHOWN_SECONDS
    harness.api.create({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": NOBODY}}, namespace=where)
    harness.api.create(
        {"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": NO_CLASS}, "value": 1}
    )
    for name in NO_PODS:
        harness.becomes(name, "Succeeded")
        assert sum((harness.stage(name, "Prepare").get("restarts") or {}).values()) == 0
    harness.api.delete("scheduling.k8s.io/v1/PriorityClass", NO_CLASS)


@pytest.fixture
def small_containers(harness: OperatorHarness) -> Iterator[None]:
    """A LimitRange and a quota that no pod of a job meets."""
    most = {"limits": [{"type": "Container", "max": {"memory": "16Mi"}}]}
    kind, where = {"apiVersion": "v1", "kind": "LimitRange", "metadata": {"name": "small"}}, harness.namespaces[0]
    harness.api.create({**kind, "spec": most}, namespace=where)
    yield
    harness.api.delete("v1/LimitRange", "small", namespace=where)


@pytest.mark.usefixtures("small_containers")
def test_w7_w11_limits_of_a_namespace_are_distinguished_from_its_quota(harness: OperatorHarness) -> None:
    harness.submit("ok-8")
    message = harness.shows("ok-8", "Progressing", reason="PodsRefused")
    assert "maximum memory usage per Container is 16Mi" in message
    harness.api.delete("v1/LimitRange", "small", namespace=harness.namespaces[0])
    limit(harness, **{"limits.cpu": "100"})
    harness.submit("ok-9")
    message = harness.shows("ok-9", "Progressing", reason="QuotaExceeded")
    assert "must specify limits.cpu" in message
    harness.api.delete(QUOTAS, "limits", namespace=harness.namespaces[0])
    for name in ("ok-8", "ok-9"):
        harness.becomes(name, "Succeeded")


def policy(namespace: str) -> tuple[Manifest, Manifest]:
    """Return a policy that takes no RayJobs, and its binding to a namespace."""
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
def frozen_gpus(harness: OperatorHarness) -> Iterator[Manifest]:
    """Yield the binding of a policy that is in force."""
    both = policy(harness.namespaces[0])
    for manifest in both:
        harness.api.create(manifest)
    probe = {"apiVersion": "ray.io/v1", "kind": "RayJob", "metadata": {"name": "probe"}, "spec": {"entrypoint": "true"}}

    def is_in_force() -> bool:
        try:
            harness.api.create(probe, namespace=harness.namespaces[0], dry_run=True)
        except Refused as error:
            return "frozen until Monday" in error.message
        return False

    wait_for(is_in_force, what="the policy is in force", seconds=60)
    yield both[1]
    for manifest in both:
        harness.api.delete(f"{ADMISSION}/{manifest['kind']}", manifest["metadata"]["name"])


def test_w8_a_policy_that_refuses_the_child_is_shown_and_the_job_continues_without_it(
    harness: OperatorHarness, frozen_gpus: Manifest
) -> None:
    harness.submit("ok-3")
    message = harness.shows("ok-3", "Progressing", reason="WriteRefused")
    assert waited(harness, "ok-3", "Generate") < SHOWN_SECONDS
    assert "GPUs are frozen until Monday" in message
    harness.api.delete(f"{ADMISSION}/{frozen_gpus['kind']}", frozen_gpus["metadata"]["name"])
    harness.becomes("ok-3", "Succeeded")


def test_w8_a_name_that_is_taken_is_shown_and_the_job_continues_when_it_is_free(harness: OperatorHarness) -> None:
    where = harness.namespaces[0]
    harness.submit("ok-4", storage={"volumeClaim": "later", "uri": "file:///kubedistill/storage/ok-4"})
    harness.shows("ok-4", "Validated", reason="ClaimNotFound")
    job = harness.job("ok-4") or {}
    name = service_account_name("ok-4", uid=job["metadata"]["uid"])
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}}
    harness.api.create(owned_by(job, account), namespace=where)  # as somebody would who wants to give it rights
    harness.api.create(claim("later"), namespace=where)
    harness.api.patch(JOBS, "ok-4", {"metadata": {"annotations": {"looked-at": "at once"}}}, namespace=where)
    message = harness.shows("ok-4", "Progressing", reason="NameTaken")
    check_facts(message, name)
    assert waited(harness, "ok-4", "Prepare") < SHOWN_SECONDS
    harness.api.delete("v1/ServiceAccount", name, namespace=where)
    harness.becomes("ok-4", "Succeeded")


def test_w8_objects_of_an_orphaned_job_do_not_block_a_later_one(harness: OperatorHarness) -> None:
    where, wait = harness.namespaces[0], round(30 / SCALE)
    first = harness.submit("ok-5", schedulingTimeoutSeconds=wait)
    account = service_account_name("ok-5", uid=first["metadata"]["uid"])
    wait_for(lambda: harness.api.get("v1/ServiceAccount", account, namespace=where), what="its account is there")
    harness.api.delete(JOBS, "ok-5", namespace=where, propagation="Orphan")
    wait_for(lambda: harness.job("ok-5") is None, what="the job is gone")
    harness.submit("ok-5", schedulingTimeoutSeconds=wait)
    harness.becomes("ok-5", "Succeeded")
    assert harness.api.get("v1/ServiceAccount", account, namespace=where), "it stays, and serves nobody"
