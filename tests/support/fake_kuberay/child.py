"""A child that is being played: the RayJob or Job, its pods and channel, and what happens inside it."""

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from support.fake_kuberay.api import Key, Object

Kind = Literal["RayJob", "Job"]
KINDS: dict[Kind, str] = {"RayJob": "rayjobs", "Job": "jobs"}
HEAD, WORKER, ONLY = "head", "worker", "only"
_RAY_SAYS = {
    "PENDING": "Job has not started yet.", "RUNNING": "Job is currently running.",
    "SUCCEEDED": "Job finished successfully.", "STOPPED": "Job was intentionally stopped.",
}  # fmt: skip
PodState = Literal["Created", "Unschedulable", "Scheduled", "Waiting", "Running"]


@dataclass(frozen=True, slots=True)
class Wish:
    """What becomes of every pod of a child, those that come later included."""

    state: PodState = "Created"
    reason: str = ""
    message: str = ""
    node: str = ""
    """Name of the node; empty for the one that all share."""


@dataclass(slots=True)
class Cluster:
    """A RayCluster: what KubeRay would keep as an object of its own."""

    name: str
    status: Object = field(default_factory=dict)
    provisioned: bool = False
    refusal: str = ""
    """Why the API server refused its pods."""


@dataclass(slots=True)
class RayJobInfo:
    """What Ray's dashboard knows of the submitted job; a new head knows nothing."""

    status: str
    started: float = 0.0
    ended: float = 0.0
    exit_code: int = 0
    said: str = ""
    """The message of a real dashboard."""

    @property
    def message(self) -> str:
        """What Ray says of it: ray:python/ray/dashboard/modules/job/common.py JobInfo, and job_supervisor.py."""
        if self.said:
            return self.said
        failed = f"Job entrypoint command failed with exit code {self.exit_code}. No logs available."
        return {**_RAY_SAYS, "FAILED": failed}[self.status]


@dataclass(slots=True, eq=False)
class Child:
    """One RayJob or Job, from its creation until its object is gone."""

    kind: Kind
    key: Key
    uid: str
    object: Object
    pods: dict[str, Object] = field(default_factory=dict)
    channel: Object | None = None
    gone: bool = False
    wish: Wish = field(default_factory=Wish)
    cluster: Cluster | None = None
    info: RayJobInfo | None = None
    reachable: bool = True
    """Whether the dashboard answers."""
    submitter: Literal["", "Hangs", "Failed", "Finished"] = ""
    submitter_ended: float = 0.0
    refuse_pods: str = ""
    """Why pods are refused, if they are to be: the message of a quota."""
    slow_start: bool = True
    """Whether the dashboard shows PENDING until the driver runs."""
    submissions: int = 0
    """How often a driver was started."""
    heard: int = 0
    """How many of those starts the scenario has acted on."""
    changes: int = 0
    """How often something has changed."""
    _bell: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def name(self) -> str:
        return self.key[1]

    @property
    def spec(self) -> Mapping[str, Any]:
        return self.object["spec"]

    @property
    def status(self) -> Mapping[str, Any]:
        return self.object.get("status") or {}

    @property
    def labels(self) -> Mapping[str, str]:
        return self.object["metadata"].get("labels") or {}

    @property
    def stage(self) -> str:
        return self.labels.get("kubedistill.io/stage", "")

    @property
    def attempt(self) -> int:
        return int(self.labels.get("kubedistill.io/attempt", "1"))

    @property
    def job(self) -> str:
        """Name of the DistillationJob."""
        return self.labels.get("kubedistill.io/job", self.name)

    @property
    def channel_key(self) -> Key:
        return self.key[0], f"{self.name}-out"

    @property
    def is_deleting(self) -> bool:
        return self.gone or "deletionTimestamp" in self.object["metadata"]

    @property
    def is_stop_asked(self) -> bool:
        return self._data.get("stop") == "true"

    @property
    def is_working(self) -> bool:
        """Whether a driver has said that some of its work is done."""
        try:
            return json.loads(self._data.get("progress.json", "{}")).get("done", 0) > 0
        except (ValueError, AttributeError):  # a driver may write anything
            return False

    @property
    def _data(self) -> Mapping[str, str]:
        return (self.channel or {}).get("data") or {}

    @property
    def driver_pod(self) -> Object | None:
        """The pod that the driver runs in: the head, or a Job's only one; the newest where one replaces another."""
        found = [pod for pod in self.live_pods if role_of(pod) != WORKER]
        return max(found, key=lambda pod: pod["metadata"]["creationTimestamp"]) if found else None

    @property
    def live_pods(self) -> list[Object]:
        """The pods that are not on their way out."""
        return [pod for pod in self.pods.values() if "deletionTimestamp" not in pod["metadata"]]

    def ring(self) -> None:
        """Tell whoever waits that something has changed."""
        self.changes += 1
        self._bell.set()
        self._bell = asyncio.Event()

    async def wait(self, seconds: float | None = None, *, since: int | None = None) -> None:
        """Until something changes, or has changed since a count of changes, or for so many seconds."""
        if since is not None and since != self.changes:
            return
        bell = self._bell
        try:
            await asyncio.wait_for(bell.wait(), seconds)
        except TimeoutError:
            return

    async def until(self, holds: Callable[["Child"], bool], *, seconds: float | None = None) -> bool:
        """Wait until something holds; False if it did not within so many seconds."""
        loop = asyncio.get_running_loop()
        end = None if seconds is None else loop.time() + seconds
        while not holds(self):
            left = None if end is None else end - loop.time()
            if left is not None and left <= 0:
                return False
            await self.wait(left)
        return True


def role_of(pod: Object) -> str:
    """head, worker or, of a Job, only."""
    return str(pod["metadata"]["labels"].get("ray.io/node-type", ONLY))


def is_running(pod: Object) -> bool:
    return pod.get("status", {}).get("phase") == "Running"


def is_ready(pod: Object) -> bool:
    conditions = pod.get("status", {}).get("conditions", [])
    return is_running(pod) and any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)
