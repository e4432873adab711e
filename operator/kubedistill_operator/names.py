"""Names and labels of everything that the operator makes; the same inputs give the same names for ever."""

import base64
import hashlib

from kubedistill import marks
from kubedistill.chain import StageName

JOB_UID_LABEL, STAGE_LABEL = marks.JOB_UID_LABEL, marks.STAGE_LABEL
RUN_LABEL, ATTEMPT_LABEL = marks.RUN_LABEL, marks.ATTEMPT_LABEL
RERUN_ANNOTATION, CANCEL_ANNOTATION = marks.RERUN_ANNOTATION, marks.CANCEL_ANNOTATION
RELEASE_ANNOTATION = marks.RELEASE_ANNOTATION
MANAGED_BY = {"app.kubernetes.io/managed-by": "kubedistill"}


def child_name(job: str, stage: StageName, *, uid: str, run: str, attempt: int) -> str:
    """The name of an attempt's RayJob or Job and of its ConfigMap: at most 47 characters, as KubeRay asks."""
    return f"{job}-{stage.lower()}-{_short(uid, run, str(attempt))}"


def out_name(child: str) -> str:
    """The name of the ConfigMap that an attempt's driver writes."""
    return f"{child}-out"


def frozen_name(job: str, *, uid: str, run: str, snapshot: str = "") -> str:
    """The name of the ConfigMap that holds a frozen run; it ends in the digest of its bytes, but in 0.1 it had none."""
    return f"{job}-run-{_short(uid, run)}" + (f"-{snapshot}" if snapshot else "")


def service_account_name(job: str) -> str:
    """The name of the ServiceAccount of a job that names none."""
    return f"{job}-driver"


def attempt_token(child: str, *, uid: str) -> str:
    """What a driver shows to claim its attempt: no secret, but different for every attempt that ever was."""
    return f"{child}.{uid}"


def job_labels(job: str, *, uid: str) -> dict[str, str]:
    """The labels of what a job has once, whatever its run, stage and attempt."""
    return {**MANAGED_BY, marks.JOB_LABEL: job, JOB_UID_LABEL: uid}


def labels(job: str, *, uid: str, stage: StageName, run: str, attempt: int) -> dict[str, str]:
    """The labels of a child and of all that belongs to it."""
    return {**job_labels(job, uid=uid), STAGE_LABEL: stage, RUN_LABEL: run, ATTEMPT_LABEL: str(attempt)}


def _short(*parts: str) -> str:
    digest = hashlib.sha256("/".join(parts).encode()).digest()
    return base64.b32encode(digest).decode().lower()[:5]
