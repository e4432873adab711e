"""A harness for a real API server: submit jobs, look at them, wait for them, with an operator of its own."""

import json
import secrets
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from support.cluster_setup import OPERATOR_NAMESPACE
from support.kube_api import Api, Manifest, wait_for
from support.operator_process import Replica, replica

JOBS = "kubedistill.io/v1alpha1/DistillationJob"
CLAIMS = "v1/PersistentVolumeClaim"
_RBAC = "rbac.authorization.k8s.io/v1"
KINDS = (
    "v1/ConfigMap", "v1/ServiceAccount", f"{_RBAC}/Role", f"{_RBAC}/RoleBinding", "batch/v1/Job", "ray.io/v1/RayJob",
    "v1/Pod",
)  # fmt: skip
"""All that a job leads to, but for Events."""
OURS = {"app.kubernetes.io/managed-by": "kubedistill"}
LOOK_SECONDS = 120.0
"""What is waited for at most; a busy machine is slow, and nothing is asserted about that."""
Condition = tuple[str, str, str]
"""(status, reason, message)."""


@dataclass
class OperatorHarness:
    """Jobs of some namespaces, the first of which is meant where none is named; the operator watches them all."""

    api: Api
    namespaces: tuple[str, ...]
    kubeconfig: Path
    """The operator's."""
    folder: Path
    settings: dict[str, Any]
    operator: Replica | None = None
    _runs: ExitStack = field(default_factory=ExitStack)

    def start(self, **settings: Any) -> None:
        """Start the operator, with some settings changed."""
        self.settings |= settings
        given = {"storage": {"volumeClaim": "shared"}, "watchNamespaces": list(self.namespaces), **self.settings}
        self.operator = self._runs.enter_context(
            replica(
                self.folder,
                kubeconfig=self.kubeconfig,
                lease_namespace=OPERATOR_NAMESPACE,
                options=["--alone"],
                **given,
            )
        )
        wait_for(self.operator.leads, what="the operator leads", seconds=LOOK_SECONDS)

    def stop(self) -> None:
        """Kill the operator; its log is read first, since a new one starts a new log."""
        if self.operator is not None:
            self.check()
        self._runs.close()
        self.operator = None

    def check(self) -> None:
        """Fail where the operator has ended, or has met what nobody foresaw."""
        assert self.operator is not None
        assert self.operator.process.poll() is None, self.operator.log.read_text()[-4000:]
        bad = [line for line in self.operator.lines() if line["level"] in ("ERROR", "CRITICAL")]
        assert not bad, json.dumps(bad[0], indent=1)

    def submit(self, name: str, *, namespace: str = "", metadata: Any = None, **spec: Any) -> Manifest:
        """Create a job."""
        return self.api.create(small_job(name, metadata=metadata, **spec), namespace=namespace or self.namespaces[0])

    def job(self, name: str, *, namespace: str = "") -> Manifest | None:
        return self.api.get(JOBS, name, namespace=namespace or self.namespaces[0])

    def status(self, name: str, *, namespace: str = "") -> dict[str, Any]:
        return (self.job(name, namespace=namespace) or {}).get("status") or {}

    def phase(self, name: str, *, namespace: str = "") -> str:
        return self.status(name, namespace=namespace).get("phase", "")

    def stage(self, name: str, stage: str) -> dict[str, Any]:
        """Return a stage of a job; empty before there is one."""
        found = self.status(name).get("stages") or []
        return next((one for one in found if one["name"] == stage), {})

    def condition(self, name: str, kind: str) -> Condition | None:
        found = self.status(name).get("conditions") or []
        one = next((one for one in found if one["type"] == kind), None)
        return (one["status"], one["reason"], one.get("message", "")) if one else None

    def becomes(self, name: str, *phases: str, namespace: str = "", seconds: float = LOOK_SECONDS) -> None:
        """Wait until a job has one of these phases."""

        def look() -> bool:
            return self.phase(name, namespace=namespace) in phases

        try:
            wait_for(look, what=f"{name} is {' or '.join(phases)}", seconds=seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}: {json.dumps(self.job(name, namespace=namespace), indent=1)}") from error

    def shows(self, name: str, kind: str, *, reason: str, seconds: float = LOOK_SECONDS) -> str:
        """Wait until a condition is False for a reason; gives its message."""

        def look() -> Condition | None:
            found = self.condition(name, kind)
            return found if found is not None and found[:2] == ("False", reason) else None

        return wait_for(look, what=f"{name} shows {kind}=False, {reason}", seconds=seconds)[2]

    def settle(self) -> None:
        """Wait until the operator has handled all that has happened to jobs so far, so that it made what it would make.

        It hears of jobs in their order: one that is made now, and that it refuses, is refused after that. The second
        round is for children, of which other watches tell.
        """
        name = f"marker-{secrets.token_hex(3)}"
        self.submit(name, student={"model": {"source": "student"}, "resources": {"pool": "none-1"}})
        for pool in ("none-1", "none-2"):
            spec = {"student": {"resources": {"pool": pool}}}
            self.api.patch(JOBS, name, {"spec": spec}, namespace=self.namespaces[0])
            wait_for(
                lambda pool=pool: pool in self.status(name).get("message", ""),
                what=f"the operator has seen {name}",
                seconds=LOOK_SECONDS,
            )
        self.api.delete(JOBS, name, namespace=self.namespaces[0])
        wait_for(lambda: self.job(name) is None, what=f"{name} is gone", seconds=LOOK_SECONDS)

    def made(self, *, namespace: str = "", kinds: Iterable[str] = KINDS, job: str = "") -> list[Manifest]:
        """Return all objects that the operator and the players of children made, of one job or of all."""
        labels = OURS | ({"kubedistill.io/job": job} if job else {})
        where = namespace or self.namespaces[0]
        return [one for kind in kinds for one in self.api.list(kind, namespace=where, labels=labels)]

    def events(self, name: str) -> list[str]:
        """Return the reasons of the Events about a job."""
        found = self.api.list("v1/Event", namespace=self.namespaces[0])
        return [one["reason"] for one in found if one["involvedObject"]["name"] == name]

    def tells(self, name: str, reason: str) -> list[str]:
        """Wait for an Event with a reason, and return all reasons: Events come after the status."""
        wait_for(lambda: reason in self.events(name), what=f"an Event {reason} about {name}")
        return self.events(name)

    def counted(self, metric: str) -> float:
        """Return a counter of the operator, summed over its labels."""
        assert self.operator is not None
        return sum(value for (name, _), value in self.operator.metrics().items() if name == metric)


@contextmanager
def open_harness(
    api: Api, operator_kubeconfig: Path, folder: Path, *namespaces: str, **settings: Any
) -> Iterator[OperatorHarness]:
    """Make namespaces with a claim in each, and start an operator for them; all of it goes away again."""
    for name in namespaces:
        make_namespace(api, name)
    harness = OperatorHarness(api, namespaces, operator_kubeconfig, folder, settings)
    try:
        harness.start()
        yield harness
        if harness.operator is not None:
            harness.check()
    finally:
        harness._runs.close()
        for name in namespaces:
            api.delete("v1/Namespace", name)


def make_namespace(api: Api, name: str) -> None:
    """A namespace with a claim that many nodes share."""
    api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    wait_for(partial(api.get, "v1/ServiceAccount", "default", namespace=name), what=f"{name} has its account")
    api.create(claim("shared"), namespace=name)


def claim(name: str, *, mode: str = "ReadWriteMany") -> Manifest:
    """Return a volume claim."""
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name},
        "spec": {"accessModes": [mode], "resources": {"requests": {"storage": "1Gi"}}},
    }


def small_job(name: str, *, metadata: Any = None, **spec: Any) -> Manifest:
    """Return a DistillationJob with a store of its own, so that no job makes another's artifacts."""
    storage = {"volumeClaim": "shared", "uri": f"file:///kubedistill/storage/{name}"}
    return {
        "apiVersion": "kubedistill.io/v1alpha1",
        "kind": "DistillationJob",
        "metadata": {**(metadata or {}), "name": name},
        "spec": {
            "task": {"type": "QA"},
            "teachers": [{"name": "main", "model": {"source": "teacher"}}],
            "student": {"model": {"source": "student"}},
            "data": {"train": {"uri": "train.jsonl"}},
            "storage": storage,
            **spec,
        },
    }
