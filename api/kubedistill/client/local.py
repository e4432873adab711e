"""This machine as a transport: it takes the same requests as an API server, and runs jobs as child processes."""

import asyncio
import contextlib
import copy
import threading
import time
import uuid
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from kubedistill.client.local_job import LocalFolders, LocalJob, StopReason
from kubedistill.client.local_status import apply_event, end_status, new_status, suspend_status
from kubedistill.client.request import WATCH_SECONDS, Request, Values
from kubedistill.contract import Prices
from kubedistill.errors import Conflict, InvalidInput, KubedistillError, NoSuchJob, NotAvailable
from kubedistill.labels import CANCEL_ANNOTATION, HANDLED_REQUESTS, requests_of
from kubedistill.runtime_process import check_runtime, read_events, start_runtime
from kubedistill.v1alpha1 import Status

_THREAD_SECONDS = "1"
Key = tuple[str, str]
"""(namespace, name) of a job."""


class LocalMachine:
    """A transport that runs jobs on this machine while it is open. Paths in a job are relative to `data_root`."""

    def __init__(self, *, data_root: Path, store: Path, config_maps: Mapping[str, Path], prices: Prices) -> None:
        check_runtime()
        self._folders = LocalFolders(data_root.absolute(), store.absolute(), config_maps, prices)
        self._jobs: dict[Key, LocalJob] = {}
        self._version = 0
        self._changed = threading.Condition(threading.RLock())
        """Guards the jobs; notified after each change."""

    def send(self, request: Request) -> Any:
        """Return the answer to a request about a job; there are no events and no pods on one machine."""
        if request.kind == "Event":
            return {"items": []}
        if request.kind != "DistillationJob":
            raise NotAvailable(f"a local client has no {request.kind} objects")
        with self._changed:
            if request.verb == "list":
                return {"items": [job.to_values() for job in self._jobs.values()]}
            if request.verb == "apply":
                return self._apply(request)
            job = self._find(request)
            if request.verb == "merge":
                self._patch(job, request.body)
            elif request.verb == "delete":
                self._stop(job, "Deleted")
                del self._jobs[request.namespace, request.name]
            elif request.verb != "get":
                raise InvalidInput(f"a local client can't {request.verb}", fix="Use a client of a cluster")
            return job.to_values()

    def watch(self, request: Request) -> Iterator[Values]:
        """Yield the versions after the given one of the job that the field selector names."""
        name = request.query["fieldSelector"].partition("=")[2]
        seen = int(request.query["resourceVersion"])
        deadline = time.monotonic() + float(request.query.get("timeoutSeconds", WATCH_SECONDS))
        while True:
            with self._changed:
                while (job := self._jobs.get((request.namespace, name))) and job.version <= seen:
                    if (left := deadline - time.monotonic()) <= 0:
                        return
                    self._changed.wait(left)
                if job is None:
                    event = {"type": "DELETED", "object": {}}
                else:
                    event, seen = {"type": "MODIFIED", "object": job.to_values()}, job.version
            yield event

    def close(self) -> None:
        """Stop all running jobs; the next run of a job reuses what is published."""
        for job in list(self._jobs.values()):
            with self._changed:
                self._stop(job, "Deleted")
            if job.runner is not None:
                job.runner.join()

    def _apply(self, request: Request) -> Values:
        """Create a job, or replace one that is not running, and start it; keep one that has this spec already."""
        key, manifest = (request.namespace, request.name), copy.deepcopy(request.body)
        old = self._jobs.get(key)
        if old is not None:
            is_same = old.manifest["spec"] == manifest["spec"]
            if is_same and (old.is_running or old.status.phase == "Succeeded"):
                return old.to_values()
            if old.is_running:
                problem = f"{request.name} is running with another spec"
                raise Conflict(problem, fix="Wait until it ends, or suspend it first")
        new = LocalJob(
            manifest, uid=old.uid if old else uuid.uuid4().hex, generation=1 + (old.generation if old else 0)
        )
        new.runner = old.runner if old else None
        spec = new.read_manifest().spec  # an invalid manifest raises here, before anything changes
        self._jobs[key] = new
        self._publish(new)
        if not spec.suspend:
            self._start(new)
        return new.to_values()

    def _patch(self, job: LocalJob, patch: Values) -> None:
        """Act on a change of spec.suspend, or on a request by annotation, such as kubedistill.io/cancel."""
        suspend = patch.get("spec", {}).get("suspend")
        if suspend is not None:
            job.manifest["spec"] = {**job.manifest["spec"], "suspend": suspend}
            if suspend and job.is_running:
                self._stop(job, "Suspended")
            elif not suspend and not job.is_running and job.status.phase in (None, "Suspended"):
                self._start(job)
        annotations = patch.get("metadata", {}).get("annotations", {})
        metadata = job.manifest["metadata"]
        metadata["annotations"] = {**metadata.get("annotations", {}), **annotations}
        if CANCEL_ANNOTATION in annotations:
            self._stop(job, "Cancelled")
        if rerun := requests_of(annotations).get("rerun"):
            if job.is_running:
                raise Conflict(f"{metadata['name']} is running", fix="Wait until it ends, or suspend it first")
            self._start(job, handled_requests=(*job.status.handled_requests, rerun)[-HANDLED_REQUESTS:])
        self._publish(job)

    def _start(self, job: LocalJob, *, handled_requests: tuple[str, ...] | None = None) -> None:
        """Start a new run on its own thread, which waits for the process of the previous run."""
        requests = job.status.handled_requests if handled_requests is None else handled_requests
        job.status = new_status(job.read_manifest().spec, handled_requests=requests)
        job.stop_reason, previous = None, job.runner
        # The runtime stops when the thread that started it ends, so this thread lives as long as the runtime.
        job.runner = threading.Thread(target=self._run, args=(job, previous), name="kubedistill-local", daemon=True)
        job.runner.start()

    def _stop(self, job: LocalJob, reason: StopReason) -> None:
        """Stop the process of a job, and record why."""
        job.stop_reason = reason
        if job.process is not None:
            job.process.terminate()

    def _run(self, job: LocalJob, previous: threading.Thread | None) -> None:
        """Run the runtime to its end, and keep the status of its job up to date."""
        if previous is not None:
            previous.join()  # its process holds the lock of the job until it has ended
        try:
            process = start_runtime(self._folders.prepare_run(job.read_manifest()), new_session=True)
        except (OSError, KubedistillError) as error:  # nobody would catch it in this thread: write it to the status
            self._set_status(job, end_status(job.status, reason="NotStarted", message=str(error)))
            return
        with self._changed:
            job.process = process
            if job.stop_reason:
                process.terminate()
        with process, contextlib.closing(read_events(process)) as events:
            try:
                for event in events:
                    self._set_status(job, apply_event(job.status, event))
            except KubedistillError as error:
                if not job.stop_reason:
                    self._set_status(job, end_status(job.status, reason=error.reason, message=str(error)))
        with self._changed:
            job.process = None
            if job.stop_reason == "Suspended" and not job.manifest["spec"].get("suspend"):  # resumed in the meantime
                self._start(job)
            elif job.stop_reason == "Suspended":
                self._set_status(job, suspend_status(job.status))
            elif job.stop_reason == "Cancelled":
                self._set_status(job, end_status(job.status, reason="Cancelled", message="cancelled"))

    def _set_status(self, job: LocalJob, status: Status) -> None:
        """Replace the status of a job."""
        with self._changed:
            job.status = status
            self._publish(job)

    def _publish(self, job: LocalJob) -> None:
        """Give a job its next version, and wake all watches."""
        self._version += 1
        job.version = self._version
        self._changed.notify_all()

    def _find(self, request: Request) -> LocalJob:
        """Return the job of a request; raises NoSuchJob."""
        job = self._jobs.get((request.namespace, request.name))
        if job is None:
            fix = "Start it with create_or_update; a local client keeps its jobs only while it is open"
            raise NoSuchJob(f'there is no job "{request.name}" in this client', fix=fix)
        return job


class ThreadedMachine:
    """A LocalMachine for asynchronous callers: it answers each request on another thread."""

    def __init__(self, machine: LocalMachine) -> None:
        self._machine = machine

    async def send(self, request: Request) -> Any:
        """Return the answer to a request."""
        return await asyncio.to_thread(self._machine.send, request)

    async def watch(self, request: Request) -> AsyncIterator[Values]:
        """Yield the versions of a job, for a short time only, because a waiting thread can't be cancelled."""
        short = replace(request, query={**request.query, "timeoutSeconds": _THREAD_SECONDS})
        events = self._machine.watch(short)
        while (event := await asyncio.to_thread(next, events, None)) is not None:
            yield event

    async def close(self) -> None:
        """Stop all running jobs."""
        await asyncio.to_thread(self._machine.close)
