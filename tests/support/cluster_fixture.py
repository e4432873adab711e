"""A control plane of its own, the account of the operator, and a namespace with a claim for jobs."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support.cluster_setup import (
    OPERATOR,
    OPERATOR_NAMESPACE,
    account_kubeconfig,
    install_crds,
    install_operator_account,
)
from support.control_plane import ControlPlane
from support.kube_api import Api, wait_for

JOBS = "kubedistill.io/v1alpha1/DistillationJob"
TESTS = Path(__file__).parents[1]
NAMESPACE = "test-ground"
_CLAIM = {
    "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "shared"},
    "spec": {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "1Gi"}}},
}  # fmt: skip
_DAY = 86_400


@dataclass(frozen=True, slots=True)
class ClusterFixture:
    """A running control plane and who may do what there."""

    plane: ControlPlane
    api: Api
    """The administrator's client."""
    operator_kubeconfig: Path
    namespace: str = NAMESPACE

    def submit(self, name: str, **spec: Any) -> None:
        """Apply a job; `spec` are further fields of its spec."""
        self.api.create(small_job(name, **spec), namespace=self.namespace)

    def phases(self) -> dict[str, str]:
        """Return the phase of every job."""
        return {one["metadata"]["name"]: (one.get("status") or {}).get("phase", "") for one in self.jobs()}

    def jobs(self) -> list[dict[str, Any]]:
        """Return all jobs; without the client's own reading of them, which takes a second for 50."""
        path = f"/apis/kubedistill.io/v1alpha1/namespaces/{self.namespace}/distillationjobs"
        found: list[dict[str, Any]] = self.api.request("get", path)["items"]
        return found

    @contextmanager
    def player(self, *, scale: float, journal: Path) -> Iterator[None]:
        """Play children in a process of its own: one real minute is 1/scale minutes of theirs."""
        command = [
            sys.executable,
            "-m",
            "support.fake_kuberay",
            "--kubeconfig",
            str(self.plane.kubeconfig),
            "--journal",
        ]
        command += [str(journal), "--namespace", self.namespace, "--time-scale", str(scale)]
        with subprocess.Popen(command, env={**os.environ, "PYTHONPATH": str(TESTS)}) as process:
            try:
                yield
                if process.poll() is not None:
                    raise AssertionError(f"the player ended with {process.returncode}")
            finally:
                process.send_signal(signal.SIGTERM)


@contextmanager
def make_cluster_fixture(folder: Path, *, audited: bool = False) -> Iterator[ClusterFixture]:
    """Bring a control plane up, and everything down again."""
    plane = ControlPlane(folder.absolute(), dies_with_us=True, audited=audited)
    plane.down()
    try:
        plane.start_server()
        with Api(plane.kubeconfig) as api:
            install_crds(api)
            plane.start_controllers()
            install_operator_account(api)
            file = plane.folder / "operator.kubeconfig"
            account_kubeconfig(api, OPERATOR, namespace=OPERATOR_NAMESPACE, file=file, seconds=_DAY)
            api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
            wait_for(
                lambda: api.get("v1/ServiceAccount", "default", namespace=NAMESPACE), what="the namespace is whole"
            )
            api.create(_CLAIM, namespace=NAMESPACE)
            yield ClusterFixture(plane, api, file)
    finally:
        plane.down()


def small_job(name: str, **spec: Any) -> dict[str, Any]:
    """Return a DistillationJob on the fixture's claim, with its own store so that jobs share no artifacts."""
    return {
        "apiVersion": "kubedistill.io/v1alpha1",
        "kind": "DistillationJob",
        "metadata": {"name": name},
        "spec": {
            "task": {"type": "QA"},
            "teachers": [{"name": "main", "model": {"source": "teacher"}}],
            "student": {"model": {"source": "student"}},
            "data": {"train": {"uri": "train.jsonl"}},
            "storage": {"volumeClaim": "shared", "uri": f"file:///kubedistill/storage/{name}"},
            **spec,
        },
    }
