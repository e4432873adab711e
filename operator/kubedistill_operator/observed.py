"""What the cluster looked like when it was asked: plain values, so that every decision is a pure function of them.

Times are seconds since the epoch, UTC.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from kubedistill.chain import ArtifactName
from kubedistill.contract import StageProgress, StageResult

ChildKind = Literal["RayJob", "Job"]
ChildState = Literal["Waiting", "Running", "Ended"]
PodPhase = Literal["Pending", "Running", "Succeeded", "Failed", "Unknown"]


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
    deleting: bool = False
    node_lost_since: float | None = None
    """Since when its node is absent or NotReady."""
    node_tainted: bool = False
    """Whether its node is being taken away: a spot notice, a drain or an autoscaler."""

    def is_gone(self, now: float, *, node_lost_seconds: float) -> bool:
        """Whether nothing of it can run any more."""
        if self.phase in ("Succeeded", "Failed"):
            return True
        return self.node_lost_since is not None and now - self.node_lost_since >= node_lost_seconds


@dataclass(frozen=True, slots=True)
class Child:
    """The RayJob or Job of an attempt, whichever API it came from."""

    kind: ChildKind
    name: str
    uid: str
    created: float
    state: ChildState
    """Waiting: not running yet, or suspended by a queue. Ended: it will start nothing more."""
    reason: str = ""
    """The child's own reason: DeadlineExceeded, SubmissionFailed, BackoffLimitExceeded, ValidationFailed, …"""
    message: str = ""
    admitted: bool = True
    """False while a queue holds it back."""
    evicted: bool = False
    """Whether a queue took its admission away after it had been given."""
    deleting: bool = False
    is_owned: bool = True
    """Whether it still belongs to the job, and not to nobody since a deletion with `--cascade=orphan`."""

    @property
    def is_live(self) -> bool:
        """Whether its driver runs or may still start under the admission that it has."""
        return self.state != "Ended" and not self.evicted


@dataclass(frozen=True, slots=True)
class Channel:
    """The `<child>-out` ConfigMap of an attempt; whatever a driver wrote into it has been checked."""

    owner: str
    starts: int = 0
    progress: StageProgress | None = None
    result: StageResult | None = None
    stop: bool = False
    problem: str = ""
    """What is wrong with its content, if it can't be read; it then counts as empty."""


@dataclass(frozen=True, slots=True)
class Frozen:
    """A ConfigMap that has the name of a frozen run; `freeze.is_intact` says whether it is the one of status."""

    name: str
    snapshot: str
    """The sha256 of its run.json."""
    values: Mapping[str, Any]
    """The content of run.json; empty where that is no JSON object."""

    @property
    def run_id(self) -> str:
        """The run's name."""
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
    """Everything of one attempt that is in the cluster."""

    child: Child | None = None
    channel: Channel | None = None
    pods: tuple[Pod, ...] = ()

    @property
    def has_started(self) -> bool:
        """Whether a driver of it was ever at work, even if nobody saw its child."""
        return self.channel is not None and self.channel.starts > 0


@dataclass(frozen=True, slots=True)
class Rival:
    """Another job on the same store that makes, or has made, an artifact which this one still lacks."""

    namespace: str
    name: str
    uid: str
    keys: Mapping[ArtifactName, str] = field(default_factory=dict)
    """Artifacts that its child is making."""
    made: Mapping[ArtifactName, str] = field(default_factory=dict)
    """Artifacts that were complete when it last said so."""
    made_at: float = 0.0
    """When its latest stage ended."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """What the API server would not have made."""

    reason: str
    """ExceededQuota, NameTaken, or empty for all else: a policy, a right that is missing."""
    message: str


@dataclass(frozen=True, slots=True)
class Observed:
    """All that one reconcile knows of the cluster, besides the job itself."""

    attempt: Attempt = Attempt()
    """The current attempt, by the names that status records."""
    earlier: tuple[Attempt, ...] = ()
    """Older attempts of this job that still have a child or pods."""
    frozen: Frozen | None = None
    claim_access_modes: tuple[str, ...] | None = None
    """Access modes of the storage claim; None where the claim does not exist or none is named."""
    rivals: tuple[Rival, ...] = ()
    active_in_namespace: int = 0
    """Other jobs of the namespace that have a child now."""
    refusal: Refusal | None = None
    """Why what was decided a moment ago could not be made; None where it could, or nothing was to be made."""
