"""Ray's pods as KubeRay 1.7 makes them of a template: command, environment, probes, and the objects next to them. Pure.

kuberay:ray-operator/controllers/ray/common/pod.go BuildPod and service.go BuildServiceForHeadPod, read in v1.7.0.
"""

import copy
import secrets
from collections.abc import Mapping, Sequence
from typing import Any

from kubedistill.placement.quantities import number
from support.fake_kuberay.api import Object
from support.fake_kuberay.child import HEAD, Child
from support.fake_kuberay.pods import Slot

Values = Mapping[str, Any]
GCS_PORT, DASHBOARD_PORT = 6379, 8265
_METRICS_PORT, _AGENT_PORT = 8080, 52365
_SHELL = ["/bin/bash", "-c", "--"]
_PROBE = {"httpGet": {"path": "/api/healthz", "port": _AGENT_PORT}, "periodSeconds": 5, "successThreshold": 1}
_FEW = {"cpu": "200m", "memory": "256Mi"}
TOKEN_KEY = "auth_token"


def with_ray(pod: Values, slot: Slot, *, cluster: str, namespace: str) -> Object:
    """Return a pod that starts Ray: the head, or a worker that first waits for the head."""
    made: Object = copy.deepcopy(dict(pod))
    container = made["spec"]["containers"][0]
    head = f"{cluster}-head-svc.{namespace}.svc.cluster.local"
    if slot.role != HEAD:
        made["spec"]["initContainers"] = [_wait_for_head(container, cluster=cluster, head=head)]
    container["command"], container["args"] = _SHELL, [f"ulimit -n 65536; {ray_start(container, slot, head=head)}"]
    container["env"] = [*container.get("env", ()), *_environment(slot, cluster=cluster, head=head)]
    timeout = 5 if slot.role == HEAD else 2
    container["readinessProbe"] = {**_PROBE, "initialDelaySeconds": 10, "failureThreshold": 10}
    container["livenessProbe"] = {**_PROBE, "initialDelaySeconds": 30, "failureThreshold": 120}
    for probe in ("readinessProbe", "livenessProbe"):
        container[probe]["timeoutSeconds"] = timeout
    return made


def ray_start(container: Values, slot: Slot, *, head: str) -> str:
    """Return the command line of `ray start`; parameters of the template come first."""
    flags = {
        "memory": str(int(number(container["resources"]["limits"]["memory"]))),
        "metrics-export-port": str(_METRICS_PORT),
        "dashboard-agent-listen-port": str(_AGENT_PORT),
        **({"dashboard-host": "0.0.0.0"} if slot.role == HEAD else {"address": f"{head}:{GCS_PORT}"}),
        **slot.parameters,
    }
    words = ["ray start", *(["--head"] if slot.role == HEAD else []), "--block"]
    return " ".join([*words, *(f"--{name}={value}" for name, value in sorted(flags.items()))])


def head_service(child: Child, *, cluster: str) -> Object:
    """Return the Service by which workers find the head, its address published before it is ready."""
    labels = {
        "ray.io/cluster": cluster,
        "ray.io/node-type": HEAD,
        "ray.io/identifier": f"{cluster}-{HEAD}"[:63],
        "app.kubernetes.io/name": "kuberay",
        "app.kubernetes.io/created-by": "kuberay-operator",
    }
    container = child.spec["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]["containers"][0]
    ports = [{"name": one["name"], "port": one["containerPort"]} for one in container["ports"]]
    spec = {"clusterIP": "None", "publishNotReadyAddresses": True, "selector": labels, "ports": ports}
    return {"apiVersion": "v1", "kind": "Service", "metadata": _metadata(child, f"{cluster}-head-svc"), "spec": spec}


def token_secret(child: Child, *, cluster: str) -> Object:
    """Return the Secret with a token of the cluster's own."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": _metadata(child, cluster),
        "stringData": {TOKEN_KEY: secrets.token_hex(32)},
    }


def _metadata(child: Child, name: str) -> Object:
    """Return an object as owned by the RayJob: the cluster is not an object here."""
    owner = {"apiVersion": child.object["apiVersion"], "kind": child.kind, "name": child.name, "uid": child.uid}
    return {"name": name, "namespace": child.key[0], "ownerReferences": [owner]}


def _wait_for_head(container: Values, *, cluster: str, head: str) -> Object:
    wait = f"until ray health-check --address {head}:{GCS_PORT} >/dev/null 2>&1; do sleep 5; done"
    kept = {name: container[name] for name in ("image", "imagePullPolicy", "securityContext", "volumeMounts")}
    return {
        **copy.deepcopy(kept),
        "name": "wait-gcs-ready",
        "command": _SHELL,
        "args": [wait],
        "env": [*container.get("env", ()), *_token(cluster), {"name": "FQ_RAY_IP", "value": head}],
        "resources": {"limits": _FEW, "requests": _FEW},
    }


def _environment(slot: Slot, *, cluster: str, head: str) -> Sequence[Object]:
    address = "127.0.0.1" if slot.role == HEAD else head
    values = {
        "RAY_CLUSTER_NAME": cluster,
        "RAY_PORT": str(GCS_PORT),
        "RAY_ADDRESS": f"{address}:{GCS_PORT}",
        "RAY_NODE_TYPE_NAME": slot.group,
        "RAY_USAGE_STATS_KUBERAY_IN_USE": "1",
        "RAY_DASHBOARD_ENABLE_K8S_DISK_USAGE": "1",
        **({} if slot.role == HEAD else {"FQ_RAY_IP": head}),
    }
    name = {"name": "RAY_CLOUD_INSTANCE_ID", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}
    return [*_token(cluster), name, *({"name": key, "value": value} for key, value in values.items())]


def _token(cluster: str) -> Sequence[Object]:
    source = {"secretKeyRef": {"name": cluster, "key": TOKEN_KEY}}
    return [{"name": "RAY_AUTH_MODE", "value": "token"}, {"name": "RAY_AUTH_TOKEN", "valueFrom": source}]
