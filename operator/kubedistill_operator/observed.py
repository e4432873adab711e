"""The state of the cluster as it was read: plain values, so that every decision is a pure function of them.

Times are seconds since the epoch, UTC.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from kubedistill.chain import ArtifactName
from kubedistill.contract import StageProgress, StageResult

Resource = Mapping[str, Any]
"""A Kubernetes object from the API server, or a part of one; read-only."""
ChildKind = Literal["RayJob", "Job"]
ChildState = Literal["Waiting", "Running", "Ended"]
ContainerState = Literal["", "Waiting", "Running", "Ended"]
PodPhase = Literal["Pending", "Running", "Succeeded", "Failed", "Unknown"]
DELAYED = "WriteDelayed"
"""Reason of a Refusal that will pass: the API server is busy, or a webhook that it calls is not available."""

UNREADABLE = "ReadRefused"
"""Reason of a wait for the right to read what exists of a job."""


@dataclass(frozen=True, slots=True)
class Pod:
    """One pod of a child."""

    name: str
    uid: str
    phase: PodPhase
    created: float
    node: str = ""
    waiting_reason: str = ""
    """Why a container waits (ImagePullBackOff, CreateContainerConfigError), or why the pod is not scheduled."""
    waiting_message: str = ""
    exit_code: int | None = None
    """Exit code of the last container that ended."""
    exit_reason: str = ""
    """OOMKilled, Error, Evicted, Preempting, …"""
    exit_message: str = ""
    """Kubelet's message about it, or the last line that the container wrote."""
    restarts: int = 0
    """How often one of its containers was restarted in place."""
    is_worker: bool = False
    """Whether it is a worker of a Ray cluster, and not its head."""
    is_idle: bool = False
    """Whether it is on a node, and none of its containers has run yet."""
    ready_since: float | None = None
    """Since when all of its containers are ready."""
    driver: ContainerState = ""
    """The state of the driver's container in a Job, whatever the others do; empty if there is none or unknown."""
    deleting: bool = False
    ends_by: float | None = None
    """When its grace period ends, if it was deleted."""
    node_lost_since: float | None = None
    """Since when its node is absent or NotReady."""
    node_tainted: bool = False
    """Whether its node is being removed: a spot notice, a drain or an autoscaler."""

    def is_gone(self, now: float, *, node_lost_seconds: float) -> bool:
        """Return whether nothing of it can run anymore."""
        if self.phase in ("Succeeded", "Failed"):
            return True
        return self.node_lost_since is not None and now - self.node_lost_since >= node_lost_seconds


def first_idle(pods: Sequence[Pod]) -> Pod | None:
    """Return the pod that has been idle longest; None if there is none."""
    return min((pod for pod in pods if pod.is_idle), key=lambda pod: (pod.created, pod.name), default=None)


@dataclass(frozen=True, slots=True)
class Child:
    """The RayJob or Job of an attempt."""

    kind: ChildKind
    name: str
    uid: str
    created: float
    state: ChildState
    """Waiting: not running yet, or suspended by a queue. Ended: it will start nothing else."""
    reason: str = ""
    """The child's own reason: DeadlineExceeded, SubmissionFailed, BackoffLimitExceeded, ValidationFailed, …"""
    message: str = ""
    admitted: bool = True
    """False while a queue holds it back."""
    evicted: bool = False
    """Whether a queue has withdrawn its admission."""
    ready: bool = True
    """Whether all containers of a Job's pod are ready; not known for a RayJob."""
    noticed: bool = True
    """Whether its controller has written a status."""
    has_submitter: bool = False
    """Whether KubeRay submits the driver with a Job of its own, which has the child's name."""
    deleting: bool = False
    is_owned: bool = True
    """Whether the job still owns it; after a deletion with `--cascade=orphan`, nobody does."""

    @property
    def is_live(self) -> bool:
        """Whether its driver runs or may still start under its current admission."""
        return self.state != "Ended" and not self.evicted


@dataclass(frozen=True, slots=True)
class Channel:
    """The `<child>-out` ConfigMap of an attempt; everything that a driver wrote has been checked."""

    owner: str
    starts: int = 0
    progress: StageProgress | None = None
    result: StageResult | None = None
    stop: bool = False
    problem: str = ""
    """Why its content cannot be read; it then counts as empty."""


@dataclass(frozen=True, slots=True)
class StoredSnapshot:
    """A ConfigMap that has the name of a frozen run; `run_snapshot.is_intact` checks it against the status."""

    name: str
    snapshot: str
    """The sha256 of its run.json."""
    values: Resource
    """The content of run.json; empty if it is not a JSON object."""

    @property
    def run_id(self) -> str:
        """The ID of the run."""
        return str(self.values["id"])

    @property
    def digest(self) -> str:
        """The digest of its spec."""
        return str(self.values["digest"])

    @property
    def contract(self) -> int:
        """Contract of the version that froze it."""
        return int(self.values["contract"])


@dataclass(frozen=True, slots=True)
class Attempt:
    """Everything of one attempt that exists in the cluster."""

    child: Child | None = None
    channel: Channel | None = None
    pods: tuple[Pod, ...] = ()
    pods_refused: str = ""
    """Why no pod could be created, from an Event; empty if there is none, or Events may not be read."""
    idle_event: str = ""
    """The latest Event of its first idle pod; empty as above."""
    replaced: tuple[Pod, ...] = ()
    """Pods that failed recently while their child started, and that KubeRay has replaced; the latest is last."""
    is_whole: bool = True
    """Whether the object that is created last exists too; checked until its child is adopted."""

    @property
    def is_job(self) -> bool:
        """Whether it is known not to have a Ray cluster, though its child may be gone."""
        return self.child.kind == "Job" if self.child is not None else any(pod.driver for pod in self.pods)

    @property
    def driver(self) -> ContainerState:
        """The state of a Job's driver, from its pod; empty if it has no pod, or is a RayJob."""
        ours = self.pods if self.child is not None and self.child.kind == "Job" else ()
        return max((pod.driver for pod in ours), key=get_args(ContainerState).index, default="")

    @property
    def lingers(self) -> bool:
        """Whether its driver has ended and sidecars keep its Job from ending.

        A pod without sidecars is over with its driver, but its Job ends only when the Job controller has seen that.
        """
        if self.child is None or self.child.state == "Ended" or self.driver != "Ended":
            return False
        return any(pod.phase not in ("Succeeded", "Failed") for pod in self.pods)

    @property
    def is_live(self) -> bool:
        """Whether its driver runs or may still start.

        A Job has one pod: once the driver's container has ended nothing else will run, whatever sidecars do.
        """
        if self.child is None or not self.child.is_live:
            return False
        return self.driver != "Ended"

    @property
    def has_started(self) -> bool:
        """Whether a driver has ever started, even if its child was never seen."""
        return self.channel is not None and self.channel.starts > 0


@dataclass(frozen=True, slots=True)
class Competitor:
    """Another job on the same store that makes, or has made, an artifact which this job still lacks."""

    namespace: str
    name: str
    uid: str
    keys: Mapping[ArtifactName, str] = field(default_factory=dict)
    """Artifacts that its child is making."""
    made: Mapping[ArtifactName, str] = field(default_factory=dict)
    """Artifacts that were complete according to its latest status."""
    made_at: float = 0.0
    """When its latest stage ended."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """What the API server refused to create."""

    reason: str
    """NameTaken, WriteDelayed, or empty if only the message is known: a quota, a policy, a missing right."""
    message: str
    is_passing: bool = False
    """Whether the obstacle will go by itself."""


@dataclass(frozen=True, slots=True)
class Observed:
    """Everything that one reconcile knows about the cluster, besides the job itself."""

    attempt: Attempt = Attempt()
    """The current attempt, by the names in the status."""
    earlier: tuple[Attempt, ...] = ()
    """Older attempts of this job that still have a child or pods."""
    frozen: StoredSnapshot | None = None
    claim_access_modes: tuple[str, ...] | None = None
    """Access modes of the storage claim; None if the claim does not exist or none is named."""
    cache_access_modes: tuple[str, ...] | None = None
    """Access modes of the claim of `modelCache`; None as above."""
    missing_config_maps: tuple[str, ...] = ()
    """ConfigMaps that pods would mount and that do not exist; looked up before a run starts."""
    competitors: tuple[Competitor, ...] = ()
    active_in_namespace: int = 0
    """Other jobs of the namespace that have a child now."""
    gpus_in_namespace: Mapping[str, int] = field(default_factory=dict)
    """GPUs that those jobs hold, by pool."""
    namespace_labels: Mapping[str, str] = field(default_factory=dict)
    """Labels of the namespace, read before a run starts that will carry some of them."""
    refusal: Refusal | None = None
    """Why the last write was refused; None if it was not, or there was none."""
    unreadable: str = ""
    """Which right to read we lack; if set, nothing else is known."""
