"""This machine as a transport: it takes the same requests as an API server, and runs jobs as child processes."""

import asyncio
import contextlib
import copy
import json
import threading
import time
import uuid
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from kubedistill.client.job import manifest_of
from kubedistill.client.local_status import begun, ended, suspended, told
from kubedistill.client.request import WATCH_SECONDS, Request, Values
from kubedistill.contract import Prices
from kubedistill.contract.stored_status import with_both_names
from kubedistill.errors import Conflict, InvalidInput, KubedistillError, NoSuchJob, NotKept
from kubedistill.files import replace_file
from kubedistill.labels import CANCEL_ANNOTATION, HANDLED_REQUESTS, requests_of
from kubedistill.runtime_process import Process, check_runtime, hear_runtime, start_runtime
from kubedistill.stages import TERMINAL
from kubedistill.v1alpha1 import DistillationJob, Status

NAMESPACE = "default"
_THREAD_SECONDS = "1"
Key = tuple[str, str]


@dataclass
class _LocalJob:
    """One job, and the process that runs it."""

    values: Values
    status: Status = field(default_factory=Status)
    runner: threading.Thread | None = None
    process: Process | None = None
    leaving: str = ""
    """Why its process is being stopped: Suspended, Cancelled or Deleted; empty where it is not."""

    @property
    def is_running(self) -> bool:
        return self.status.phase not in (None, "Suspended", *TERMINAL)

    @property
    def job(self) -> DistillationJob:
        kept = {name: self.values[name] for name in ("apiVersion", "kind", "metadata", "spec")}
        return DistillationJob.model_validate_json(json.dumps(kept), extra="ignore", by_alias=True, by_name=False)


class LocalMachine:
    """Jobs on this machine; they live as long as this process. Paths of a job are relative to `data_root`."""

    def __init__(self, *, data_root: Path, store: Path, config_maps: Mapping[str, Path], prices: Prices) -> None:
        check_runtime()
        self.data_root, self.store = data_root.absolute(), store.absolute()
        self._config_maps, self._prices = config_maps, prices
        self._jobs: dict[Key, _LocalJob] = {}
        self._version = 0
        self._changed = threading.Condition(threading.RLock())

    def send(self, request: Request) -> Any:
        """The answer to a request about a job; of pods and events there are none here."""
        if request.kind == "Event":
            return {"items": []}
        if request.kind != "DistillationJob":
            raise NotKept(f"there is no {request.kind} on one machine")
        with self._changed:
            if request.verb == "list":
                return {"items": [self._shown(job) for job in self._jobs.values()]}
            if request.verb == "apply":
                return self._apply(request)
            job = self._find(request)
            if request.verb == "merge":
                self._patch(job, request.body)
            elif request.verb == "delete":
                self._stop(job, "Deleted")
                del self._jobs[request.namespace, request.name]
            elif request.verb != "get":
                raise InvalidInput(f"one machine can't {request.verb}", fix="Ask a cluster")
            return self._shown(job)

    def watch(self, request: Request) -> Iterator[Values]:
        """The versions of the job that a field selector names, from the given one on."""
        name = request.query["fieldSelector"].partition("=")[2]
        seen = int(request.query["resourceVersion"])
        until = time.monotonic() + float(request.query.get("timeoutSeconds", WATCH_SECONDS))
        while True:
            with self._changed:
                while (job := self._jobs.get((request.namespace, name))) and self._version_of(job) <= seen:
                    if (left := until - time.monotonic()) <= 0:
                        return
                    self._changed.wait(left)
                if job is None:
                    found = {"type": "DELETED", "object": {}}
                else:
                    found, seen = {"type": "MODIFIED", "object": self._shown(job)}, self._version_of(job)
            yield found

    def close(self) -> None:
        """Stop what runs; the next run of the same job goes on from what is published."""
        for job in list(self._jobs.values()):
            with self._changed:
                self._stop(job, "Deleted")
            if job.runner is not None:
                job.runner.join()

    def _apply(self, request: Request) -> Values:
        key, body = (request.namespace, request.name), copy.deepcopy(request.body)
        old = self._jobs.get(key)
        if (
            old is not None
            and old.values["spec"] == body["spec"]
            and (old.is_running or old.status.phase == "Succeeded")
        ):
            return self._shown(old)
        if old is not None and old.is_running:
            raise Conflict(f"{request.name} runs with another spec", fix="Wait for it, or suspend it first")
        metadata = {
            **body["metadata"],
            "uid": uuid.uuid4().hex if old is None else old.values["metadata"]["uid"],
        }
        new = _LocalJob({**body, "metadata": metadata}, runner=old.runner if old else None)
        job = new.job  # refused here, before anything is started
        self._jobs[key] = new
        self._note(new, generation=1 + (old.values["metadata"]["generation"] if old else 0))
        if not job.spec.suspend:
            self._start(new)
        return self._shown(new)

    def _patch(self, job: _LocalJob, patch: Values) -> None:
        wanted = patch.get("spec", {}).get("suspend")
        if wanted is not None:
            job.values["spec"] = {**job.values["spec"], "suspend": wanted}
            if wanted and job.is_running:
                self._stop(job, "Suspended")
            elif not wanted and not job.is_running and job.status.phase in (None, "Suspended"):
                self._start(job)
        annotations = patch.get("metadata", {}).get("annotations", {})
        metadata = job.values["metadata"]
        metadata["annotations"] = {**metadata.get("annotations", {}), **annotations}
        if CANCEL_ANNOTATION in annotations:
            self._stop(job, "Cancelled")
        if rerun := requests_of(annotations).get("rerun"):
            if job.is_running:
                raise Conflict(f"{metadata['name']} runs", fix="Wait for it, or suspend it first")
            self._start(job, handled_requests=(*job.status.handled_requests, rerun)[-HANDLED_REQUESTS:])
        self._note(job)

    def _start(self, job: _LocalJob, *, handled_requests: tuple[str, ...] | None = None) -> None:
        job.status = begun(
            job.job.spec,
            handled_requests=job.status.handled_requests if handled_requests is None else handled_requests,
        )
        job.leaving, before = "", job.runner
        # The runtime is bound to the thread that starts it, so that thread must be there as long as it is.
        job.runner = threading.Thread(target=self._run, args=(job, before), name="kubedistill-local", daemon=True)
        job.runner.start()

    def _stop(self, job: _LocalJob, why: str) -> None:
        job.leaving = why
        if job.process is not None:
            job.process.terminate()

    def _run(self, job: _LocalJob, before: threading.Thread | None) -> None:
        if before is not None:
            before.join()  # its process holds the job's lock until it has ended
        try:
            process = start_runtime(self._arguments(job), apart=True)
        except (OSError, KubedistillError) as error:  # the thread has nobody to raise it to: the status tells it
            self._tell(job, ended(job.status, reason="NotStarted", message=str(error)))
            return
        with self._changed:
            job.process = process
            if job.leaving:
                process.terminate()
        with process, contextlib.closing(hear_runtime(process)) as events:
            try:
                for event in events:
                    self._tell(job, told(job.status, event))
            except KubedistillError as error:
                if not job.leaving:
                    self._tell(job, ended(job.status, reason=error.reason, message=str(error)))
        with self._changed:
            job.process = None
            if job.leaving == "Suspended" and not job.values["spec"].get("suspend"):  # resumed in the meantime
                self._start(job)
            elif job.leaving == "Suspended":
                self._tell(job, suspended(job.status))
            elif job.leaving == "Cancelled":
                self._tell(job, ended(job.status, reason="Cancelled", message="cancelled"))

    def _arguments(self, job: _LocalJob) -> list[str]:
        found = job.job
        folder = self.store / "runs" / f"{found.metadata.namespace}.{found.metadata.name}"
        folder.mkdir(parents=True, exist_ok=True)
        manifest = folder / "job.json"
        replace_file(manifest, json.dumps(manifest_of(found)))
        pairs = [text for name, path in self._config_maps.items() for text in ("--configmap", f"{name}={path}")]
        return [
            "--manifest",
            str(manifest),
            "--data-root",
            str(self.data_root),
            "--store",
            str(self.store),
            *pairs,
            "--prices",
            self._prices.model_dump_json(exclude_none=True),
        ]

    def _tell(self, job: _LocalJob, status: Status) -> None:
        with self._changed:
            job.status = status
            self._note(job)

    def _note(self, job: _LocalJob, *, generation: int | None = None) -> None:
        """Give a job its next version, and wake whoever watches."""
        self._version += 1
        metadata = job.values["metadata"]
        metadata["resourceVersion"] = str(self._version)
        metadata["generation"] = generation or metadata["generation"]
        self._changed.notify_all()

    def _find(self, request: Request) -> _LocalJob:
        job = self._jobs.get((request.namespace, request.name))
        if job is None:
            fix = "create_or_update starts one; jobs of this machine live as long as its client"
            raise NoSuchJob(f'there is no job "{request.name}" here', fix=fix)
        return job

    @staticmethod
    def _version_of(job: _LocalJob) -> int:
        return int(job.values["metadata"]["resourceVersion"])

    @staticmethod
    def _shown(job: _LocalJob) -> Values:
        status = with_both_names(job.status.model_dump(mode="json", by_alias=True, exclude_none=True))
        return {**job.values, "metadata": dict(job.values["metadata"]), "status": status}


class Threaded:
    """A machine for asynchronous callers; each request is answered on another thread."""

    def __init__(self, machine: LocalMachine) -> None:
        self._machine = machine

    async def send(self, request: Request) -> Any:
        """The answer to a request."""
        return await asyncio.to_thread(self._machine.send, request)

    async def watch(self, request: Request) -> AsyncIterator[Values]:
        """The versions of a job; short, since a thread that waits can't be cancelled."""
        brief = replace(request, query={**request.query, "timeoutSeconds": _THREAD_SECONDS})
        events = self._machine.watch(brief)
        while (event := await asyncio.to_thread(next, events, None)) is not None:
            yield event

    async def close(self) -> None:
        """Stop what runs."""
        await asyncio.to_thread(self._machine.close)
