"""A namespace in which jobs live: a claim for their store, one operator that watches it, and played children."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from support.fake_kuberay.background import playing
from support.kube_api import Api, wait_for
from support.operator_process import Replica, replica

CLAIM = {
    "apiVersion": "v1",
    "kind": "PersistentVolumeClaim",
    "metadata": {"name": "shared"},
    "spec": {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "1Gi"}}},
}


@contextmanager
def played_cluster(
    api: Api, *, kubeconfig: Path, operator_kubeconfig: Path, namespace: str, folder: Path, scale: float = 0.02
) -> Iterator[Replica]:
    """Have jobs of the namespace carried out; their store is the claim `shared` unless they name another."""
    api.apply(CLAIM, namespace=namespace)
    pools = {name: {"nodeSelector": {"kind": name}} for name in ("h200", "a100")}
    settings = {"watchNamespaces": [namespace], "storage": {"volumeClaim": "shared"}, "pools": pools}
    started = replica(
        folder,
        kubeconfig=operator_kubeconfig,
        lease_namespace=namespace,
        name="operator",
        options=["--alone"],
        **settings,
    )
    with started as operator, playing(kubeconfig, namespace=namespace, scale=scale):
        wait_for(lambda: operator.probe("/readyz") == 200, what="the operator is ready", seconds=60)
        yield operator


def with_namespace(kubeconfig: Path, namespace: str, *, folder: Path) -> Path:
    """Return a kubeconfig with a namespace in its context, as `kubectl config set-context` writes it."""
    values = json.loads(kubeconfig.read_text())
    for one in values["contexts"]:
        one["context"]["namespace"] = namespace
    path = folder / f"kubeconfig-{namespace}"
    path.write_text(json.dumps(values))
    return path
