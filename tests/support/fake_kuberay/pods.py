"""Pods as manifests and as what a kubelet would say of them. Pure."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from support.fake_kuberay.api import Object
from support.fake_kuberay.child import HEAD, WORKER, Child, Wish
from support.fake_kuberay.transitions import stamp

Values = Mapping[str, Any]
_LONGEST = 63
REPLICA_LABEL = "ray.io/worker-group-replica-index"


@dataclass(frozen=True, slots=True)
class Slot:
    """One group of equal pods of a cluster: head or worker, its name, template, number and `ray start` parameters."""

    role: str
    group: str
    template: Values
    count: int
    parameters: Values


def slots_of(spec: Values) -> list[Slot]:
    """Return the pods that a RayCluster of this rayClusterSpec has."""
    first = spec["headGroupSpec"]
    head = Slot(HEAD, "headgroup", first["template"], 1, first.get("rayStartParams", {}))
    workers = [
        Slot(
            WORKER,
            group["groupName"],
            group["template"],
            group.get("replicas", 0) * group.get("numOfHosts", 1),
            group.get("rayStartParams", {}),
        )
        for group in spec.get("workerGroupSpecs", ())
    ]
    return [head, *workers]


def cluster_pod(child: Child, slot: Slot, *, index: int = 0) -> Object:
    """Return a pod of a cluster: kuberay:ray-operator/controllers/ray/common/pod.go labelPod.

    Templates may add labels.
    """
    assert child.cluster is not None
    cluster, kind = child.cluster.name, slot.role if slot.role == HEAD else f"{slot.group}-{WORKER}"
    template = slot.template.get("metadata") or {}
    labels = {
        "ray.io/is-ray-node": "yes",
        "ray.io/identifier": f"{cluster}-{slot.role}"[:_LONGEST],
        "app.kubernetes.io/name": "kuberay",
        "app.kubernetes.io/created-by": "kuberay-operator",
        **template.get("labels", {}),
        **({REPLICA_LABEL: str(index)} if slot.role == WORKER else {}),
        "ray.io/cluster": cluster,
        "ray.io/node-type": slot.role,
        "ray.io/group": slot.group,
    }
    pod = _pod(child, f"{cluster}-{kind}", labels=labels, template=slot.template)
    return pod if slot.role == HEAD else {**pod, "spec": {**pod["spec"], "initContainers": [_init(pod["spec"])]}}


def job_pod(child: Child) -> Object:
    """Return the pod of a batch Job; the API server has put the labels of the controller into the template."""
    template = child.spec["template"]
    return _pod(child, child.name, labels=template["metadata"]["labels"], template=template)


def _init(spec: Values) -> Object:
    """Return the container that waits for the head: kuberay common/pod.go DefaultWorkerPodTemplate."""
    first = spec["containers"][0]
    kept = {name: first[name] for name in ("image", "securityContext", "env", "volumeMounts") if name in first}
    size = {"cpu": "200m", "memory": "256Mi"}
    return {"name": "wait-gcs-ready", **kept, "resources": {"requests": size, "limits": size}}


def _pod(child: Child, prefix: str, *, labels: Values, template: Values) -> Object:
    name = f"{prefix[: _LONGEST - 6].rstrip('-')}-{uuid.uuid4().hex[:5]}"
    owner = {
        "apiVersion": child.object["apiVersion"],
        "kind": child.kind,
        "name": child.name,
        "uid": child.uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }
    metadata = {
        "name": name,
        "namespace": child.key[0],
        "labels": dict(labels),
        "annotations": dict((template.get("metadata") or {}).get("annotations") or {}),
        "ownerReferences": [owner],
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}


def unschedulable(message: str, *, now: float) -> Object:
    """Return the status of a pod that no node takes."""
    return {"conditions": [_condition("PodScheduled", "False", now, reason="Unschedulable", message=message)]}


def waiting(pod: Values, wish: Wish, *, now: float) -> Object:
    """Return the status of a pod whose containers wait for something."""
    state = {"waiting": {"reason": wish.reason, "message": wish.message}}
    return {
        "phase": "Pending",
        "startTime": stamp(now),
        "containerStatuses": _containers(pod, state, ready=False),
        "conditions": _conditions(pod, now, ready=False),
    }


def running(pod: Values, *, now: float) -> Object:
    """Return the status of a pod that runs and is ready."""
    state = {"running": {"startedAt": stamp(now)}}
    return {
        "phase": "Running",
        "startTime": pod.get("status", {}).get("startTime") or stamp(now),
        "podIP": "10.0.0.1",
        "podIPs": [{"ip": "10.0.0.1"}],
        **_native_sidecars(pod, now=now),
        "containerStatuses": _containers(pod, state, ready=True),
        "conditions": _conditions(pod, now, ready=True),
    }


def restarted(pod: Values, *, code: int, reason: str, now: float) -> Object:
    """Return the status of a pod whose first container died, was started again in place, and is not ready yet."""
    status = running(pod, now=now)
    first = status["containerStatuses"][0]
    first["restartCount"] += 1
    first["lastState"] = {"terminated": _terminated(code, reason, now)}
    return {
        **status,
        "containerStatuses": [{**one, "ready": False} for one in status["containerStatuses"]],
        "conditions": _conditions(pod, now, ready=False),
    }


def back(pod: Values, *, now: float) -> Object:
    """Return the status of a pod that restarted in place, once it is ready again."""
    containers = [{**one, "ready": True} for one in pod["status"]["containerStatuses"]]
    return {"containerStatuses": containers, "conditions": _conditions(pod, now, ready=True)}


def ended(pod: Values, *, code: int, reason: str, now: float) -> Object:
    """Return the status of a pod whose containers ended and stay so."""
    state = {"terminated": _terminated(code, reason, now)}
    return {
        "phase": "Failed" if code else "Succeeded",
        "containerStatuses": _containers(pod, state, ready=False),
        "conditions": _conditions(pod, now, ready=False),
    }


def driver_ended(pod: Values, *, code: int, reason: str, now: float) -> Object:
    """Return the status of a Job's pod whose driver ended; an injected sidecar continues to run."""
    status = ended(pod, code=code, reason=reason, now=now)
    driver, *others = status["containerStatuses"]
    native = _native_sidecars(pod, now=now)
    if not others and not native:
        return status
    running_on = [{**one, "state": {"running": {"startedAt": stamp(now)}}, "ready": True} for one in others]
    return {**status, **native, "phase": "Running", "containerStatuses": [driver, *running_on]}


def beside(pod: Object, *, native: bool) -> Object:
    """Return a pod with a sidecar, as a webhook changes it when it is made.

    A native one is an init container that stays.
    """
    spec = pod["spec"]
    if native:
        agent = {"name": "agent", "image": "agent", "restartPolicy": "Always"}
        return {**pod, "spec": {**spec, "initContainers": [*spec.get("initContainers", ()), agent]}}
    return {**pod, "spec": {**spec, "containers": [*spec["containers"], {"name": "agent", "image": "agent"}]}}


def evicted(reason: str, message: str, *, now: float) -> Object:
    """Return the status of a pod that its kubelet put out: under pressure, or as the node shuts down."""
    target = _condition("DisruptionTarget", "True", now, reason=reason, message=message)
    return {"phase": "Failed", "reason": reason, "message": message, "conditions": [target]}


def rejected(reason: str, message: str) -> Object:
    """Return the status of a pod that its kubelet did not take, though it was placed on its node."""
    return {"phase": "Failed", "reason": reason, "message": message}


def doomed(pod: Values, reason: str, message: str, *, now: float) -> Object:
    """Return the status of a pod that is about to be deleted for the sake of another, or of its node."""
    target = _condition("DisruptionTarget", "True", now, reason=reason, message=message)
    return {"conditions": [*pod.get("status", {}).get("conditions", []), target]}


def _native_sidecars(pod: Values, *, now: float) -> Object:
    """Return the statuses of native sidecars: they run with the other containers and end after them."""
    working = {"imageID": "", "ready": True, "started": True, "restartCount": 0, "lastState": {}}
    state = {"running": {"startedAt": stamp(now)}}
    found = [
        {"name": one["name"], "image": one["image"], "state": state, **working}
        for one in pod["spec"].get("initContainers", ())
        if one.get("restartPolicy") == "Always"
    ]
    return {"initContainerStatuses": found} if found else {}


def _terminated(code: int, reason: str, now: float) -> Object:
    return {"exitCode": code, "reason": reason, "finishedAt": stamp(now), "startedAt": stamp(now)}


def _containers(pod: Values, state: Object, *, ready: bool) -> list[Object]:
    before = {one["name"]: one for one in pod.get("status", {}).get("containerStatuses", [])}
    return [
        {
            "name": one["name"],
            "image": one["image"],
            "imageID": "",
            "ready": ready,
            "started": ready,
            "state": state,
            "lastState": before.get(one["name"], {}).get("lastState", {}),
            "restartCount": before.get(one["name"], {}).get("restartCount", 0),
        }
        for one in pod["spec"]["containers"]
    ]


def _conditions(pod: Values, now: float, *, ready: bool) -> list[Object]:
    names = " ".join(one["name"] for one in pod["spec"]["containers"])
    why = {} if ready else {"reason": "ContainersNotReady", "message": f"containers with unready status: [{names}]"}
    states = [_condition(name, "True", now) for name in ("PodScheduled", "Initialized")]
    states += [one for one in pod.get("status", {}).get("conditions", []) if one["type"] == "DisruptionTarget"]
    return [*states, *(_condition(name, str(ready), now, **why) for name in ("ContainersReady", "Ready"))]


def _condition(name: str, status: str, now: float, **why: str) -> Object:
    return {"type": name, "status": status, "lastTransitionTime": stamp(now), **why}
