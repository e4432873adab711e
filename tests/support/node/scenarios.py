"""What is tried on the node: the quickstart, a lost head, suspend and resume, deletion. Each raises where it fails."""

import copy
import json
import os
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from support.kube_api import Api, wait_for
from support.node.real_node import RealNode
from support.node.recorder import Record
from support.node.spans import Stage, spans_of

ROOT = Path(__file__).parents[3]
QUICKSTART = ROOT / "examples" / "quickstart"
JOBS = "kubedistill.io/v1alpha1/DistillationJob"
_RBAC = "rbac.authorization.k8s.io/v1"
_LEFT = (
    "v1/Pod", "v1/ConfigMap", "v1/Secret", "v1/Service", "v1/ServiceAccount", f"{_RBAC}/Role", f"{_RBAC}/RoleBinding",
    "batch/v1/Job", "ray.io/v1/RayJob", "ray.io/v1/RayCluster",
)  # fmt: skip
"""Kinds of which a job leaves nothing behind."""
_OF_THE_NAMESPACE = ("kube-root-ca.crt", "default")
_OVER = ("Succeeded", "Failed")
GROUP = 65532
Object = dict[str, Any]


class ScenarioFailed(Exception):
    """A job that did not do what its scenario asks for."""


@dataclass(frozen=True, slots=True)
class NodeContext:
    """Where scenarios take place: a namespace with a filled claim, whose folder is `storage`."""

    node: RealNode
    api: Api
    record: Record
    namespace: str
    storage: Path

    def apply(self, name: str, change: Callable[[Object], None] = lambda spec: None) -> float:
        """Apply the quickstart's manifest under a name, with its spec changed; the time at which that was done."""
        job = yaml.safe_load((QUICKSTART / "job.yaml").read_text())
        job["metadata"] = {"name": name}
        change(job["spec"])
        applied = time.time()
        self.api.create(job, namespace=self.namespace)
        return applied

    def status(self, name: str) -> Object:
        """The status of a job."""
        job = self.api.get(JOBS, name, namespace=self.namespace)
        return (job or {}).get("status") or {}

    def stage(self, name: str, stage: str) -> Object:
        """The status of one stage of a job."""
        return next((one for one in self.status(name).get("stages", ()) if one["name"] == stage), {})

    def until(self, name: str, holds: Callable[[Object], bool], *, what: str, seconds: float) -> Object:
        """Wait for a status; raises ScenarioFailed where the job fails, or the time is over, before it holds."""

        def look() -> Object | None:
            status = self.status(name)
            if holds(status):
                return status
            if status.get("phase") in _OVER:
                raise ScenarioFailed(f"{name} is {status['phase']} before {what}: {status.get('message')}")
            return None

        try:
            return wait_for(look, what=f"{name}: {what}", seconds=seconds)
        except AssertionError as error:
            raise ScenarioFailed(f"{error}; last seen: {json.dumps(self.status(name))[:2000]}") from error

    def succeed(self, name: str, *, seconds: float = 1200) -> Object:
        """Wait until a job has succeeded."""
        return self.until(name, lambda status: status.get("phase") == "Succeeded", what="Succeeded", seconds=seconds)

    def train(self, name: str, *, percent: int = 1, seconds: float = 600) -> Object:
        """Wait until a job has trained a little."""

        def trains(_: Object) -> bool:
            stage = self.stage(name, "Train")
            return stage.get("state") == "Running" and stage.get("percent", 0) >= percent

        return self.until(name, trains, what="trains", seconds=seconds)

    def pods(self, name: str) -> list[Object]:
        """The pods of a job that run or are about to."""
        found = self.api.list("v1/Pod", namespace=self.namespace, labels={"kubedistill.io/job": name})
        return [pod for pod in found if pod["status"]["phase"] not in ("Succeeded", "Failed")]

    def left(self) -> list[str]:
        """What is in the namespace besides the claim and its pod's own."""
        return [
            f"{kind.rpartition('/')[2]} {name}"
            for kind in _LEFT
            for one in self.api.list(kind, namespace=self.namespace)
            if (name := one["metadata"]["name"]) not in _OF_THE_NAMESPACE
        ]

    def logs(self, name: str) -> dict[str, str]:
        """The logs of a job's drivers by stage and attempt, such as train-1."""
        files = (self.storage / "runs" / f"{self.namespace}.{name}").glob("*/*/driver.log")
        return {file.parent.name: file.read_text() for file in files}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a scenario showed: seconds, a sentence, and the spans where they were measured."""

    name: str
    seconds: float
    seen: str
    stages: tuple[Stage, ...] = ()


def quickstart(context: NodeContext) -> Outcome:
    """The quickstart as it is, to the judged and exported student."""
    applied = context.apply("quickstart")
    status = context.succeed("quickstart", seconds=1800)
    succeeded = context.record.first("distillationjobs", "quickstart", lambda one: _phase(one) == "Succeeded")
    assert succeeded, "the recorder has seen what the status says"
    stages = spans_of(
        context.record, "quickstart", applied=applied, succeeded=succeeded, logs=context.logs("quickstart")
    )
    return Outcome("quickstart", succeeded - applied, status["message"], tuple(stages))


def head_killed(context: NodeContext) -> Outcome:
    """SIGKILL for the head's container in Train: KubeRay submits again, and the second driver goes on."""
    began = context.apply("head-killed", _trains_again(seed=1))
    context.train("head-killed")
    heads = [pod for pod in context.pods("head-killed") if pod["metadata"]["labels"].get("ray.io/node-type") == "head"]
    (container,) = heads[0]["status"]["containerStatuses"]
    context.node.ctr("tasks", "kill", "--signal", "SIGKILL", container["containerID"].removeprefix("containerd://"))
    context.succeed("head-killed")
    train = context.stage("head-killed", "Train")
    if train["starts"] != 2 or train["restarts"].get("infrastructure") != 1:
        raise ScenarioFailed(f"a second start that is charged to infrastructure is missing: {json.dumps(train)}")
    return Outcome("head killed in Train", time.time() - began, "2 starts, 1 charged to infrastructure, Succeeded")


def suspended(context: NodeContext) -> Outcome:
    """Suspend in Train until all pods are gone, then resume to the end."""
    began = context.apply("suspended", _trains_again(seed=2))
    context.train("suspended")
    _patch(context, "suspended", {"spec": {"suspend": True}})
    asked = time.time()
    context.until("suspended", lambda status: status.get("phase") == "Suspended", what="Suspended", seconds=180)
    took = time.time() - asked
    wait_for(lambda: not context.pods("suspended"), what="no pod of a suspended job runs", seconds=120)
    _patch(context, "suspended", {"spec": {"suspend": False}})
    context.succeed("suspended")
    charged = {name: count for name, count in context.stage("suspended", "Train")["restarts"].items() if count}
    if charged:
        raise ScenarioFailed(f"a suspension was charged: {charged}")
    return Outcome("suspend and resume", time.time() - began, f"Suspended {took:.0f} s after it was asked, Succeeded")


def twins(context: NodeContext) -> Outcome:
    """A second job of the same work while the first one trains: it waits, and trains nothing."""
    began = context.apply("twin-1", _trains_again(seed=4))
    context.train("twin-1")
    context.apply("twin-2", _trains_again(seed=4))
    context.until("twin-2", lambda status: "SharedArtifact" in status.get("message", ""), what="waits", seconds=300)
    for name in ("twin-1", "twin-2"):
        context.succeed(name)
    ran = [{stage["name"]: stage["state"] for stage in context.status(name)["stages"]} for name in ("twin-1", "twin-2")]
    twice = [stage for stage in ("Train", "Evaluate", "Export") if ran[0][stage] == ran[1][stage]]
    if twice:
        raise ScenarioFailed(f"both jobs made what {', '.join(twice)} makes: {json.dumps(ran)}")
    return Outcome("two jobs of the same work", time.time() - began, "each stage ran once, both Succeeded")


def deleted(context: NodeContext) -> Outcome:
    """Delete a job in Train, and those of the scenarios before: nothing of them is left but the store."""
    began = context.apply("deleted", _trains_again(seed=3))
    context.train("deleted")
    asked = time.time()
    for job in context.api.list(JOBS, namespace=context.namespace):
        context.api.delete(JOBS, job["metadata"]["name"], namespace=context.namespace, propagation="Foreground")
    try:
        wait_for(lambda: not context.left(), what="nothing is left", seconds=180)
    except AssertionError as error:
        raise ScenarioFailed(f"{error}; there are: {', '.join(context.left())}") from error
    return Outcome("deletion in Train", time.time() - began, f"nothing left {time.time() - asked:.0f} s after it")


SCENARIOS: Mapping[str, Callable[[NodeContext], Outcome]] = {
    "quickstart": quickstart, "head-killed": head_killed, "suspended": suspended, "twins": twins, "deleted": deleted,
}  # fmt: skip


def make_claim(api: Api, kubectl: Callable[..., None], *, namespace: str, storage: Path) -> None:
    """Make a volume of a folder, as docs/platform.md asks for it, and fill it as docs/cluster.md does."""
    shutil.rmtree(storage, ignore_errors=True)
    storage.mkdir(parents=True)
    os.chown(storage, 0, GROUP)
    storage.chmod(0o2775)
    claim = yaml.safe_load((QUICKSTART / "cluster" / "claim.yaml").read_text())
    api.create(
        {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": "distillation"},
            "spec": {
                "accessModes": claim["spec"]["accessModes"],
                "capacity": claim["spec"]["resources"]["requests"],
                "claimRef": {"namespace": namespace, "name": claim["metadata"]["name"]},
                "hostPath": {"path": str(storage)},
            },
        }
    )
    folder = QUICKSTART / "cluster"
    kubectl("apply", "-f", str(folder / "claim.yaml"), "-f", str(folder / "files.yaml"))
    kubectl("wait", "--for=condition=Ready", "pod/files", "--timeout=300s")
    for name in ("teacher", "student", "data"):
        kubectl("cp", str(QUICKSTART / name), f"files:/kubedistill/storage/{name}")
    kubectl("delete", "pod", "files", "--grace-period=1")


def _trains_again(*, seed: int) -> Callable[[Object], None]:
    """Another training of the same answers, with a gate that every student passes."""

    def change(spec: Object) -> None:
        spec.pop("evaluation")
        spec["training"] = {**copy.deepcopy(spec["training"]), "seed": seed, "epochs": 8}
        spec["training"]["checkpoint"] = {"everyMinutes": 0.1}

    return change


def _patch(context: NodeContext, name: str, patch: Object) -> None:
    context.api.patch(JOBS, name, patch, namespace=context.namespace)


def _phase(job: Object) -> str:
    return str((job.get("status") or {}).get("phase"))
