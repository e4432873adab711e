"""The operator's account: exactly the permissions that the design lists, and what they allow."""

from collections.abc import Iterator
from typing import Any

import pytest

from support.account_rights import rights
from support.kube_api import JSON_PATCH, Api, Manifest, Refused, wait_for
from support.small_manifests import config_map, distillation_job, owned_by
from support.tenants import may

NAMESPACE = "kubedistill-system"
RBAC = "rbac.authorization.k8s.io"

# Every right, as resource.group/subresource and its verbs.
RIGHTS = {
    "distillationjobs.kubedistill.io": "get list watch",
    "distillationjobs.kubedistill.io/status": "get patch update",
    "rayjobs.ray.io": "get list watch create delete",
    "jobs.batch": "get list watch create delete",
    "configmaps": "get list watch create patch",
    "serviceaccounts": "get create",
    f"roles.{RBAC}": "get create",
    f"rolebindings.{RBAC}": "get create",
    "pods": "get list watch",
    "persistentvolumeclaims": "get",
    "events": "create patch list",
    "nodes": "get",
}
LEASES = {"create leases.coordination.k8s.io"} | {
    f"{verb} leases.coordination.k8s.io kubedistill-operator" for verb in ("get", "update")
}

# What nobody must be able to do with the operator's token.
NEVER = {
    "secrets": "get list watch create update patch delete",
    "serviceaccounts/token": "create",
    "pods": "create update patch delete",
    "pods/exec": "get create",
    "pods/attach": "get create",
    "pods/portforward": "get create",
    "pods/ephemeralcontainers": "update patch",
    "pods/log": "get",
    "distillationjobs.kubedistill.io": "create update patch delete deletecollection",
    "distillationjobs.kubedistill.io/finalizers": "update",
    "rayjobs.ray.io": "update patch deletecollection",
    "rayjobs.ray.io/status": "update patch",
    "jobs.batch": "update patch deletecollection",
    "configmaps": "update delete deletecollection",
    "serviceaccounts": "list watch update patch delete impersonate",
    f"roles.{RBAC}": "list watch update patch delete escalate bind",
    f"rolebindings.{RBAC}": "list watch update patch delete",
    f"clusterroles.{RBAC}": "get create bind escalate",
    f"clusterrolebindings.{RBAC}": "create",
    "persistentvolumeclaims": "list create delete",
    "events": "get watch update delete",
    "nodes": "list watch patch",
    "nodes/proxy": "get",
    "namespaces": "get list watch create delete",
    "customresourcedefinitions.apiextensions.k8s.io": "get list watch update",
    "leases.coordination.k8s.io": "get create update delete",
}


@pytest.fixture
def nobody(account_kubeconfig: Any, namespace: str) -> Iterator[Api]:
    """Yield an account without any role."""
    with Api(account_kubeconfig("default", namespace=namespace)) as client:
        yield client


def spelled(table: dict[str, str]) -> set[str]:
    return {f"{verb} {resource}" for resource, verbs in table.items() for verb in verbs.split()}


def test_rights_are_those_of_the_table(operator_api: Api, nobody: Api, namespace: str) -> None:
    everybodys = rights(nobody, namespace)
    assert rights(operator_api, namespace) - everybodys == spelled(RIGHTS)
    assert rights(operator_api, NAMESPACE) - everybodys == spelled(RIGHTS) | LEASES


@pytest.mark.parametrize("resource", NEVER)
def test_permissions_end_where_the_page_says(resource: str, operator_api: Api, namespace: str) -> None:
    assert [verb for verb in NEVER[resource].split() if may(operator_api, (verb, resource), namespace)] == []


def test_table_of_rights_is_asked_the_same_way(operator_api: Api, namespace: str) -> None:
    granted = ((verb, resource) for verb, resource in map(str.split, spelled(RIGHTS)))
    refused = [right for right in granted if not may(operator_api, right, namespace)]
    assert refused == []


def test_secret_is_not_shown_and_no_command_runs_in_a_pod(api: Api, operator_api: Api, namespace: str) -> None:
    api.create(
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "key"}, "stringData": {"token": "t"}},
        namespace=namespace,
    )
    path = f"/api/v1/namespaces/{namespace}"
    for method, place in (("get", "secrets/key"), ("get", "secrets"), ("post", "pods/any/exec?command=id&stdout=true")):
        with pytest.raises(Refused, match="403 Forbidden"):
            operator_api.request(method, f"{path}/{place}")


def test_spec_of_a_job_is_not_written(api: Api, operator_api: Api, namespace: str) -> None:
    api.create(distillation_job("theirs"), namespace=namespace)
    kind = "kubedistill.io/v1alpha1/DistillationJob"
    with pytest.raises(Refused, match="403 Forbidden"):
        operator_api.patch(kind, "theirs", {"spec": {"suspend": True}}, namespace=namespace)
    patch = {"spec": {"suspend": True}, "status": {"phase": "Pending"}}
    written = operator_api.patch(kind, "theirs", patch, namespace=namespace, subresource="status")
    assert (written["status"]["phase"], written["spec"]["suspend"]) == ("Pending", False)
    assert written["metadata"]["generation"] == 1


CHILDREN: dict[str, Manifest] = {
    "ConfigMap": config_map("child"),
    "ServiceAccount": {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "child"}},
    "Job": {
        "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "child"},
        "spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "driver", "image": "none"}]}}},
    },
    "RayJob": {
        "apiVersion": "ray.io/v1", "kind": "RayJob", "metadata": {"name": "child"},
        "spec": {"entrypoint": "true", "rayClusterSpec": {"headGroupSpec": {"rayStartParams": {}, "template": {
            "spec": {"containers": [{"name": "head", "image": "none"}]}}}}},
    },
}  # fmt: skip


@pytest.mark.parametrize("kind", CHILDREN)
def test_child_may_be_owned_as_long_as_it_does_not_block_deletion(
    kind: str, api: Api, operator_api: Api, namespace: str
) -> None:
    job = api.create(distillation_job("parent"), namespace=namespace)
    with pytest.raises(Refused, match="cannot set blockOwnerDeletion"):
        operator_api.create(owned_by(job, CHILDREN[kind], blocks_deletion=True), namespace=namespace)
    made = operator_api.create(owned_by(job, CHILDREN[kind]), namespace=namespace, strict=True)
    assert made["metadata"]["ownerReferences"][0]["uid"] == job["metadata"]["uid"]


def role(name: str, *, resource: str, verbs: str, names: tuple[str, ...] = ()) -> Manifest:
    rule = {"apiGroups": [""], "resources": [resource], "verbs": verbs.split(), "resourceNames": [*names]}
    return {"apiVersion": f"{RBAC}/v1", "kind": "Role", "metadata": {"name": name}, "rules": [rule]}


def binding(name: str, *, kind: str, role: str, account: str, namespace: str) -> Manifest:
    return {
        "apiVersion": f"{RBAC}/v1",
        "kind": "RoleBinding",
        "metadata": {"name": name},
        "roleRef": {"apiGroup": RBAC, "kind": kind, "name": role},
        "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": namespace}],
    }


def test_driver_gets_its_own_channel_and_nothing_else(operator_api: Api, nobody: Api, namespace: str) -> None:
    everybodys = rights(nobody, namespace)
    for name in ("child-out", "other-out"):
        operator_api.create(config_map(name, owner="token"), namespace=namespace)
    operator_api.create(
        role("driver", resource="configmaps", verbs="get patch", names=("child-out",)), namespace=namespace
    )
    operator_api.create(
        binding("driver", kind="Role", role="driver", account="default", namespace=namespace), namespace=namespace
    )
    # The server notices a new role some milliseconds later.
    granted = wait_for(lambda: rights(nobody, namespace) - everybodys, what="the driver's role is noticed")
    assert granted == {"get configmaps child-out", "patch configmaps child-out"}
    claim = [
        {"op": "test", "path": "/data/owner", "value": "token"},
        {"op": "replace", "path": "/data/owner", "value": "token:1"},
    ]
    written = nobody.patch("v1/ConfigMap", "child-out", claim, namespace=namespace, content_type=JSON_PATCH)
    assert written["data"]["owner"] == "token:1"
    with pytest.raises(Refused, match="422"):
        nobody.patch("v1/ConfigMap", "child-out", claim, namespace=namespace, content_type=JSON_PATCH)
    with pytest.raises(Refused, match="403 Forbidden"):
        nobody.get("v1/ConfigMap", "other-out", namespace=namespace)


ESCALATIONS = {
    "secrets": role("more", resource="secrets", verbs="get"),
    "updates of ConfigMaps": role("more", resource="configmaps", verbs="update"),
    "another's ClusterRole": binding("more", kind="ClusterRole", role="edit", account="default", namespace="default"),
    "cluster-admin": binding("more", kind="ClusterRole", role="cluster-admin", account="default", namespace="default"),
}


@pytest.mark.parametrize("case", ESCALATIONS)
def test_the_operator_cannot_grant_permissions_that_it_does_not_have(
    case: str, operator_api: Api, namespace: str
) -> None:
    with pytest.raises(Refused, match="is attempting to grant RBAC permissions not currently held"):
        operator_api.create(ESCALATIONS[case], namespace=namespace)


def test_lease_is_held_in_the_own_namespace_only(operator_api: Api, namespace: str) -> None:
    lease: Manifest = {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": "kubedistill-operator"},
        "spec": {"holderIdentity": "one", "leaseDurationSeconds": 15},
    }
    held = operator_api.create(lease, namespace=NAMESPACE, dry_run=True)
    assert held["spec"]["holderIdentity"] == "one"
    with pytest.raises(Refused, match="403 Forbidden"):
        operator_api.create(lease, namespace=namespace)
