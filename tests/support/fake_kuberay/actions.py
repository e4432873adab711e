"""What a step does to the world, one function for each word; and what a step can wait for."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, get_args

from kubedistill.chain import ArtifactName
from support.fake_kuberay import pods
from support.fake_kuberay.api import Api, Object, Refused
from support.fake_kuberay.child import HEAD, KINDS, ONLY, WORKER, Child, RayJobInfo, Wish, is_running, role_of
from support.fake_kuberay.driver import ClaimLost, Driver, read_stage_job
from support.fake_kuberay.journal import Journal
from support.fake_kuberay.kubelet import Kubelet
from support.fake_kuberay.scenarios import Do, Scenario, When

FLAVOR = {"kubedistill.io/flavor": "player"}
_EXIT_STATUS = {0: "SUCCEEDED"}
_BAD_INPUT, _CLAIM_LOST = 2, 75
HEAD_SECONDS = 15
"""From a head's restart in place until it is ready: its readiness probe waits for 10 s, and Ray starts meanwhile."""
_MOUNT_SECONDS = 0.05
"""Between two looks of the kubelet at what a pod is to mount."""
Values = Mapping[str, Any]


class Executor(Protocol):
    """What runs real drivers; steps play them where there is none."""

    async def start(self, child: Child) -> None:
        """Start the driver of a child whose pods run."""
        ...

    async def look(self, child: Child) -> None:
        """Bring what is known of a driver that was submitted up to date."""
        ...

    async def withdraw(self, child: Child) -> None:
        """Stop the driver of a child that is being deleted."""
        ...

    async def end(self, pod: Object) -> None:
        """End what runs in a pod that was deleted."""
        ...

    async def kill(self, pod: Object) -> None:
        """Kill what runs in a pod."""
        ...

    async def stop(self) -> None:
        """End everything."""
        ...


@dataclass(slots=True)
class World:
    """What scripts act on."""

    api: Api
    kubelet: Kubelet
    journal: Journal
    scale: float
    """Real seconds for each second of a scenario."""
    as_account: bool = True
    """Whether drivers write with their own account's token, as in a pod."""
    executor: Executor | None = None
    stores: dict[str, set[str]] = field(default_factory=dict)
    """The keys that each store holds, by its URI, in script mode."""
    makes: Collection[str] = get_args(ArtifactName)
    """The artifacts that the images of drivers know, in script mode."""


@dataclass(slots=True)
class Script:
    """A child with its scenario, and the drivers that have started in it."""

    world: World
    child: Child
    scenario: Scenario
    drivers: list[Driver] = field(default_factory=list)
    """One for each claim, the latest last."""
    is_running: bool = False
    """Whether the latest of them runs."""
    is_leaving: bool = False
    """Whether what follows is played in spite of a stop or a deletion."""

    @property
    def must_stop(self) -> bool:
        """Whether the driver was asked to stop, and listens."""
        return self.is_running and not self.is_leaving and not self.scenario.deaf and self.child.is_stop_asked

    async def as_driver(self, write: Callable[[Driver], Awaitable[None]], *, number: int = 0) -> None:
        """Let a driver write: the latest, or the number-th; one that has lost its claim ends with 75."""
        if not self.drivers:
            return
        driver = self.drivers[number - 1]
        try:
            await write(driver)
        except ClaimLost as error:
            self.world.journal.note(self.child, "ClaimLost", driver=driver.id, exitCode=_CLAIM_LOST, why=str(error))


def is_suspended(child: Child) -> bool:
    """Return whether the controller has carried a suspension out."""
    if child.kind == "RayJob":
        return child.status.get("jobDeploymentStatus") == "Suspended"
    conditions = child.status.get("conditions", [])
    return any(one["type"] == "Suspended" and one["status"] == "True" for one in conditions)


async def schedule(script: Script, values: Values) -> None:
    node = f"node-{script.child.uid[:8]}" if values.get("node") == "own" else script.child.wish.node
    script.child.wish = Wish("Scheduled", node=node)


async def hamper(script: Script, values: Values) -> None:
    script.child.wish = Wish(values["state"], values.get("reason", ""), values["message"])


async def run(script: Script, values: Values) -> None:
    script.child.wish = Wish("Running", node=script.child.wish.node)


async def refuse_pods(script: Script, values: Values) -> None:
    script.child.refuse_pods = values["message"]


async def kill_driver(script: Script, values: Values) -> None:
    """End the container that the driver runs in: it restarts in place, or its pod has failed, or is replaced."""
    child, world, pod = script.child, script.world, script.child.driver_pod
    assert pod is not None
    reason, now = values.get("reason", "Error"), time.time()
    if world.executor is not None:
        await world.executor.kill(pod)
    if values.get("replace"):
        child.pods.pop(pod["metadata"]["name"], None)
        await world.api.delete("pods", (child.key[0], pod["metadata"]["name"]), grace=0)
    elif role_of(pod) == ONLY or pod["spec"].get("restartPolicy") == "Never":
        status = pods.driver_ended if role_of(pod) == ONLY else pods.ended
        await world.kubelet.set_status(pod, status(pod, code=137, reason=reason, now=now))
    else:
        await world.kubelet.set_status(pod, pods.restarted(pod, code=137, reason=reason, now=now))
    child.info, child.slow_start, script.is_running = None, bool(values.get("pending")), False
    world.journal.note(child, "DriverKilled", reason=reason)
    if role_of(pod) == HEAD:
        await _come_back(script, pod)


async def _come_back(script: Script, head: Object) -> None:
    """A head that restarted in place is ready after its probes' delay; its workers end, since it knows them no more."""
    child, kubelet = script.child, script.world.kubelet
    await asyncio.sleep(HEAD_SECONDS * script.world.scale)
    if found := child.pods.get(head["metadata"]["name"]):
        await kubelet.set_status(found, pods.back(found, now=time.time()))
    for worker in child.live_pods:
        if role_of(worker) == WORKER:
            await kubelet.set_status(worker, pods.ended(worker, code=1, reason="Error", now=time.time()))


async def kill_worker(script: Script, values: Values) -> None:
    for pod in script.child.live_pods:
        if role_of(pod) == WORKER:
            status = pods.ended(pod, code=137, reason=values["reason"], now=time.time())
            await script.world.kubelet.set_status(pod, status)
            return


async def evict_pod(script: Script, values: Values) -> None:
    """Put a worker, or the only pod, out: by its kubelet, or by a deletion that says why."""
    others = [pod for pod in script.child.live_pods if role_of(pod) != HEAD]
    pod = others[0] if others else script.child.driver_pod
    assert pod is not None
    reason, message, now = values["reason"], values["message"], time.time()
    if reason == "TerminationByKubelet":
        await script.world.kubelet.set_status(pod, pods.evicted(reason, message, now=now))
    else:
        await script.world.kubelet.set_status(pod, pods.doomed(pod, reason, message, now=now))
        await script.world.api.delete("pods", (script.child.key[0], pod["metadata"]["name"]))


async def reject_pod(script: Script, values: Values) -> None:
    """Have the kubelet refuse the only pod, which no container of it survives."""
    pod = script.child.driver_pod
    assert pod is not None
    await script.world.kubelet.set_status(pod, pods.rejected(values["reason"], values["message"]))


async def lose_node(script: Script, values: Values) -> None:
    """The node and what runs on it answer nobody any more."""
    script.child.reachable = False
    await script.world.kubelet.lose_node(script.child.wish.node, vanish=bool(values.get("vanish")))


async def taint_node(script: Script, values: Values) -> None:
    await script.world.kubelet.taint_node(script.child.wish.node, key=values["key"])


async def silence_dashboard(script: Script, values: Values) -> None:
    script.child.reachable = False


async def end_submitter(script: Script, values: Values) -> None:
    script.child.submitter, script.child.submitter_ended = values["how"], time.time()


async def edit(script: Script, values: Values) -> None:
    """Somebody else's patch of the child's spec."""
    await _patch(script, {"spec": values["spec"]})


async def vanish(script: Script, values: Values) -> None:
    await script.world.api.delete(KINDS[script.child.kind], script.child.key, uid=script.child.uid)


async def hold(script: Script, values: Values) -> None:
    """What Kueue's webhook does to a new child with a queue; here a moment later."""
    if not script.child.spec.get("suspend"):
        await _patch(script, {"spec": {"suspend": True}})


async def admit(script: Script, values: Values) -> None:
    """What Kueue does on admission: the flavor's node selector into the templates, then no suspension any more."""
    selector = {"template": {"spec": {"nodeSelector": FLAVOR}}}
    changes = {"rayClusterSpec": {"headGroupSpec": selector}} if script.child.kind == "RayJob" else selector
    await _patch(script, {"spec": {**changes, "suspend": False}})
    script.world.journal.note(script.child, "Admitted")


async def evict(script: Script, values: Values) -> None:
    await _patch(script, {"spec": {"suspend": True}})
    script.world.journal.note(script.child, "Evicted", reason=values["reason"])


async def claim(script: Script, values: Values) -> None:
    """A driver starts: it reads its job and claims the attempt."""
    child = script.child
    await mounted(script)
    child.heard = child.submissions
    if child.info is not None:
        child.info.status = "RUNNING"
    try:
        job = read_stage_job(await script.world.api.get("configmaps", child.key))
    except ValueError:
        await exit_driver(script, {"code": _BAD_INPUT})
        return
    script.is_running = True
    store = script.world.stores.setdefault(job.store, set())
    script.drivers.append(
        Driver(await driver_api(script.world, child), child.channel_key, job, store, script.world.makes)
    )
    script.world.journal.note(child, "DriverStarted", driver=script.drivers[-1].id)
    await script.as_driver(Driver.claim)


async def mounted(script: Script) -> None:
    """Wait as the kubelet does: no container starts before the ConfigMap that it mounts is there."""
    child = script.child
    while not child.is_deleting and await script.world.api.get("configmaps", child.key) is None:
        await asyncio.sleep(_MOUNT_SECONDS)


async def progress(script: Script, values: Values) -> None:
    rest = {name: value for name, value in values.items() if name not in ("driver", "done", "total")}
    number = values.get("driver", 0)
    await script.as_driver(lambda one: one.progress(values["done"], values["total"], **rest), number=number)


async def result(script: Script, values: Values) -> None:
    rest = {name: value for name, value in values.items() if name not in ("driver", "outcome")}
    await script.as_driver(lambda one: one.result(values["outcome"], **rest), number=values.get("driver", 0))
    script.world.journal.note(script.child, "Result", outcome=values["outcome"])


async def write(script: Script, values: Values) -> None:
    await script.as_driver(lambda one: one.write_raw(values["name"], values["text"]))


async def exit_driver(script: Script, values: Values) -> None:
    """The driver's process ends: Ray's job has a status, a Job's pod a phase."""
    script.is_running = False
    code, status = values.get("code", 0), values.get("status", "")
    await end_driver(script.world, script.child, code=code, status=status, now=time.time())


async def end_driver(world: World, child: Child, *, code: int, status: str = "", now: float) -> None:
    """Tell whoever started a driver that it ended."""
    world.journal.note(child, "DriverEnded", exitCode=code)
    if child.kind == "RayJob":
        if child.info is not None:
            ended = status or _EXIT_STATUS.get(code, "FAILED")
            child.info = RayJobInfo(ended, child.info.started, now, exit_code=code)
            child.submitter, child.submitter_ended = child.submitter or "Finished", now
        child.ring()
    elif (pod := child.driver_pod) is not None and is_running(pod):
        reason = "Completed" if code == 0 else "Error"
        await world.kubelet.set_status(pod, pods.driver_ended(pod, code=code, reason=reason, now=now))


async def driver_api(world: World, child: Child) -> Api:
    """Return the API as the driver's pod sees it: with a token of its account where a token is mounted."""
    pod = child.driver_pod
    if not world.as_account or pod is None:
        return world.api
    sources = [source for volume in pod["spec"].get("volumes", ()) for source in _projected(volume)]
    if not any("serviceAccountToken" in source for source in sources):
        return world.api.as_bearer("none-is-mounted")
    try:
        return world.api.as_bearer(await request_token(world.api, pod))
    except Refused as error:  # the pod or its account has gone
        world.journal.note(child, "NoToken", why=str(error))
        return world.api.as_bearer("none-is-given")


async def request_token(api: Api, pod: Values, *, seconds: int = 3600) -> str:
    """Return a token of a pod's account, bound to the pod, as the kubelet asks for one."""
    key = (pod["metadata"]["namespace"], pod["spec"].get("serviceAccountName", "default"))
    bound = {"apiVersion": "v1", "kind": "Pod", "name": pod["metadata"]["name"], "uid": pod["metadata"]["uid"]}
    body = {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenRequest",
        "spec": {"expirationSeconds": seconds, "boundObjectRef": bound},
    }
    answer = await api.create("serviceaccounts", key, body, sub="token")
    return str(answer["status"]["token"])


def _projected(volume: Values) -> list[Values]:
    return (volume.get("projected") or {}).get("sources") or []


async def _patch(script: Script, patch: Values) -> None:
    child = script.child
    try:
        child.object = await script.world.api.patch(KINDS[child.kind], child.key, patch)
    except Refused as error:
        if error.code != 404:
            raise


CONDITIONS: dict[When, Callable[[Child], bool]] = {
    "": lambda child: True,
    "Placed": lambda child: child.driver_pod is not None,
    "Submitted": lambda child: child.submissions > child.heard,
    "Working": lambda child: child.is_working,
    "StopAsked": lambda child: child.is_stop_asked,
    "Suspended": is_suspended,
    "Deleted": lambda child: child.is_deleting,
    "Gone": lambda child: child.gone and not child.pods,
}
ACTIONS: dict[Do, Callable[[Script, Values], Awaitable[None]]] = {
    "Schedule": schedule, "Hamper": hamper, "Run": run, "RefusePods": refuse_pods, "KillDriver": kill_driver,
    "KillWorker": kill_worker, "EvictPod": evict_pod, "RejectPod": reject_pod,
    "LoseNode": lose_node, "TaintNode": taint_node,
    "SilenceDashboard": silence_dashboard, "EndSubmitter": end_submitter, "Edit": edit, "Vanish": vanish,
    "Hold": hold, "Admit": admit, "Evict": evict, "Claim": claim, "Progress": progress, "Result": result,
    "Write": write, "Exit": exit_driver,
}  # fmt: skip
