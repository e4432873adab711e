"""Following a job to its end, across watches that end, servers that restart and versions that have expired."""

import time
from collections.abc import Callable

from kubedistill.client.job import Job, read_job
from kubedistill.client.request import WATCH_SECONDS, Emit, Next, Open, Operation, Pause, Request
from kubedistill.errors import ClusterUnavailable, NoSuchJob, WaitTimeout

UNAVAILABLE_SECONDS = 120.0
"""Following ends with an error if the server is not available for longer than this."""
_PAUSE_SECONDS = 1.0
Clock = Callable[[], float]


def follow(name: str, *, namespace: str, seconds: float | None = None, clock: Clock = time.monotonic) -> Operation[Job]:
    """Emit a job each time it changes, and return it when its run is over.

    Raises NoSuchJob if the job does not exist or is deleted, WaitTimeout after `seconds`, and ClusterUnavailable if the
    server does not answer for two minutes.
    """
    deadline = None if seconds is None else clock() + seconds
    failing_since: float | None = None
    seen: Job | None = None
    while True:
        try:
            values = yield Request("get", namespace=namespace, name=name)
            seen = yield from _emit_change(read_job(values), seen)
            failing_since = None
            if not seen.is_over:
                left = None if deadline is None else max(1, int(deadline - clock()))
                seen = yield from _watch(seen, seconds=left)
        except ClusterUnavailable:
            failing_since = clock() if failing_since is None else failing_since
            if seen is None or clock() - failing_since > UNAVAILABLE_SECONDS:
                raise
        if seen.is_over:
            return seen
        if deadline is not None and clock() >= deadline:
            why = f": {seen.message}" if seen.message else ""
            problem = f"the job is still {seen.phase} after {seconds:g} s{why}"
            raise WaitTimeout(problem, at=f"{namespace}/{name}", fix="Wait longer; the job continues to run")
        yield Pause(_PAUSE_SECONDS)


def _watch(job: Job, *, seconds: int | None) -> Operation[Job]:
    """Emit the versions of a job after this one, until it is over or the watch ends or fails, and return the latest."""
    version = str(job.values["metadata"]["resourceVersion"])
    query = {"fieldSelector": f"metadata.name={job.name}", "resourceVersion": version}
    if seconds is not None:
        query["timeoutSeconds"] = str(min(seconds, WATCH_SECONDS))
    yield Open(Request("watch", namespace=job.namespace, query=query))
    while not job.is_over:
        try:
            event = yield Next()
        except ClusterUnavailable:  # the next request shows whether the server is still away
            break
        if event is None or event["type"] == "ERROR":
            break
        if event["type"] == "DELETED":
            raise NoSuchJob("the job was deleted", at=f"{job.namespace}/{job.name}")
        job = yield from _emit_change(read_job(event["object"]), job)
    return job


def _emit_change(job: Job, before: Job | None) -> Operation[Job]:
    if before is None or job.values != before.values:
        yield Emit(job)
    return job
