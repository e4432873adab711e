"""The request for a child: everything that decides what the objects of one attempt look like."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from kubedistill.chain import StageName
from kubedistill.contract import StageJob
from kubedistill.labels import PRIORITY_LABEL, QUEUE_LABEL
from kubedistill.manifest.settings import Images, Pool, Settings
from kubedistill.v1alpha1 import KIND, Queue, Spec
from kubedistill_operator import names
from kubedistill_operator.children.layout import child_kind
from kubedistill_operator.kinds import KINDS
from kubedistill_operator.observed import ChildKind
from kubedistill_operator.plan import Manifest


@dataclass(frozen=True, slots=True)
class ChildRequest:
    """One attempt at one stage, with what was frozen for its run and what the operator's settings add."""

    stage_job: StageJob
    pools: Mapping[str, Pool]
    """As frozen with the run."""
    images: Images
    """As frozen with the run."""
    queue: Queue | None
    """The job's queue as it is now: a field that acts at once, so not the one that was frozen."""
    account: str
    """The ServiceAccount of a job that names none, as frozen with the run."""
    volume_claim: str | None
    """The claim that holds the store: the job's, or the settings' for a job that names no storage."""
    settings: Settings
    """The operator's settings as they are now, for everything else."""
    cost_labels: Mapping[str, str] = field(default_factory=dict)
    """Labels of the namespace or the job that the child and its pods carry too."""
    checks_job: bool = True
    """Whether the run's image takes the digest of its StageJob; that of a run that 0.1 froze does not."""

    @property
    def spec(self) -> Spec:
        """The spec as frozen with the run."""
        return self.stage_job.spec

    @property
    def stage(self) -> StageName:
        """The stage that the child runs."""
        return self.stage_job.stage

    @property
    def namespace(self) -> str:
        """The namespace of the job and of everything that belongs to it."""
        return self.stage_job.job.namespace

    @property
    def kind(self) -> ChildKind:
        """What the child is."""
        return child_kind(self.stage)

    @property
    def name(self) -> str:
        """The name of the RayJob or Job, of its ConfigMap, Role and RoleBinding."""
        job, run = self.stage_job.job, self.stage_job.run
        return names.child_name(job.name, self.stage, uid=job.uid, run=run.id, attempt=self.stage_job.attempt)

    @property
    def channel(self) -> str:
        """The name of the ConfigMap that the driver writes."""
        return names.out_name(self.name)

    @property
    def labels(self) -> dict[str, str]:
        """The labels of the child, of its pods and of all that was made for it."""
        job, run = self.stage_job.job, self.stage_job.run
        return names.labels(job.name, uid=job.uid, stage=self.stage, run=run.id, attempt=self.stage_job.attempt)

    @property
    def child_labels(self) -> dict[str, str]:
        """The labels of the RayJob or Job itself: Kueue's too, which on pods would make it queue them once more."""
        queue = {} if self.queue is None else {QUEUE_LABEL: self.queue.name}
        if self.queue is not None and self.queue.priority_class is not None:
            queue[PRIORITY_LABEL] = self.queue.priority_class
        return {**self.cost_labels, **self.labels, **queue}

    @property
    def service_account(self) -> str:
        """The ServiceAccount of the pods."""
        return self.spec.pods.service_account_name or self.account

    @property
    def owner(self) -> Manifest:
        """The job as an owner: the garbage collector removes with it what it owns, and nothing waits for that."""
        job = self.stage_job.job
        return owner_reference(KIND, name=job.name, uid=job.uid)

    @property
    def child(self) -> Manifest:
        """The RayJob or Job as an owner: what it owns goes with it. Whoever creates them fills its uid in."""
        return owner_reference(self.kind, name=self.name, uid="")

    def metadata(self, name: str, *, labels: dict[str, str] | None = None, owner: Manifest | None = None) -> Manifest:
        """The metadata of an object of this attempt: its labels and, as owner, the job, unless told otherwise."""
        return {
            "name": name,
            "namespace": self.namespace,
            "labels": labels or self.labels,
            "ownerReferences": [owner or self.owner],
        }


def owner_reference(kind: str, *, name: str, uid: str) -> Manifest:
    """A controller that does not keep its own deletion waiting."""
    return {
        **KINDS[kind].header,
        "name": name,
        "uid": uid,
        "controller": True,
        "blockOwnerDeletion": False,
    }
