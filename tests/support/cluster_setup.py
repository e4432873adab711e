"""What tests need in a cluster before they begin: the CRDs, and the operator's roles."""

import os
from functools import partial
from pathlib import Path

import yaml

from support.credentials import write_kubeconfig
from support.kube_api import Api, Manifest, Refused, wait_for

ROOT = Path(__file__).parents[2]
OPERATOR, OPERATOR_NAMESPACE = "kubedistill-operator", "kubedistill-system"


class ClusterInUse(Exception):
    """The cluster holds jobs that are no test's; our CRD would be changed under them."""


def read_manifests(path: Path) -> list[Manifest]:
    """Return all documents of a YAML file."""
    # The loader in C: KubeRay's CRDs are 2 MB.
    return [one for one in yaml.load_all(path.read_text(encoding="utf-8"), Loader=yaml.CSafeLoader) if one]


def ray_crds() -> list[Path]:
    """KubeRay's own, from KUBERAY_CRDS or where they are at hand, else RayJob and RayCluster without schemas."""
    named = os.environ.get("KUBERAY_CRDS")
    found = sorted(Path(named or ROOT.parent / "shared" / "kuberay").glob("ray.io_ray*s.yaml"))
    if named and not found:
        raise FileNotFoundError(f"KUBERAY_CRDS={named} holds no ray.io_rayjobs.yaml")
    return found or [ROOT / "tests" / "cluster" / "ray_crds.yaml"]


def install_crds(api: Api) -> None:
    """Apply our CRD and KubeRay's, and wait until their kinds are served."""
    apply_crds(api, read_manifests(ROOT / "crds" / "kubedistill.io_distillationjobs.yaml"))
    install_ray_crds(api)


def install_ray_crds(api: Api) -> None:
    """Apply KubeRay's CRDs, and wait until their kinds are served."""
    apply_crds(api, [crd for file in ray_crds() for crd in read_manifests(file)])


def apply_crds(api: Api, crds: list[Manifest]) -> None:
    """Apply CRDs, and wait until their kinds are served."""
    for crd in crds:
        api.apply(crd)
    for crd in crds:
        name = crd["metadata"]["name"]
        wait_for(partial(_is_served, api, name), what=f"{name} is served", seconds=120)


def install_operator_account(api: Api) -> None:
    """Apply deploy/rbac: the operator's account with its roles, in kubedistill-system."""
    api.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": OPERATOR_NAMESPACE}})
    for file in sorted((ROOT / "deploy" / "rbac").glob("*.yaml")):
        for manifest in read_manifests(file):
            api.apply(manifest)
    for group, resource in (("kubedistill.io", "distillationjobs"), ("", "nodes"), ("coordination.k8s.io", "leases")):
        wait_for(partial(_may_get, api, resource, group=group), what=f"the operator may get {resource}")


def account_kubeconfig(api: Api, account: str, *, namespace: str, file: Path, seconds: int = 7200) -> Path:
    """Return a kubeconfig with a token of a ServiceAccount, good for so many seconds."""
    token = account_token(api, account, namespace=namespace, seconds=seconds)
    return write_kubeconfig(file, server=api.server, ca=api.ca, token=token)


def account_token(api: Api, account: str, *, namespace: str, seconds: int = 7200) -> str:
    """Return a token of a ServiceAccount, good for so many seconds."""
    request = {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenRequest",
        "spec": {"expirationSeconds": seconds},
    }
    path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token"
    token: str = api.request("post", path, body=request)["status"]["token"]
    return token


def refuse_cluster_in_use(api: Api) -> None:
    """Raise ClusterInUse where there are DistillationJobs outside the namespaces of tests."""
    if _is_served(api, "distillationjobs.kubedistill.io"):
        spaces = {job["metadata"]["namespace"] for job in api.list("kubedistill.io/v1alpha1/DistillationJob")}
        if real := sorted(space for space in spaces if not space.startswith("test-")):
            raise ClusterInUse(f"there are DistillationJobs in {', '.join(real)}: use a cluster that is only for tests")


def _may_get(api: Api, resource: str, *, group: str) -> bool:
    """Return whether the server has noticed the role that lets the operator get it; this takes some milliseconds."""
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {
            "user": f"system:serviceaccount:{OPERATOR_NAMESPACE}:{OPERATOR}",
            "resourceAttributes": {
                "verb": "get",
                "resource": resource,
                "group": group,
                "namespace": OPERATOR_NAMESPACE,
                "name": OPERATOR,
            },
        },
    }
    return bool(
        api.request("post", "/apis/authorization.k8s.io/v1/subjectaccessreviews", body=review)["status"]["allowed"]
    )


def _is_served(api: Api, crd: str) -> bool:
    try:  # without the client's own reading: KubeRay's CRDs have a megabyte each
        found = api.request("get", f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{crd}")
    except Refused as error:
        if error.code != 404:
            raise
        return False
    conditions = found.get("status", {}).get("conditions") or []  # null at first
    return any(one["type"] == "Established" and one["status"] == "True" for one in conditions)
