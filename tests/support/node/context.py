"""Where scenarios take place: the jobs that they apply, what they wait for, and what those jobs leave behind."""

import copy
import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from support.kube_api import Api, wait_for
from support.node.kuberay import Away
from support.node.real_node import RealNode
from support.node.recorder import Record
from support.node.spans import Wall, spans_of

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
    kuberay_away: Away
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

    def patch(self, name: str, change: Object) -> None:
        """Merge a change into a job."""
        self.api.patch(JOBS, name, change, namespace=self.namespace)

    def status(self, name: str) -> Object:
        """Return the status of a job."""
        job = self.api.get(JOBS, name, namespace=self.namespace)
        return (job or {}).get("status") or {}

    def stage(self, name: str, stage: str) -> Object:
        """Return the status of one stage of a job."""
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
        """Return the pods of a job that run or are about to."""
        found = self.api.list("v1/Pod", namespace=self.namespace, labels={"kubedistill.io/job": name})
        return [pod for pod in found if pod["status"]["phase"] not in ("Succeeded", "Failed")]

    def left(self) -> list[str]:
        """Return what is in the namespace besides the claim and its pod's own."""
        return [
            f"{kind.rpartition('/')[2]} {name}"
            for kind in _LEFT
            for one in self.api.list(kind, namespace=self.namespace)
            if (name := one["metadata"]["name"]) not in _OF_THE_NAMESPACE
        ]

    def logs(self, name: str) -> dict[str, str]:
        """Return the logs of a job's drivers by stage and attempt, such as train-1."""
        files = (self.storage / "runs" / f"{self.namespace}.{name}").glob("*/*/driver.log")
        return {file.parent.name: file.read_text() for file in files}

    def artifacts(self, name: str) -> list[Path]:
        """Return the folders of a job's artifacts that are complete."""
        known = (self.status(name).get("run") or {}).get("artifacts", ())
        return [self.storage / "artifacts" / one["name"] / one["key"] for one in known if one.get("complete")]

    def measure(self, name: str, *, applied: float, shared_with: str = "") -> Wall:
        """Return where the time of a job went that has succeeded.

        `shared_with` is a job that it may have waited for.
        """
        succeeded = self.record.first("distillationjobs", name, lambda one: _phase(one) == "Succeeded")
        assert succeeded, "the recorder has seen what the status says"
        others = self.logs(shared_with) if shared_with else {}
        stages = spans_of(
            self.record, name, applied=applied, succeeded=succeeded, logs=self.logs(name), others=others.values()
        )
        return Wall(name, succeeded - applied, tuple(stages))


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a scenario showed: seconds, a sentence, and where the time of its jobs went."""

    name: str
    seconds: float
    seen: str
    walls: tuple[Wall, ...] = ()


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


def digests(folder: Path) -> dict[str, str]:
    """Return the digest of each file of a folder, with the time of its last change."""
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    return {
        str(file.relative_to(folder)): f"{hashlib.sha256(file.read_bytes()).hexdigest()} {file.stat().st_mtime_ns}"
        for file in files
    }


def trains_again(*, seed: int) -> Callable[[Object], None]:
    """Return another training of the same answers, with a gate that every student passes."""

    def change(spec: Object) -> None:
        spec.pop("evaluation")
        spec["training"] = {**copy.deepcopy(spec["training"]), "seed": seed, "epochs": 8}
        spec["training"]["checkpoint"] = {"everyMinutes": 0.1}

    return change


def _phase(job: Object) -> str:
    return str((job.get("status") or {}).get("phase"))
