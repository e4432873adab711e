"""KubeRay's part on a cluster with real nodes: real pods, real Ray, drivers submitted over HTTP.

Pods are scheduled, started and ended by the cluster's own scheduler and kubelets, and Jobs by its own controller.
"""

import base64
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from support.fake_kuberay.actions import World
from support.fake_kuberay.api import Api, Object, Refused
from support.fake_kuberay.child import Child, RayJobInfo, is_ready
from support.fake_kuberay.controller import Player
from support.fake_kuberay.journal import Journal
from support.fake_kuberay.kubelet import BeforeEnd, Kubelet
from support.fake_kuberay.pods import Slot, cluster_pod
from support.fake_kuberay.ray_start import DASHBOARD_PORT, TOKEN_KEY, head_service, token_secret, with_ray
from support.fake_kuberay.raycluster import RayClusters

_CONFLICT, _NOT_FOUND = 409, 404
_TIMEOUT = aiohttp.ClientTimeout(total=10)


def node_player(api: Api, journal: Journal) -> Player:
    """Return a player that leaves to the cluster whatever the cluster does itself."""
    world = World(api, NodesOwn(api), journal, scale=1.0, executor=Dashboards(api, journal))
    return Player(world, clusters=NodeClusters(api), plays_jobs=False)


@dataclass(slots=True)
class NodesOwn(Kubelet):
    """No kubelet is played: the nodes have their own."""

    async def start(self) -> None:
        """Nothing: there are nodes."""

    async def stop(self) -> None:
        """Nothing: they stay."""

    async def serve(self, child: Child) -> None:
        """Wait until the child and its pods are gone."""
        await child.until(lambda one: one.gone and not one.pods)

    async def confirm_end(self, pod: Object, *, after: float, before_end: BeforeEnd) -> None:
        """Nothing: the pod's kubelet confirms it."""


@dataclass(slots=True)
class NodeClusters(RayClusters):
    """Clusters whose pods start Ray, with the Service and the Secret that they need."""

    async def mend(self, child: Child) -> None:
        """Make the Service and the Secret where they are missing, then the pods."""
        assert child.cluster is not None
        name = child.cluster.name
        if not child.live_pods:
            for kind, manifest in (
                ("secrets", token_secret(child, cluster=name)),
                ("services", head_service(child, cluster=name)),
            ):
                try:
                    await self.api.create(kind, child.key, manifest)
                except Refused as error:
                    if error.code != _CONFLICT:
                        raise
        await RayClusters.mend(self, child)

    async def delete(self, child: Child) -> None:
        """Delete the cluster with its Service and Secret."""
        assert child.cluster is not None
        namespace, name = child.key[0], child.cluster.name
        await RayClusters.delete(self, child)
        await self.api.delete("services", (namespace, f"{name}-head-svc"))
        await self.api.delete("secrets", (namespace, name))

    def pod(self, child: Child, slot: Slot, *, index: int) -> Object:
        """Return a pod that starts Ray."""
        assert child.cluster is not None
        pod = cluster_pod(child, slot, index=index)
        return with_ray(pod, slot, cluster=child.cluster.name, namespace=child.key[0])


@dataclass(slots=True)
class Dashboards:
    """The dashboards of the heads, by the addresses of their pods, which this machine reaches."""

    api: Api
    journal: Journal
    _tokens: dict[str, str] = field(default_factory=dict)

    async def start(self, child: Child) -> None:
        """Submit the driver; one that is refused is submitted again after the next look."""
        job = {"entrypoint": child.spec["entrypoint"], "submission_id": child.status["jobId"]}
        try:
            await self._ask(child, "POST", "/api/jobs/", body=job)
        except (aiohttp.ClientError, TimeoutError, Refused) as error:
            self.journal.note(child, "SubmitFailed", why=str(error))
            child.info = None

    async def look(self, child: Child) -> None:
        """Ask Ray how the submitted job is."""
        if child.cluster is None or (head := child.driver_pod) is None or not is_ready(head):
            return
        try:
            found = await self._ask(child, "GET", f"/api/jobs/{child.status['jobId']}")
        except Refused as error:
            child.reachable, child.info = error.code == _NOT_FOUND, None
        except (aiohttp.ClientError, TimeoutError):
            child.reachable = False
        else:
            child.reachable = True
            started, ended = ((found.get(name) or 0) / 1000 for name in ("start_time", "end_time"))
            said, code = found.get("message") or "", found.get("driver_exit_code") or 0
            child.info = RayJobInfo(found["status"], started, ended, exit_code=code, said=said)

    async def withdraw(self, child: Child) -> None:
        """Ask Ray to stop the driver, whatever comes of it."""
        try:
            if child.info is not None and child.cluster is not None and child.driver_pod is not None:
                await self._ask(child, "POST", f"/api/jobs/{child.status['jobId']}/stop")
        except (aiohttp.ClientError, TimeoutError, Refused) as error:
            self.journal.note(child, "StopFailed", why=str(error))

    async def end(self, pod: Object) -> None:
        """Nothing: the pod's kubelet does it."""

    async def kill(self, pod: Object) -> None:
        """Nothing: no scenario of a real cluster kills by the player."""

    async def stop(self) -> None:
        """Nothing: nothing runs on this machine."""

    async def _ask(self, child: Child, method: str, path: str, *, body: Any = None) -> Any:
        """Return the JSON of an answer; raises Refused with the code of any other."""
        head = child.driver_pod
        assert head is not None
        url = f"http://{head['status']['podIP']}:{DASHBOARD_PORT}{path}"
        headers = {"Authorization": f"Bearer {await self._token(child)}"}
        async with (
            aiohttp.ClientSession(timeout=_TIMEOUT, headers=headers) as session,
            session.request(method, url, json=body) as answer,
        ):
            if answer.status >= 400:
                raise Refused(answer.status, await answer.text())
            return await answer.json()

    async def _token(self, child: Child) -> str:
        assert child.cluster is not None
        name = child.cluster.name
        if name not in self._tokens:
            secret = await self.api.get("secrets", (child.key[0], name))
            assert secret, f"Secret {name} is there while its cluster is"
            self._tokens[name] = base64.b64decode(secret["data"][TOKEN_KEY]).decode()
        return self._tokens[name]
