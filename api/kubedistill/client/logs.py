"""Logs: what the driver of a stage says, from its pod while that is there and from the store after."""

from dataclasses import dataclass
from pathlib import Path

from kubedistill.chain import StageName
from kubedistill.client import operations
from kubedistill.client.job import Job
from kubedistill.client.request import Operation, Request, Values
from kubedistill.client.storage import JobStore, find_store, log_names, read_logs
from kubedistill.errors import InvalidInput, KubedistillError, NotKept
from kubedistill.labels import ATTEMPT_LABEL, JOB_UID_LABEL, STAGE_LABEL
from kubedistill.stages import LIVE
from kubedistill.v1alpha1 import StageStatus

_DRIVERS = ("driver", "ray-head")
"""The containers in which drivers run, of a Job and of a RayJob."""


@dataclass(frozen=True, slots=True)
class Log:
    """What one source says of one stage."""

    stage: StageName
    source: str
    """The pod, or the place in the store."""
    lines: tuple[str, ...]


def logs(name: str, *, namespace: str, stage: str | None, store: Path | None) -> Operation[list[Log]]:
    """The logs of a stage, or of the one that is at work or was last.

    Raises NotKept, which says where a log would be, where none is to be had from here, and InvalidInput for an unknown
    stage.
    """
    job = yield from operations.get(name, namespace=namespace)
    chosen = _choose(job, stage)
    kept = yield from find_store(job, store=store)
    patterns = list(log_names(job, chosen))
    found = [
        Log(chosen.name, kept.place(pattern), tuple(lines))
        for pattern in patterns
        if (lines := read_logs(kept, pattern))
    ]
    live, trouble = yield from _pod_logs(job, chosen)
    if not found and not live:
        raise _nothing(job, chosen, kept, patterns, trouble)
    # Ray keeps a driver's lines from its pod's log, so the store comes first.
    return [*found, *(log for log in live if not found or log.source.endswith("driver"))]


def _choose(job: Job, wanted: str | None) -> StageStatus:
    stages = {one.name.lower(): one for one in job.status.stages}
    if wanted is not None:
        found = stages.get(wanted.lower())
        if found is None:
            known = ", ".join(one.name for one in job.status.stages) or "none, since it has not begun"
            raise InvalidInput(f'there is no stage "{wanted}"', at="--stage", fix=f"Its stages are {known}")
        return found
    tried = [one for one in job.status.stages if one.attempt]
    if not tried:
        at, fix = f"{job.namespace}/{job.name}", f"`kubedistill watch {job.name}` follows it"
        raise NotKept(f"no stage has begun; the job is {job.phase}", at=at, fix=fix)
    return next((one for one in tried if one.state in LIVE), tried[-1])


def _pod_logs(job: Job, stage: StageStatus) -> Operation[tuple[list[Log], str]]:
    """The logs of the driver's pods of the latest attempt, and why one can't be had."""
    if not stage.attempt or not job.uid:
        return [], ""
    labels = {JOB_UID_LABEL: job.uid, STAGE_LABEL: stage.name, ATTEMPT_LABEL: str(stage.attempt)}
    selector = ",".join(f"{name}={value}" for name, value in labels.items())
    found: list[Log] = []
    trouble = ""
    try:
        pods = yield Request("list", kind="Pod", namespace=job.namespace, query={"labelSelector": selector})
    except KubedistillError as error:  # the store may still have the log, and whoever may see jobs alone is told so
        return [], str(error)
    for pod, container in [(one, name) for one in pods["items"] for name in _driver_containers(one)]:
        name = str(pod["metadata"]["name"])
        query = {"container": container}
        try:
            text = yield Request("log", kind="Pod", namespace=job.namespace, name=name, query=query)
        except KubedistillError as error:  # its node may be gone, or its container not there yet
            trouble = str(error)
            continue
        found.append(Log(stage.name, f"pod {name}, container {container}", tuple(text.splitlines())))
    return found, trouble


def _driver_containers(pod: Values) -> list[str]:
    containers: list[Values] = pod["spec"]["containers"]
    return [one["name"] for one in containers if one["name"] in _DRIVERS]


def _nothing(job: Job, stage: StageStatus, kept: JobStore, patterns: list[str], trouble: str) -> NotKept:
    at = f"{job.namespace}/{job.name} {stage.name}"
    if not patterns:
        return NotKept(f"there is no log; the stage is {stage.state}", at=at)
    why = trouble or "no pod of it is left"
    fix = f"It is kept at {kept.place(patterns[-1])}; name that store's folder by --store where it is mounted here"
    return NotKept(f"no log can be read from here ({why})", at=at, fix=fix)
