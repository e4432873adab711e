"""Logs of the driver of a stage, from its pod while that exists, and from the store later."""

from dataclasses import dataclass
from pathlib import Path

from kubedistill.chain import StageName
from kubedistill.client import operations
from kubedistill.client.job import Job
from kubedistill.client.request import Operation, Request, Values
from kubedistill.client.storage import JobStore, find_store, log_names, read_logs
from kubedistill.errors import InvalidInput, KubedistillError, NotAvailable
from kubedistill.labels import ATTEMPT_LABEL, JOB_UID_LABEL, STAGE_LABEL
from kubedistill.stages import LIVE
from kubedistill.v1alpha1 import StageStatus

_DRIVERS = ("driver", "ray-head")
"""The containers that run a driver, in a Job and in a RayJob."""


@dataclass(frozen=True, slots=True)
class Log:
    """The log of one stage from one source."""

    stage: StageName
    source: str
    """The pod, or the path in the store."""
    lines: tuple[str, ...]


def logs(name: str, *, namespace: str, stage: str | None, store: Path | None) -> Operation[list[Log]]:
    """Return the logs of a stage; by default of the running stage, or of the last one that ran.

    Raises NotAvailable, which says where the log should be, if no log can be read from this machine, and InvalidInput
    for an unknown stage.
    """
    job = yield from operations.get(name, namespace=namespace)
    chosen = _choose_stage(job, stage)
    job_store = yield from find_store(job, store=store)
    patterns = list(log_names(job, chosen))
    found = [
        Log(chosen.name, job_store.describe(pattern), tuple(lines))
        for pattern in patterns
        if (lines := read_logs(job_store, pattern))
    ]
    live, problem = yield from _pod_logs(job, chosen)
    if not found and not live:
        raise _no_logs(job, chosen, job_store, patterns, problem)
    # The log of a Ray head lacks the lines of the driver, so the logs in the store come first.
    return [*found, *(log for log in live if not found or log.source.endswith("driver"))]


def _choose_stage(job: Job, name: str | None) -> StageStatus:
    """Return the named stage, or by default the running stage or the last one that ran."""
    stages = {one.name.lower(): one for one in job.status.stages}
    if name is not None:
        found = stages.get(name.lower())
        if found is None:
            known = ", ".join(one.name for one in job.status.stages)
            fix = f"Choose one of {known}" if known else "Wait until the job starts; it has no stages yet"
            raise InvalidInput(f'there is no stage "{name}"', at="--stage", fix=fix)
        return found
    started = [one for one in job.status.stages if one.attempt]
    if not started:
        at, fix = f"{job.namespace}/{job.name}", f"Follow the job with `kubedistill watch {job.name}`"
        raise NotAvailable(f"no stage has started; the job is {job.phase}", at=at, fix=fix)
    return next((one for one in started if one.state in LIVE), started[-1])


def _pod_logs(job: Job, stage: StageStatus) -> Operation[tuple[list[Log], str]]:
    """Return the logs of the driver's pods in the latest attempt, and why one of them can't be read."""
    if not stage.attempt or not job.uid:
        return [], ""
    labels = {JOB_UID_LABEL: job.uid, STAGE_LABEL: stage.name, ATTEMPT_LABEL: str(stage.attempt)}
    selector = ",".join(f"{name}={value}" for name, value in labels.items())
    found: list[Log] = []
    problem = ""
    try:
        pods = yield Request("list", kind="Pod", namespace=job.namespace, query={"labelSelector": selector})
    except KubedistillError as error:  # the store may have the log; some users may only read jobs
        return [], str(error)
    for pod, container in [(one, name) for one in pods["items"] for name in _driver_containers(one)]:
        name = str(pod["metadata"]["name"])
        query = {"container": container}
        try:
            text = yield Request("log", kind="Pod", namespace=job.namespace, name=name, query=query)
        except KubedistillError as error:  # the node may be gone, or the container may not have started yet
            problem = str(error)
            continue
        found.append(Log(stage.name, f"pod {name}, container {container}", tuple(text.splitlines())))
    return found, problem


def _driver_containers(pod: Values) -> list[str]:
    containers: list[Values] = pod["spec"]["containers"]
    return [one["name"] for one in containers if one["name"] in _DRIVERS]


def _no_logs(job: Job, stage: StageStatus, store: JobStore, patterns: list[str], problem: str) -> NotAvailable:
    """Return the error for a stage without logs, with the location of the log in the store."""
    at = f"{job.namespace}/{job.name} {stage.name}"
    if not patterns:
        return NotAvailable(f"there is no log; the stage is {stage.state}", at=at)
    why = problem or "its pods are gone"
    log = store.describe(patterns[-1])
    fix = f"The log is {log}: name the folder where that store is mounted on this machine with --store"
    return NotAvailable(f"no log can be read from this machine ({why})", at=at, fix=fix)
