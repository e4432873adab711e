"""The control plane is a real one: it answers, refuses, collects garbage, and keeps its state until it goes down."""

import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.cluster_setup import ClusterInUse, refuse_cluster_in_use
from support.control_plane import ControlPlane
from support.kube_api import Api, Refused, wait_for
from support.messages import check_facts
from support.small_manifests import config_map, distillation_job, owned_by

JOB = "kubedistill.io/v1alpha1/DistillationJob"


@pytest.fixture
def plane(tmp_path: Path) -> Iterator[ControlPlane]:
    """Yield a control plane of the test's own."""
    plane = ControlPlane(tmp_path / "plane", dies_with_us=True)
    yield plane
    plane.down()


def test_server_answers(api: Api) -> None:
    version = api.request("get", "/version")
    assert (version["major"], int(version["minor"].rstrip("+")) >= 30) == ("1", True), "ratcheting is on from 1.30"


def test_server_refuses_an_account_without_a_role(api: Api, namespace: str, account_kubeconfig: Any) -> None:
    forbidden = pytest.raises(Refused, match="403 Forbidden: pods")
    with Api(account_kubeconfig("default", namespace=namespace)) as nobody, forbidden:
        nobody.list("v1/Pod", namespace=namespace)


@pytest.mark.parametrize("propagation", ["Background", "Foreground"])
def test_objects_of_a_job_are_deleted_with_it(api: Api, namespace: str, propagation: str) -> None:
    job = api.create(distillation_job("owner"), namespace=namespace)
    child = api.create(owned_by(job, config_map("child")), namespace=namespace)
    api.create(owned_by(child, config_map("grandchild")), namespace=namespace)
    api.create(config_map("stranger"), namespace=namespace)
    api.delete(JOB, "owner", namespace=namespace, propagation=propagation)

    def left() -> set[str]:
        maps = {one["metadata"]["name"] for one in api.list("v1/ConfigMap", namespace=namespace)}
        return maps | {one["metadata"]["name"] for one in api.list(JOB, namespace=namespace)}

    wait_for(lambda: left() == {"stranger", "kube-root-ca.crt"}, what="only what nobody owns is left", seconds=90)


def test_job_does_not_keep_a_namespace_from_its_end(api: Api, namespace: str) -> None:
    api.create(distillation_job("last"), namespace=namespace)
    api.delete("v1/Namespace", namespace)
    wait_for(lambda: api.get("v1/Namespace", namespace) is None, what="the namespace is gone", seconds=90)


def test_cluster_with_real_jobs_is_left_alone(api: Api, namespace: str) -> None:
    api.create(distillation_job("ours"), namespace=namespace)
    refuse_cluster_in_use(api)
    api.create(distillation_job("theirs"), namespace="default")
    try:
        with pytest.raises(ClusterInUse) as refused:
            refuse_cluster_in_use(api)
        check_facts(refused.value, "default")
    finally:
        api.delete(JOB, "theirs", namespace="default")


@pytest.mark.own_plane
def test_state_outlives_a_restart_and_nothing_outlives_down(plane: ControlPlane) -> None:
    plane.up()
    url, before = plane.url, plane.pids
    name = f"kept-{secrets.token_hex(4)}"
    with Api(plane.kubeconfig) as api:
        uid = api.create(config_map(name), namespace="default")["metadata"]["uid"]
        plane.restart_server(gently=False)
        plane.stop(gently=True)
        assert set(plane.pids.values()) == {None}
        plane.up()
        found = api.get("v1/ConfigMap", name, namespace="default")
    assert found is not None
    assert found["metadata"]["uid"] == uid
    assert plane.url == url, "kubeconfigs stay valid"
    assert not set(plane.pids.values()) & {*before.values(), None}
    pids = [pid for pid in plane.pids.values() if pid]
    plane.down()
    assert not [pid for pid in pids if Path(f"/proc/{pid}").exists()]
    assert not plane.folder.exists()
