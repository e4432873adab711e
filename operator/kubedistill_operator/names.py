"""Names and labels of everything that the operator creates; the same inputs always give the same names."""

from kubedistill.canonical import short_digest
from kubedistill.chain import StageName
from kubedistill.labels import ATTEMPT_LABEL, JOB_LABEL, JOB_UID_LABEL, MANAGED_BY, RUN_LABEL, STAGE_LABEL

DRIVER_CONTAINER = "driver"
HEAD_CONTAINER, WORKER_CONTAINER, SUBMITTER_CONTAINER = "ray-head", "ray-worker", "ray-job-submitter"
CONTAINERS = (DRIVER_CONTAINER, HEAD_CONTAINER, WORKER_CONTAINER, SUBMITTER_CONTAINER)
"""Our containers; a webhook or KubeRay has added all others."""


def child_name(job: str, stage: StageName, *, uid: str, run: str, attempt: int) -> str:
    """Return the name of an attempt's RayJob or Job and of its ConfigMap: at most 47 characters, for KubeRay."""
    return f"{job}-{stage.lower()}-{short_digest(uid, run, str(attempt))}"


def out_name(child: str) -> str:
    """Return the name of the ConfigMap that an attempt's driver writes."""
    return f"{child}-out"


def frozen_name(job: str, *, uid: str, run: str, snapshot: str = "") -> str:
    """Return the name of the ConfigMap of a frozen run; it ends with the digest of its content, except in 0.1."""
    return f"{job}-run-{short_digest(uid, run)}" + (f"-{snapshot}" if snapshot else "")


def service_account_name(job: str, *, uid: str) -> str:
    """Return the ServiceAccount of a job that names none; an earlier job of the same name has another."""
    return f"{former_service_account_name(job)}-{short_digest(uid)}"


def former_service_account_name(job: str) -> str:
    """Return the same for a run that version 0.1 began, which keeps it."""
    return f"{job}-driver"


def attempt_token(child: str, *, uid: str) -> str:
    """Return what a driver shows to claim its attempt: not a secret, but unique to the attempt."""
    return f"{child}.{uid}"


def job_labels(job: str, *, uid: str) -> dict[str, str]:
    """Return the labels of objects that belong to the job as a whole."""
    return {**MANAGED_BY, JOB_LABEL: job, JOB_UID_LABEL: uid}


def labels(job: str, *, uid: str, stage: StageName, run: str, attempt: int) -> dict[str, str]:
    """Return the labels of a child and of everything that belongs to it."""
    return {**job_labels(job, uid=uid), STAGE_LABEL: stage, RUN_LABEL: run, ATTEMPT_LABEL: str(attempt)}
