"""Names and labels of everything that the operator makes; the same inputs give the same names for ever."""

import base64
import hashlib
import re

from kubedistill.chain import StageName

_OURS = "kubedistill.io"
JOB_UID_LABEL = f"{_OURS}/job-uid"
ATTEMPT_LABEL = f"{_OURS}/attempt"
RUN_LABEL = f"{_OURS}/run"
STAGE_LABEL = f"{_OURS}/stage"
RERUN_ANNOTATION, CANCEL_ANNOTATION = f"{_OURS}/rerun", f"{_OURS}/cancel"
MANAGED_BY = {"app.kubernetes.io/managed-by": "kubedistill"}


def child_name(job: str, stage: StageName, *, uid: str, run: str, attempt: int) -> str:
    """The name of an attempt's RayJob or Job and of its ConfigMap: at most 47 characters, as KubeRay asks."""
    return f"{job}-{stage.lower()}-{_short(uid, run, str(attempt))}"


def out_name(child: str) -> str:
    """The name of the ConfigMap that an attempt's driver writes."""
    return f"{child}-out"


def frozen_name(job: str, *, uid: str, run: str) -> str:
    """The name of the ConfigMap that holds a run as it was started."""
    return f"{job}-run-{_short(uid, run)}"


def service_account_name(job: str) -> str:
    """The name of the ServiceAccount of a job that names none."""
    return f"{job}-driver"


def rerun_id(token: str) -> str:
    """The id of the run that a rerun annotation asks for; a token that no label may hold is hashed."""
    readable = re.fullmatch(r"[a-z0-9]([-a-z0-9]{0,40}[a-z0-9])?", token)
    return f"rerun-{token if readable else _short(token)}"


def attempt_token(child: str, *, uid: str) -> str:
    """What a driver shows to claim its attempt: no secret, but different for every attempt that ever was."""
    return f"{child}.{uid}"


def job_labels(job: str, *, uid: str) -> dict[str, str]:
    """The labels of what a job has once, whatever its run, stage and attempt."""
    return {**MANAGED_BY, f"{_OURS}/job": job, JOB_UID_LABEL: uid}


def labels(job: str, *, uid: str, stage: StageName, run: str, attempt: int) -> dict[str, str]:
    """The labels of a child and of all that belongs to it."""
    return {**job_labels(job, uid=uid), STAGE_LABEL: stage, RUN_LABEL: run, ATTEMPT_LABEL: str(attempt)}


def _short(*parts: str) -> str:
    digest = hashlib.sha256("/".join(parts).encode()).digest()
    return base64.b32encode(digest).decode().lower()[:5]
