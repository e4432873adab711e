"""KubeRay's RayCluster controller: the pods of a cluster and the status that RayJob shows of it.

kuberay:ray-operator/controllers/ray/raycluster_controller.go reconcilePods and calculateStatus. The cluster is not an
object here: nothing of ours looks at one.
"""

import time
from dataclasses import dataclass

from support.fake_kuberay.api import Api, Object, Refused
from support.fake_kuberay.child import HEAD, WORKER, Child, is_ready, is_running, role_of
from support.fake_kuberay.pods import REPLICA_LABEL, Slot, cluster_pod, slots_of
from support.fake_kuberay.transitions import EMPTY_CLUSTER, stamp

HEAD_STAYS_AWAY = "ray.io/disable-provisioned-head-restart"
"""kuberay:ray-operator/controllers/ray/utils/constant.go DisableProvisionedHeadRestartAnnotationKey."""


_PROVISIONED = ("AllPodRunningAndReadyFirstTime", "All Ray Pods are ready for the first time")
_PROVISIONING = ("RayClusterPodsProvisioning", "RayCluster Pods are being provisioned for first time")


@dataclass(slots=True)
class RayClusters:
    """Creates, repairs and deletes the pods of clusters."""

    api: Api

    async def mend(self, child: Child) -> None:
        """Delete the pods that can't run again, make those that are missing, and say how the cluster is."""
        assert child.cluster is not None
        child.cluster.refusal = ""
        for pod in child.live_pods:
            if _is_beyond_repair(pod):
                await self.api.delete("pods", (child.key[0], pod["metadata"]["name"]), uid=pod["metadata"]["uid"])
        await self._make_missing(child)
        child.cluster.status = describe(child, now=time.time())
        if child.cluster.status.get("state") == "ready":
            child.cluster.provisioned = True

    async def delete(self, child: Child) -> None:
        """Delete the cluster: the object is gone at once, its pods go when their kubelet says so."""
        child.cluster = None
        child.info = None
        for pod in child.live_pods:
            await self.api.delete("pods", (child.key[0], pod["metadata"]["name"]), uid=pod["metadata"]["uid"])

    def pod(self, child: Child, slot: Slot, *, index: int) -> Object:
        """Return the manifest of one pod of a slot."""
        return cluster_pod(child, slot, index=index)

    async def _make_missing(self, child: Child) -> None:
        assert child.cluster is not None
        stays_away = (child.object["metadata"].get("annotations") or {}).get(HEAD_STAYS_AWAY) == "true"
        for slot in slots_of(child.spec["rayClusterSpec"]):
            there = [pod for pod in child.live_pods if pod["metadata"]["labels"].get("ray.io/group") == slot.group]
            if slot.role == HEAD and child.cluster.provisioned and stays_away:
                continue
            taken = {pod["metadata"]["labels"].get(REPLICA_LABEL) for pod in there}
            free = [index for index in range(slot.count) if str(index) not in taken]
            for index in free[: slot.count - len(there)]:
                try:
                    if child.refuse_pods:
                        raise Refused(403, child.refuse_pods)
                    pod = await self.api.create("pods", child.key, self.pod(child, slot, index=index))
                except Refused as error:
                    child.cluster.refusal = f"Failed to create {slot.role} pod: {error.message}"
                    return
                child.pods[pod["metadata"]["name"]] = pod


def describe(child: Child, *, now: float) -> Object:
    """Return a RayClusterStatus; `ready` stays, whatever becomes of the pods later."""
    cluster, slots = child.cluster, slots_of(child.spec["rayClusterSpec"])
    assert cluster is not None
    workers = [pod for pod in child.live_pods if role_of(pod) == WORKER]
    wanted = sum(slot.count for slot in slots)
    complete = len(child.live_pods) == wanted and all(is_ready(pod) for pod in child.live_pods)
    ready = cluster.status.get("state") == "ready" or (complete and not cluster.refusal)
    head = _head(child)
    status = {
        **EMPTY_CLUSTER,
        "desiredWorkerReplicas": wanted - 1,
        "minWorkerReplicas": wanted - 1,
        "maxWorkerReplicas": wanted - 1,
        "readyWorkerReplicas": sum(map(is_ready, workers)),
        "availableWorkerReplicas": sum(map(is_running, workers)),
        "lastUpdateTime": stamp(now),
        "endpoints": _endpoints(child),
        "head": {"podName": head["metadata"]["name"], "serviceName": f"{cluster.name}-head-svc"} if head else {},
        "conditions": _conditions(child, ready=ready, now=now),
    }
    return {**status, "state": "ready"} if ready else status


def _conditions(child: Child, *, ready: bool, now: float) -> list[Object]:
    """Return the conditions, each with the time of its last change."""
    cluster = child.cluster
    assert cluster is not None
    wanted = [
        ("HeadPodReady", *_head_readiness(_head(child))),
        ("RayClusterProvisioned", ready, *(_PROVISIONED if ready else _PROVISIONING)),
        ("RayClusterSuspended", False, "RayClusterSuspended", ""),
        ("RayClusterSuspending", False, "RayClusterSuspending", ""),
    ]
    if cluster.refusal:
        role = HEAD if "head pod" in cluster.refusal else WORKER
        wanted.append(("ReplicaFailure", True, f"FailedCreate{role.title()}Pod", cluster.refusal))
    before = {one["type"]: one for one in cluster.status.get("conditions", [])}
    made = []
    for name, holds, reason, message in wanted:
        one = {"type": name, "status": str(holds), "reason": reason, "message": message}
        since = before.get(name, {})
        same = all(since.get(key) == value for key, value in one.items())
        made.append({**one, "lastTransitionTime": since["lastTransitionTime"] if same else stamp(now)})
    return made


def _head(child: Child) -> Object | None:
    return next((pod for pod in child.live_pods if role_of(pod) == HEAD), None)


def _head_readiness(head: Object | None) -> tuple[bool, str, str]:
    """utils/util.go FindHeadPodReadyCondition: what keeps its container rather than that it is not ready."""
    if head is None:
        return False, "HeadPodNotFound", "Head Pod not found"
    if is_ready(head):
        return True, "HeadPodRunningAndReady", ""
    status = head.get("status", {})
    ready: Object = next((one for one in status.get("conditions", []) if one["type"] == "Ready"), {})
    if not ready:
        return False, "Unknown", ""
    for one in status.get("containerStatuses", []):
        for state in ("waiting", "terminated"):
            if found := one["state"].get(state):
                return False, found["reason"], f"{ready['message']}; {one['name']}: {found.get('message', '')}"
    return False, ready["reason"], ready["message"]


def _endpoints(child: Child) -> dict[str, str]:
    ports = child.spec["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]["containers"][0].get("ports", ())
    return {one["name"]: str(one["containerPort"]) for one in ports}


def _is_beyond_repair(pod: Object) -> bool:
    """raycluster_controller.go shouldDeletePod: ended, or its Ray container ended and may not restart."""
    status = pod.get("status", {})
    if status.get("phase") in ("Succeeded", "Failed"):
        return True
    first = (status.get("containerStatuses") or [{}])[0]
    return "terminated" in first.get("state", {}) and pod["spec"].get("restartPolicy") == "Never"
