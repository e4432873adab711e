"""Children as the operator would make them, by hand: the player is tested without the operator."""

import contextlib
import json
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from kubedistill.contract import JobRef, RunRef, StageJob
from support.fake_kuberay.background import playing
from support.fake_kuberay.journal import Journal
from support.kube_api import Api, Manifest, wait_for

KINDS = {"RayJob": "ray.io/v1/RayJob", "Job": "batch/v1/Job"}
STAGES = {"Prepare": "Job", "Generate": "RayJob", "Curate": "Job", "Train": "RayJob", "Evaluate": "RayJob"}
SPEC = {
    "task": {"type": "Classification", "labels": ["yes", "no"]},
    "teachers": [{"name": "main", "model": {"source": "teacher"}}],
    "student": {"model": {"source": "student"}},
    "data": {"train": {"uri": "train.jsonl"}},
}
ENTRYPOINT = "python -m kubedistill_runtime --job /kubedistill/job/job.json"
CONTAINER = {"name": "main", "image": "nobody/runs:it"}


@dataclass(slots=True)
class Played:
    """One child in the cluster, with its channel and pods as they are now."""

    api: Api
    namespace: str
    name: str
    kind: str

    @property
    def object(self) -> Manifest | None:
        return self.api.get(KINDS[self.kind], self.name, namespace=self.namespace)

    @property
    def status(self) -> dict[str, Any]:
        return (self.object or {}).get("status") or {}

    @property
    def state(self) -> tuple[str, str]:
        """Deployment status and job status."""
        return self.status.get("jobDeploymentStatus", ""), self.status.get("jobStatus", "")

    @property
    def conditions(self) -> dict[str, str]:
        """Of a Job: what holds, and why."""
        return {one["type"]: one["reason"] for one in self.status.get("conditions", []) if one["status"] == "True"}

    @property
    def channel(self) -> dict[str, str]:
        found = self.api.get("v1/ConfigMap", f"{self.name}-out", namespace=self.namespace)
        return (found or {}).get("data", {})

    @property
    def result(self) -> dict[str, Any]:
        return json.loads(self.channel.get("result.json", "{}"))

    @property
    def pods(self) -> list[Manifest]:
        return self.api.list("v1/Pod", namespace=self.namespace, labels={"kubedistill.io/child": self.name})

    def becomes(self, *states: tuple[str, str], seconds: float = 90) -> None:
        """Wait until a RayJob has one of these states."""
        wait_for(lambda: self.state in states, what=f"{self.name} becomes {states}", seconds=seconds)

    def edit(self, spec: dict[str, Any]) -> None:
        self.api.patch(KINDS[self.kind], self.name, {"spec": spec}, namespace=self.namespace)

    def delete(self) -> None:
        self.api.delete(KINDS[self.kind], self.name, namespace=self.namespace)


@dataclass(slots=True)
class Workplace:
    """Makes children in a namespace that a player plays."""

    api: Api
    namespace: str
    journal: Journal

    def child(
        self,
        job: str,
        *,
        stage: str = "Generate",
        attempt: int = 1,
        told: StageJob | None = None,
        pod: dict[str, Any] | None = None,
        annotations: dict[str, str] | None = None,
        **spec: Any,
    ) -> Played:
        """Return a child of a job by this name, which chooses the scenario; with parts of its spec replaced."""
        name = f"{job}-{stage.lower()}-{attempt}"
        labels = {"kubedistill.io/job": job, "kubedistill.io/stage": stage, "kubedistill.io/attempt": str(attempt)}
        if spec.pop("queue", None):
            labels["kueue.x-k8s.io/queue-name"] = "team"
        told = told or stage_job(job, stage=stage, attempt=attempt, token=name)
        self._create("v1", "ConfigMap", name, labels, data={"job.json": told.to_json()})
        self._create("v1", "ConfigMap", f"{name}-out", labels, data={"owner": name, "starts": "0"})
        self._grant(name, labels)
        kind = STAGES[stage]
        pods = {"metadata": {"labels": {**labels, "kubedistill.io/child": name}}}
        pod = pod or {"containers": [CONTAINER]}
        made = ray_job_spec(pods, pod) if kind == "RayJob" else job_spec(pods, pod)
        self._create(KINDS[kind].rpartition("/")[0], kind, name, labels, annotations=annotations, spec={**made, **spec})
        return Played(self.api, self.namespace, name, kind)

    def _grant(self, name: str, labels: dict[str, str]) -> None:
        group = "rbac.authorization.k8s.io"
        rule = {
            "apiGroups": [""],
            "resources": ["configmaps"],
            "resourceNames": [f"{name}-out"],
            "verbs": ["get", "patch"],
        }
        self._create(f"{group}/v1", "Role", name, labels, rules=[rule])
        self._create(
            f"{group}/v1",
            "RoleBinding",
            name,
            labels,
            roleRef={"apiGroup": group, "kind": "Role", "name": name},
            subjects=[{"kind": "ServiceAccount", "name": "default", "namespace": self.namespace}],
        )

    def _create(
        self,
        version: str,
        kind: str,
        name: str,
        labels: dict[str, str],
        annotations: dict[str, str] | None = None,
        **parts: Any,
    ) -> None:
        metadata = {"name": name, "namespace": self.namespace, "labels": labels, "annotations": annotations or {}}
        self.api.create({"apiVersion": version, "kind": kind, "metadata": metadata, **parts})


def stage_job(job: str, *, stage: str, attempt: int, token: str) -> StageJob:
    return StageJob(
        job=JobRef(namespace="default", name=job),
        run=RunRef(id="one", digest="0"),
        stage=stage,
        attempt=attempt,
        token=token,
        frozen_spec=SPEC,
        store=f"file:///stores/{job}",
        data_root="file:///data",
    )


def ray_job_spec(pods: dict[str, Any], pod: dict[str, Any]) -> dict[str, Any]:
    head = {**pods, "spec": pod}
    worker = {**pods, "spec": {"containers": [CONTAINER], "restartPolicy": "Never"}}
    group = {
        "groupName": "workers",
        "replicas": 1,
        "minReplicas": 1,
        "maxReplicas": 1,
        "template": worker,
        "rayStartParams": {"num-cpus": "1"},
    }
    return {
        "entrypoint": ENTRYPOINT,
        "submissionMode": "HTTPMode",
        "backoffLimit": 0,
        "shutdownAfterJobFinishes": True,
        "ttlSecondsAfterFinished": 0,
        "rayClusterSpec": {
            "rayVersion": "2.60.0",
            "headGroupSpec": {"rayStartParams": {"num-cpus": "0"}, "template": head},
            "workerGroupSpecs": [group],
        },
    }


def job_spec(pods: dict[str, Any], pod: dict[str, Any]) -> dict[str, Any]:
    return {"backoffLimit": 0, "template": {**pods, "spec": {**pod, "restartPolicy": "Never"}}}


@pytest.fixture(scope="module")
def played_namespace(api: Api) -> Iterator[str]:
    """Yield a namespace for all tests of a file."""
    name = f"test-{secrets.token_hex(4)}"
    api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    wait_for(lambda: api.get("v1/ServiceAccount", "default", namespace=name), what="the namespace has its account")
    yield name
    api.delete("v1/Namespace", name)


@pytest.fixture(scope="module")
def workplace(api: Api, played_namespace: str, kubeconfig: Path) -> Iterator[Workplace]:
    """Yield a namespace that is played a hundred times as fast."""
    with playing(kubeconfig, namespace=played_namespace) as journal:
        yield Workplace(api, played_namespace, journal)


@pytest.fixture
def make_workplace(api: Api, namespace: str, kubeconfig: Path) -> Iterator[Callable[..., Workplace]]:
    """Yield a function that starts a player of one's own settings in a namespace of one's own."""
    with contextlib.ExitStack() as stack:

        def make(**settings: Any) -> Workplace:
            journal = stack.enter_context(playing(kubeconfig, namespace=namespace, **settings))
            return Workplace(api, namespace, journal)

        yield make


@pytest.fixture
def make_child(api: Api, namespace: str) -> Callable[..., Played]:
    """Return a function that makes a child which nobody plays yet."""
    return Workplace(api, namespace, Journal()).child
