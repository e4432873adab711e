"""What the operator asks of an API server, asked of a real one, with the operator's own rights."""

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest

from kubedistill.manifest.settings import Settings
from kubedistill.v1alpha1 import StageStatus, Status
from kubedistill_operator.cluster.api_errors import AlreadyExists, Conflict, NotFound, Refused
from kubedistill_operator.cluster.client import Cluster
from kubedistill_operator.cluster.connection import Connection
from kubedistill_operator.cluster.events import event_manifest
from kubedistill_operator.cluster.execution import Executor
from kubedistill_operator.cluster.lease import Lease
from kubedistill_operator.cluster.observation import Observer
from kubedistill_operator.job import Job, parse_job
from kubedistill_operator.kinds import KINDS, Kind
from kubedistill_operator.plan import Event, Plan
from support.kube_api import Api, Manifest
from support.small_manifests import distillation_job

JOBS = "kubedistill.io/v1alpha1/DistillationJob"
SYSTEM = "kubedistill-system"
Found = TypeVar("Found")


def run(kubeconfig: Path, scenario: Callable[[Cluster], Awaitable[Found]]) -> Found:
    """Play a scenario with a client of a kubeconfig."""

    async def play() -> Found:
        connection = await Connection.find(kubeconfig)
        async with Cluster(connection.configuration, write_deadline=lambda: 10.0) as cluster:
            return await scenario(cluster)

    return asyncio.run(play())


@pytest.fixture
def job(api: Api, namespace: str) -> Job:
    manifest: Manifest = {
        "apiVersion": "kubedistill.io/v1alpha1",
        "kind": "DistillationJob",
        "metadata": {"name": "support", "namespace": namespace},
        "spec": {
            "task": {"type": "QA"},
            "teachers": [{"name": "main", "model": {"source": "teacher"}}],
            "student": {"model": {"source": "student"}},
            "data": {"train": {"uri": "train.jsonl"}},
        },
    }
    return parse_job(api.create(manifest))


def config_map(namespace: str, *, name: str = "one", labels: dict[str, str] | None = None) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "data": {"owner": "t"},
        "metadata": {"name": name, "namespace": namespace, "labels": labels or {}},
    }


def test_a_status_is_written_without_the_spec_and_comes_back_the_same(
    operator_kubeconfig: Path, api: Api, job: Job
) -> None:
    status = Status(phase="Training", message="on", stages=(StageStatus(name="Train"),))

    async def scenario(cluster: Cluster) -> Any:
        await Executor(cluster, time.time, "replica").execute(Plan(status=status), job)
        return await cluster.get("DistillationJob", job.name, namespace=job.namespace)

    read = parse_job(run(operator_kubeconfig, scenario))
    assert read.status == status
    assert (read.spec, read.generation) == (job.spec, job.generation)


def test_a_status_is_refused_where_the_job_changed_or_is_another(operator_kubeconfig: Path, job: Job) -> None:
    async def scenario(cluster: Cluster) -> None:
        executor = Executor(cluster, time.time, "replica")
        await executor.execute(Plan(status=Status(phase="Pending")), job)
        for stale in (job, Job(job.namespace, job.name, uid="another", resource_version="")):
            with pytest.raises(Conflict):
                await executor.execute(Plan(status=Status(phase="Failed")), stale)

    run(operator_kubeconfig, scenario)


def test_a_status_that_says_the_same_writes_nothing(operator_kubeconfig: Path, api: Api, job: Job) -> None:
    async def scenario(cluster: Cluster) -> tuple[str, str]:
        executor, versions = Executor(cluster, time.time, "replica"), []
        for _ in range(2):
            found = parse_job(await cluster.get("DistillationJob", job.name, namespace=job.namespace) or {})
            await executor.execute(Plan(status=Status(phase="Pending", message="m" * 1024)), found)
            again = parse_job(await cluster.get("DistillationJob", job.name, namespace=job.namespace) or {})
            versions.append(again.resource_version)
        return versions[0], versions[1]

    first, second = run(operator_kubeconfig, scenario)
    assert first == second


def test_a_status_leaves_labels_and_annotations_to_whoever_applied_them(
    operator_kubeconfig: Path, api: Api, namespace: str
) -> None:
    marks = {"labels": {"team": "support"}, "annotations": {"argocd.argoproj.io/sync-wave": "3"}}
    manifest = distillation_job("applied")
    manifest["metadata"] |= marks | {"finalizers": ["example.com/theirs"]}
    api.apply(manifest, namespace=namespace, manager="argocd-controller")

    async def scenario(cluster: Cluster) -> str:
        found = parse_job(await cluster.get("DistillationJob", "applied", namespace=namespace) or {})
        await Executor(cluster, time.time, "replica").execute(Plan(status=Status(phase="Pending")), found)
        read = await cluster.get("DistillationJob", "applied", namespace=namespace) or {}
        assert {name: read["metadata"][name] for name in marks} == marks
        return str(read["metadata"]["resourceVersion"])

    version = run(operator_kubeconfig, scenario)
    again = api.apply(manifest, namespace=namespace, manager="argocd-controller")
    api.patch(JOBS, "applied", {"metadata": {"finalizers": None}}, namespace=namespace)
    assert again["metadata"]["resourceVersion"] == version, "the same applied again writes nothing"


def test_an_event_is_taken_and_shown_with_its_job(operator_kubeconfig: Path, api: Api, job: Job) -> None:
    event = event_manifest(Event("StageStarted", "Prepare attempt 1"), job, now=time.time(), instance="replica")

    async def scenario(cluster: Cluster) -> None:
        await cluster.create(event)
        with pytest.raises(AlreadyExists):
            await cluster.create(event)

    run(operator_kubeconfig, scenario)
    (found,) = [one for one in api.list("v1/Event", namespace=job.namespace) if one["reason"] == "StageStarted"]
    assert found["involvedObject"]["uid"] == job.uid
    assert found["reportingComponent"] == "kubedistill-operator"


def test_an_object_is_deleted_only_while_it_is_the_one_that_was_seen(
    kubeconfig: Path, api: Api, namespace: str
) -> None:
    async def scenario(cluster: Cluster) -> None:
        made = await cluster.create(config_map(namespace))
        await cluster.delete("ConfigMap", "one", namespace=namespace, uid="another")
        assert await cluster.get("ConfigMap", "one", namespace=namespace) is not None
        await cluster.delete("ConfigMap", "one", namespace=namespace, uid=made["metadata"]["uid"])
        assert await cluster.get("ConfigMap", "one", namespace=namespace) is None

    run(kubeconfig, scenario)


def test_a_driver_is_asked_to_stop_by_a_patch(operator_kubeconfig: Path, namespace: str) -> None:
    async def scenario(cluster: Cluster) -> None:
        await cluster.create(config_map(namespace))
        stop = [{"op": "add", "path": "/data/stop", "value": "true"}]
        patched = await cluster.patch("ConfigMap", "one", stop, namespace=namespace)
        assert patched["data"] == {"owner": "t", "stop": "true"}
        wrong = [{"op": "test", "path": "/data/owner", "value": "x"}]
        with pytest.raises(Refused) as caught:
            await cluster.patch("ConfigMap", "one", wrong, namespace=namespace)
        assert caught.value.code == 422
        with pytest.raises(NotFound):
            await cluster.patch("ConfigMap", "two", stop, namespace=namespace)

    run(operator_kubeconfig, scenario)


def test_lists_are_selected_by_label_and_names_come_alone(operator_kubeconfig: Path, api: Api, job: Job) -> None:
    async def scenario(cluster: Cluster) -> None:
        for name, labels in (("a", {"x": "1"}), ("b", {"x": "1", "y": "2"}), ("c", {})):
            await cluster.create(config_map(job.namespace, name=name, labels=labels))
        found = await cluster.select("ConfigMap", namespace=job.namespace, labels="x=1,y!=2")
        assert [one["metadata"]["name"] for one in found] == ["a"]
        assert (job.namespace, job.name) in await cluster.names("DistillationJob")
        assert await cluster.names("DistillationJob", namespace=job.namespace) == {(job.namespace, job.name)}

    run(operator_kubeconfig, scenario)


def test_the_kinds_that_we_stand_on_are_served(operator_kubeconfig: Path) -> None:
    async def scenario(cluster: Cluster) -> list[bool]:
        return [await cluster.serves(kind) for kind in ("DistillationJob", "RayJob", "Job", "Lease")]

    assert run(operator_kubeconfig, scenario) == [True] * 4


def test_a_kind_that_is_not_installed_differs_from_an_absent_object(
    kubeconfig: Path, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(KINDS, "Unknown", Kind("Unknown", "ray.io/v1", "unknowns"))
    monkeypatch.setitem(KINDS, "Foreign", Kind("Foreign", "nobody.example/v1", "foreigns"))

    async def scenario(cluster: Cluster) -> None:
        assert await cluster.get("RayJob", "none", namespace=namespace) is None
        for kind in ("Unknown", "Foreign"):
            assert not await cluster.serves(kind)
            with pytest.raises(Refused) as refused:
                await cluster.get(kind, "none", namespace=namespace)
            assert refused.value.code == 404

    run(kubeconfig, scenario)


def test_what_is_not_granted_is_refused(operator_kubeconfig: Path, namespace: str) -> None:
    async def scenario(cluster: Cluster) -> None:
        with pytest.raises(Refused) as caught:
            await cluster.replace(config_map(namespace))
        assert caught.value.code == 403

    run(operator_kubeconfig, scenario)


def test_a_new_job_is_observed_with_the_rights_that_we_have(operator_kubeconfig: Path, job: Job) -> None:
    async def scenario(cluster: Cluster) -> None:
        look = await Observer(cluster, Settings(), time.time).observe(job, full=True)
        assert look.observed.earlier == ()

    run(operator_kubeconfig, scenario)


def test_a_lease_is_taken_renewed_released_and_taken_over(kubeconfig: Path) -> None:
    name = f"test-{secrets.token_hex(4)}"

    async def scenario(cluster: Cluster) -> None:
        first = Lease(cluster, SYSTEM, name, "a")
        await first.acquire()
        assert await first._attempt(first._renew)
        second = Lease(cluster, SYSTEM, name, "b")
        assert not await second._attempt(second._take)
        await first.release()
        assert not first.leads
        assert await second._attempt(second._take)
        found = await cluster.get("Lease", name, namespace=SYSTEM)
        assert found is not None
        assert found["spec"]["holderIdentity"] == "b"
        assert found["spec"]["leaseTransitions"] == 1

    run(kubeconfig, scenario)
