"""Names and labels of everything that the operator makes; the same inputs give the same names for ever."""

from kubedistill.canonical import short_digest
from kubedistill.chain import StageName
from kubedistill.labels import ATTEMPT_LABEL, JOB_LABEL, JOB_UID_LABEL, MANAGED_BY, RUN_LABEL, STAGE_LABEL

DRIVER_CONTAINER = "driver"
HEAD_CONTAINER, WORKER_CONTAINER, SUBMITTER_CONTAINER = "ray-head", "ray-worker", "ray-job-submitter"
CONTAINERS = (DRIVER_CONTAINER, HEAD_CONTAINER, WORKER_CONTAINER, SUBMITTER_CONTAINER)
"""The containers that are ours; whatever else a pod has, a webhook or KubeRay has put there."""


def child_name(job: str, stage: StageName, *, uid: str, run: str, attempt: int) -> str:
    """The name of an attempt's RayJob or Job and of its ConfigMap: at most 47 characters, as KubeRay asks."""
    return f"{job}-{stage.lower()}-{short_digest(uid, run, str(attempt))}"


def out_name(child: str) -> str:
    """The name of the ConfigMap that an attempt's driver writes."""
    return f"{child}-out"


def frozen_name(job: str, *, uid: str, run: str, snapshot: str = "") -> str:
    """The name of the ConfigMap that holds a frozen run; it ends in the digest of its bytes, but in 0.1 it had none."""
    return f"{job}-run-{short_digest(uid, run)}" + (f"-{snapshot}" if snapshot else "")


def service_account_name(job: str, *, uid: str) -> str:
    """The name of the ServiceAccount of a job that names none: not that of an earlier job of the same name."""
    return f"{former_service_account_name(job)}-{short_digest(uid)}"


def former_service_account_name(job: str) -> str:
    """The same for a run that version 0.1 began, which goes on with it."""
    return f"{job}-driver"


def attempt_token(child: str, *, uid: str) -> str:
    """What a driver shows to claim its attempt: no secret, but different for every attempt that ever was."""
    return f"{child}.{uid}"


def job_labels(job: str, *, uid: str) -> dict[str, str]:
    """The labels of what a job has once, whatever its run, stage and attempt."""
    return {**MANAGED_BY, JOB_LABEL: job, JOB_UID_LABEL: uid}


def labels(job: str, *, uid: str, stage: StageName, run: str, attempt: int) -> dict[str, str]:
    """The labels of a child and of all that belongs to it."""
    return {**job_labels(job, uid=uid), STAGE_LABEL: stage, RUN_LABEL: run, ATTEMPT_LABEL: str(attempt)}
