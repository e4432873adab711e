"""The kubelet and the scheduler: bind pods to nodes, say what becomes of them, and confirm when they have ended."""

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from support.fake_kuberay import pods
from support.fake_kuberay.api import Api, Key, Object, Refused
from support.fake_kuberay.child import ONLY, Child, Wish, is_running, role_of
from support.fake_kuberay.transitions import stamp

BeforeEnd = Callable[[Object], Awaitable[None]]


@dataclass(slots=True)
class Kubelet:
    """All nodes of one player; `before_end` is awaited for a pod that is about to go."""

    api: Api
    shared_node: str = field(default_factory=lambda: f"player-{uuid.uuid4().hex[:5]}")
    nodes: set[str] = field(default_factory=set)
    lost: set[str] = field(default_factory=set)
    """Nodes that answer no more: their pods never confirm that they ended."""
    _done: set[tuple[str, Wish]] = field(default_factory=set)

    async def start(self) -> None:
        await self.add_node(self.shared_node)

    async def stop(self) -> None:
        """Remove the nodes."""
        for name in sorted(self.nodes):
            await self.api.delete("nodes", ("", name))

    async def add_node(self, name: str) -> None:
        """A node that is ready and takes everything."""
        if name in self.nodes:
            return
        labels = {"kubernetes.io/hostname": name, "kubedistill.io/player": "true"}
        await self._tolerate(
            409,
            self.api.create(
                "nodes", ("", ""), {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels}}
            ),
        )
        await self.api.patch("nodes", ("", name), {"spec": {"taints": []}})
        await self.api.patch("nodes", ("", name), _readiness("True", "KubeletReady"), sub="status")
        self.nodes.add(name)

    async def lose_node(self, name: str, *, vanish: bool) -> None:
        """A node that stops answering, or is gone altogether."""
        self.lost.add(name)
        if vanish:
            await self.api.delete("nodes", ("", name))
        else:
            await self.api.patch("nodes", ("", name), _readiness("Unknown", "NodeStatusUnknown"), sub="status")

    async def taint_node(self, name: str, *, key: str) -> None:
        """A node that is about to be taken away."""
        taint = {"key": key, "effect": "NoSchedule"}
        await self.api.patch("nodes", ("", name), {"spec": {"taints": [taint]}})

    async def serve(self, child: Child) -> None:
        """Bring every pod of a child to what is wished for it, until the child and its pods are gone."""
        while not (child.gone and not child.pods):
            seen = child.changes
            for pod in child.live_pods:
                await self._settle(child, pod)
            await child.wait(since=seen)

    async def confirm_end(self, pod: Object, *, after: float, before_end: BeforeEnd) -> None:
        """Remove a pod that was deleted, once it has had its time; never where its node is lost."""
        await before_end(pod)
        await asyncio.sleep(after)
        if pod["spec"].get("nodeName") not in self.lost:
            if role_of(pod) != ONLY and is_running(pod):  # SIGTERM ends `ray start --block` with 1
                await self.set_status(pod, pods.ended(pod, code=1, reason="Error", now=time.time()))
            await self.api.delete("pods", _key(pod), uid=pod["metadata"]["uid"], grace=0)

    async def set_status(self, pod: Object, status: Object) -> None:
        """Write a pod's status; it is well if it is gone."""
        await self._tolerate(404, self.api.patch("pods", _key(pod), {"status": status}, sub="status"))

    async def _settle(self, child: Child, pod: Object) -> None:
        wish, uid = child.wish, pod["metadata"]["uid"]
        if wish.state == "Created" or (uid, wish) in self._done:
            return
        if pod.get("status", {}).get("phase") in ("Succeeded", "Failed"):
            return
        self._done.add((uid, wish))
        if wish.state == "Unschedulable":
            await self.set_status(pod, pods.unschedulable(wish.message, now=time.time()))
            return
        if not pod["spec"].get("nodeName"):
            await self._bind(pod, node=wish.node or self.shared_node)
        if wish.state == "Waiting":
            await self.set_status(pod, pods.waiting(pod, wish, now=time.time()))
        elif wish.state == "Running":
            await self.set_status(pod, pods.running(pod, now=time.time()))

    async def _bind(self, pod: Object, *, node: str) -> None:
        await self.add_node(node)
        target = {"apiVersion": "v1", "kind": "Node", "name": node}
        binding = {
            "apiVersion": "v1",
            "kind": "Binding",
            "metadata": {"name": pod["metadata"]["name"]},
            "target": target,
        }
        await self._tolerate((404, 409), self.api.create("pods", _key(pod), binding, sub="binding"))

    @staticmethod
    async def _tolerate(codes: int | tuple[int, ...], request: Awaitable[Object]) -> None:
        try:
            await request
        except Refused as error:
            if error.code not in (codes if isinstance(codes, tuple) else (codes,)):
                raise


def _key(pod: Object) -> Key:
    return pod["metadata"]["namespace"], pod["metadata"]["name"]


def _readiness(status: str, reason: str) -> Object:
    now = stamp(time.time())
    ready = {"type": "Ready", "status": status, "reason": reason, "lastTransitionTime": now, "lastHeartbeatTime": now}
    return {"status": {"conditions": [ready]}}
