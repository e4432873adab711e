"""The request for a child: everything that determines the objects of one attempt."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from kubedistill.chain import StageName
from kubedistill.contract import StageJob, key_variable
from kubedistill.labels import PRIORITY_LABEL, QUEUE_LABEL
from kubedistill.manifest.settings import Images, Pool, Settings
from kubedistill.v1alpha1 import KIND, Queue, SecretKeyRef, Spec
from kubedistill_operator import names
from kubedistill_operator.children.child_kinds import child_kind
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
    """The job's queue as it is now, and not as frozen: changes to this field act at once."""
    account: str
    """The ServiceAccount of a job that names none, as frozen with the run."""
    volume_claim: str | None
    """The claim that holds the store: the job's, or the default of the settings."""
    settings: Settings
    """The operator's current settings, for everything else."""
    cost_labels: Mapping[str, str] = field(default_factory=dict)
    """Labels of the namespace or the job that the child and its pods carry too."""
    checks_job: bool = True
    """Whether the run's image accepts the digest of its StageJob; the image of 0.1 does not."""

    @property
    def spec(self) -> Spec:
        """The spec as it was frozen for the run."""
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
        """The kind of the child."""
        return child_kind(self.stage, self.spec)

    @property
    def endpoint_keys(self) -> dict[str, SecretKeyRef]:
        """The variables with the API keys of endpoints, which only Generate gets."""
        refs = {one.name: one.endpoint.secret_key_ref for one in self.spec.teachers if one.endpoint is not None}
        wanted = refs.items() if self.stage == "Generate" else ()
        return {key_variable(name): ref for name, ref in wanted if ref is not None}

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
        """The labels of the child, its pods and its other objects."""
        job, run = self.stage_job.job, self.stage_job.run
        return names.labels(job.name, uid=job.uid, stage=self.stage, run=run.id, attempt=self.stage_job.attempt)

    @property
    def child_labels(self) -> dict[str, str]:
        """The labels of the RayJob or Job itself, with Kueue's: on pods, those would queue the pods a second time."""
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
        """The job as an owner: the garbage collector deletes what it owns, and the job's deletion does not wait."""
        job = self.stage_job.job
        return owner_reference(KIND, name=job.name, uid=job.uid)

    @property
    def child(self) -> Manifest:
        """The RayJob or Job as an owner; its uid is filled in at creation."""
        return owner_reference(self.kind, name=self.name, uid="")

    def metadata(self, name: str, *, labels: dict[str, str] | None = None, owner: Manifest | None = None) -> Manifest:
        """Return the metadata of an object of this attempt; labels and owner default to the attempt's and the job."""
        return {
            "name": name,
            "namespace": self.namespace,
            "labels": labels or self.labels,
            "ownerReferences": [owner or self.owner],
        }


def owner_reference(kind: str, *, name: str, uid: str) -> Manifest:
    """Return a reference to a controller whose deletion does not wait for the object."""
    return {
        **KINDS[kind].header,
        "name": name,
        "uid": uid,
        "controller": True,
        "blockOwnerDeletion": False,
    }
