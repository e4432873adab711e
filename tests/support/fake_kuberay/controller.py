"""The player: KubeRay, the Job controller, Kueue, scheduler, kubelets and drivers of a test cluster, in one.

It watches RayJobs, Jobs, pods and channels, and plays every child by its scenario.
"""

import asyncio
import contextlib
import threading
import time
import uuid
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from support.fake_kuberay import jobs, kuberay
from support.fake_kuberay.actions import Script, World
from support.fake_kuberay.api import Key, Mirror, Object, Refused
from support.fake_kuberay.child import KINDS, Child, Cluster, Kind, RayJobInfo, is_ready, is_running
from support.fake_kuberay.pods import beside, job_pod
from support.fake_kuberay.raycluster import RayClusters
from support.fake_kuberay.scenarios import Scenario, choose
from support.fake_kuberay.script import play
from support.fake_kuberay.transitions import FINALIZER, Effect, apply, stamp

_IDLE_SECONDS = 0.5
"""A deadline that is over is seen that late at the latest."""


@dataclass(slots=True)
class Player:
    """Plays the children of a namespace, or of all; `run` ends when it is cancelled."""

    world: World
    namespace: str = ""
    choose: Callable[[str], Scenario] = choose
    clusters: RayClusters | None = None
    """What makes the pods of RayClusters; by default as manifests that a kubelet is played for."""
    plays_jobs: bool = True
    """Whether it plays the Job controller too."""
    away: threading.Event = field(default_factory=threading.Event)
    """Set while KubeRay's operator does not run: no RayJob and no cluster is looked at."""
    children: dict[str, Child] = field(default_factory=dict)
    """By uid, until the child and its pods are gone."""
    _mirrors: dict[str, Mirror] = field(default_factory=dict)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _failure: asyncio.Future[None] | None = None
    _started: set[str] = field(default_factory=set)
    """Pods of Jobs whose driver has started."""
    _ending: set[str] = field(default_factory=set)
    _refused: set[str] = field(default_factory=set)
    """Jobs whose pods were refused, which was told."""
    _channels: dict[Key, Child] = field(default_factory=dict)
    _owners: dict[Key, Child] = field(default_factory=dict)
    """The child of each pod."""

    async def run(self) -> None:
        """Watch and play; raises what a part of it raised."""
        self._failure = asyncio.get_running_loop().create_future()
        handlers = {
            "rayjobs": self._take_child("RayJob"),
            "pods": self._take_pod,
            "configmaps": self._take_channel,
            **({"jobs": self._take_child("Job")} if self.plays_jobs else {}),
        }
        await self.world.kubelet.start()
        try:
            for kind, handler in handlers.items():
                self._mirrors[kind] = Mirror(self.world.api, kind, self.namespace, handler)
                self._spawn(self._mirrors[kind].follow())
            await self._failure
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            await self._leave()

    async def _leave(self) -> None:
        """Take nodes, pods and finalizers along: without us they would keep a namespace from its end."""
        if self.world.executor is not None:
            await self.world.executor.stop()
        for child in [*self.children.values()]:
            for pod in child.pods.values():
                await self.world.api.delete("pods", (child.key[0], pod["metadata"]["name"]), grace=0)
            if FINALIZER in child.object["metadata"].get("finalizers", ()) and not child.gone:
                await self._drop_finalizer(child)
        await self.world.kubelet.stop()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) and self._failure and not self._failure.done():
            self._failure.set_exception(error)

    def _take_child(self, kind: Kind) -> Callable[[Key, Object | None], None]:
        by_key: dict[Key, str] = {}

        def take(key: Key, found: Object | None) -> None:
            uid = found["metadata"]["uid"] if found else ""
            if (known := self.children.get(by_key.get(key, ""))) and known.uid != uid:
                known.gone = True
                known.ring()
            if found is None:
                return
            by_key[key] = uid
            if child := self.children.get(uid):
                if _version(found) > _version(child.object):  # an answer to our own write may be ahead of the watch
                    child.object = found
                child.ring()
            else:
                self._begin(Child(kind, key, uid, found))

        return take

    def _begin(self, child: Child) -> None:
        self.children[child.uid] = child
        self._channels[child.channel_key] = child
        child.channel = self._mirrors["configmaps"].objects.get(child.channel_key)
        for key, pod in self._mirrors["pods"].objects.items():  # the watches tell their news in no order
            if any(owner["uid"] == child.uid for owner in pod["metadata"].get("ownerReferences", ())):
                self._take_pod(key, pod)
        scenario = self.choose(child.job)
        self.world.journal.note(child, "Seen", scenario=scenario.name)
        keep = self._keep_ray_job if child.kind == "RayJob" else self._keep_job
        self._spawn(keep(child))
        self._spawn(self._serve(child))
        self._spawn(play(Script(self.world, child, scenario)))

    async def _serve(self, child: Child) -> None:
        await self.world.kubelet.serve(child)
        self.world.journal.note(child, "Gone")
        del self.children[child.uid]
        if self._channels.get(child.channel_key) is child:
            del self._channels[child.channel_key]

    def _take_pod(self, key: Key, found: Object | None) -> None:
        if found is None:
            if child := self._owners.pop(key, None):
                child.pods.pop(key[1], None)
                child.ring()
            return
        owners = found["metadata"].get("ownerReferences", ())
        child = next((self.children[one["uid"]] for one in owners if one["uid"] in self.children), None)
        if child is not None:
            self._owners[key] = child
            child.pods[key[1]] = found
            child.ring()
        ours = child is not None or found["spec"].get("nodeName") in self.world.kubelet.nodes
        if ours and "deletionTimestamp" in found["metadata"] and found["metadata"]["uid"] not in self._ending:
            self._ending.add(found["metadata"]["uid"])
            linger = (self.choose(child.job) if child else Scenario("", "")).linger * self.world.scale
            self._spawn(self.world.kubelet.confirm_end(found, after=linger, before_end=self._before_end))

    async def _before_end(self, pod: Object) -> None:
        if self.world.executor is not None:
            await self.world.executor.end(pod)

    def _take_channel(self, key: Key, found: Object | None) -> None:
        if child := self._channels.get(key):
            child.channel = found
            child.ring()

    async def _keep_ray_job(self, child: Child) -> None:
        """KubeRay's loop for one RayJob: wait for something, take a poll's time to notice it, act."""
        await asyncio.sleep(self.choose(child.job).kuberay_away * self.world.scale)
        clusters, poll = self.clusters or RayClusters(self.world.api), kuberay.POLL_SECONDS * self.world.scale
        while not child.gone:
            if self.away.is_set():
                await asyncio.sleep(_IDLE_SECONDS)
                continue
            seen = child.changes
            await self._look(child, clusters)
            await child.wait(max(poll, _IDLE_SECONDS), since=seen)
            await asyncio.sleep(poll)

    async def _look(self, child: Child, clusters: RayClusters) -> None:
        state = child.status.get("jobDeploymentStatus", "")
        if child.cluster is not None and not child.is_deleting:
            await clusters.mend(child)
        if self.world.executor is not None and state == "Running":
            await self.world.executor.look(child)
        cluster, head = child.cluster, child.driver_pod
        seen = kuberay.Seen(
            cluster.status if cluster else None,
            child.info,
            child.reachable,
            child.submitter,
            child.submitter_ended,
            head="Gone" if head is None else "Ready" if is_ready(head) else "Coming",
        )
        look = kuberay.Look(child.object, seen, time.time(), self.world.scale)
        event = kuberay.next_event(look)
        if event is None:
            if state in ("Initializing", "Running") and cluster is None and not child.is_deleting:
                child.cluster = Cluster(child.status["rayClusterName"])
                child.ring()
            return
        if event.name == "Seen" and FINALIZER not in child.object["metadata"].get("finalizers", ()):
            await self._set_finalizers(child, [*child.object["metadata"].get("finalizers", ()), FINALIZER])
        outcome = apply(child.status, event, spec=child.spec, now=time.time())
        if outcome.status is not None and not await self._write_status(child, outcome.status):
            return
        await self._carry_out(child, outcome.effect, clusters)
        if child.status.get("jobDeploymentStatus") in ("Suspending", "Retrying") and child.cluster is not None:
            await clusters.delete(child)
            child.ring()

    async def _carry_out(self, child: Child, effect: Effect, clusters: RayClusters) -> None:
        if effect == "Submit" or self._is_submitter_due(child):
            child.info = RayJobInfo("PENDING" if child.slow_start else "RUNNING", started=time.time())
            await self._start(child)
        elif effect == "DeleteCluster":
            await clusters.delete(child)
        elif effect == "RemoveFinalizer":
            if self.world.executor is not None:
                await self.world.executor.withdraw(child)
            await self._drop_finalizer(child)

    @staticmethod
    def _is_submitter_due(child: Child) -> bool:
        """In K8sJobMode a submitter, here without a pod of its own, submits once the job is Running."""
        running = child.status.get("jobDeploymentStatus") == "Running" and child.info is None
        return running and child.spec.get("submissionMode") == "K8sJobMode" and not child.submitter

    async def _start(self, child: Child) -> None:
        child.submissions += 1
        self.world.journal.note(child, "Submitted", number=child.submissions)
        child.ring()
        if self.world.executor is not None:
            await self.world.executor.start(child)

    async def _keep_job(self, child: Child) -> None:
        """The Job controller's loop for one Job; it also sees when the pod, and so the driver, starts."""
        while not child.gone:
            seen = child.changes
            for pod in child.live_pods:
                if is_running(pod) and pod["metadata"]["uid"] not in self._started:
                    self._started.add(pod["metadata"]["uid"])
                    await self._start(child)
            look = jobs.Look(child.object, list(child.pods.values()), time.time(), self.world.scale)
            event = jobs.next_event(look)
            if event is None:
                await child.wait(_IDLE_SECONDS, since=seen)
                continue
            status, effect = jobs.apply(look, event)
            if not await self._write_status(child, status):
                await child.wait(_IDLE_SECONDS, since=seen)
                continue
            if effect == "CreatePod":
                await self._create_job_pod(child)
            elif effect == "DeletePods":
                for pod in look.live:  # a pod that ended stays, for whoever wants to know why
                    await self.world.api.delete("pods", (child.key[0], pod["metadata"]["name"]))

    async def _create_job_pod(self, child: Child) -> None:
        try:
            if child.refuse_pods:
                raise Refused(403, child.refuse_pods)
            pod, sidecar = job_pod(child), self.choose(child.job).sidecar
            pod = beside(pod, native=sidecar == "Native") if sidecar else pod
            pod = await self.world.api.create("pods", child.key, pod)
        except Refused as error:
            await self._tell_refusal(child, error)
            await child.wait(_IDLE_SECONDS)
        else:
            child.pods[pod["metadata"]["name"]] = pod
            child.ring()

    async def _tell_refusal(self, child: Child, error: Refused) -> None:
        """Kubernetes says it in an Event alone, counts the same up in it, and tries again."""
        if child.uid in self._refused:
            return
        self._refused.add(child.uid)
        name, now = f"{child.name}.{uuid.uuid4().hex[:16]}", stamp(time.time())
        event = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": name, "namespace": child.key[0]},
            "involvedObject": {
                "apiVersion": child.object["apiVersion"],
                "kind": child.kind,
                "namespace": child.key[0],
                "name": child.name,
                "uid": child.uid,
            },
            "type": "Warning",
            "reason": "FailedCreate",
            "message": f"Error creating: {error.message}",
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
            "source": {"component": "job-controller"},
        }
        with contextlib.suppress(Refused):  # a namespace that is being deleted takes no Events either
            await self.world.api.create("events", (child.key[0], name), event)

    async def _write_status(self, child: Child, status: Object) -> bool:
        """Write a status; False where the object has moved on or gone, which the watch will tell."""
        try:
            answer = await self.world.api.replace_status(KINDS[child.kind], {**child.object, "status": status})
        except Refused as error:
            if error.code not in (404, 409):
                raise
            return False
        child.object = answer
        child.ring()
        return True

    async def _drop_finalizer(self, child: Child) -> None:
        kept = [one for one in child.object["metadata"].get("finalizers", ()) if one != FINALIZER]
        await self._set_finalizers(child, kept)

    async def _set_finalizers(self, child: Child, finalizers: list[str]) -> None:
        try:
            patch = {"metadata": {"finalizers": finalizers}}
            child.object = await self.world.api.patch(KINDS[child.kind], child.key, patch)
        except Refused as error:
            if error.code != 404:
                raise


def _version(value: Object) -> int:
    return int(value["metadata"]["resourceVersion"])
