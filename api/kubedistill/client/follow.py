"""Following: a job from now to its end, over watches that end, servers that restart and versions that are too old."""

import time
from collections.abc import Callable

from kubedistill.client.job import Job, read_job
from kubedistill.client.request import WATCH_SECONDS, Emit, Next, Open, Operation, Pause, Request
from kubedistill.errors import ClusterUnavailable, NoSuchJob, WaitTimeout

PATIENCE_SECONDS = 120.0
"""A server that is away for longer is given up."""
_PAUSE_SECONDS = 1.0
Clock = Callable[[], float]


def follow(name: str, *, namespace: str, seconds: float | None = None, clock: Clock = time.monotonic) -> Operation[Job]:
    """Show a job whenever it changes, and return it when its run is over.

    Raises NoSuchJob where it is not there or is deleted, WaitTimeout after `seconds`, and ClusterUnavailable where the
    server is away for two minutes.
    """
    until = None if seconds is None else clock() + seconds
    away_since: float | None = None
    seen: Job | None = None
    while seen is None or not seen.is_over:
        try:
            values = yield Request("get", namespace=namespace, name=name)
            seen = yield from _show_new(read_job(values), seen)
            away_since = None
            if not seen.is_over:
                left = None if until is None else max(1, int(until - clock()))
                seen = yield from _watch(seen, seconds=left)
        except ClusterUnavailable:
            away_since = away_since or clock()
            if seen is None or clock() - away_since > PATIENCE_SECONDS:
                raise
        if seen.is_over:
            break
        if until is not None and clock() >= until:
            problem = f"it is {seen.phase} after {seconds:g} s"
            raise WaitTimeout(problem, at=f"{namespace}/{name}", fix="Wait longer; it goes on meanwhile")
        yield Pause(_PAUSE_SECONDS)
    return seen


def _watch(job: Job, *, seconds: int | None) -> Operation[Job]:
    """Show a job's versions from this one on, until it is over or the watch ends, and return the latest."""
    version = str(job.values["metadata"]["resourceVersion"])
    query = {"fieldSelector": f"metadata.name={job.name}", "resourceVersion": version}
    if seconds is not None:
        query["timeoutSeconds"] = str(min(seconds, WATCH_SECONDS))
    yield Open(Request("watch", namespace=job.namespace, query=query))
    while not job.is_over and (event := (yield Next())) is not None and event["type"] != "ERROR":
        if event["type"] == "DELETED":
            raise NoSuchJob("it was deleted", at=f"{job.namespace}/{job.name}")
        job = yield from _show_new(read_job(event["object"]), job)
    return job


def _show_new(job: Job, before: Job | None) -> Operation[Job]:
    if before is None or job.values != before.values:
        yield Emit(job)
    return job
