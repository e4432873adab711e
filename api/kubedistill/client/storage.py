"""Reports and logs in the store of a job, which outlive its pods, and where this machine can read the store."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from kubedistill.client import operations
from kubedistill.client.job import Job
from kubedistill.client.request import Operation, Request
from kubedistill.contract.store_names import LOCAL_RUN, artifact_folder, attempt_folder, run_folder
from kubedistill.errors import NotAllowed, NotAvailable
from kubedistill.manifest.problems import find_problem
from kubedistill.paths import locate
from kubedistill.report.models import Report
from kubedistill.stored import read_stored_json
from kubedistill.v1alpha1 import StageStatus

STORE_HERE = "Name the folder where the store is mounted on this machine with --store (Client(store=…))"
"""What to do if this machine cannot read a store."""


@dataclass(frozen=True, slots=True)
class JobStore:
    """The store of a job: its URI, its volume claim, and its folder on this machine if it has one."""

    uri: str
    claim: str | None
    folder: Path | None

    def describe(self, name: str) -> str:
        """Return where a name is in the store, as text for people."""
        if self.folder is not None:
            return str(self.folder / name)
        claim = f" on claim {self.claim}" if self.claim else ""
        return f"{self.uri or 'the operator’s default store'}/{name}{claim}"


@dataclass(frozen=True, slots=True)
class StoredReport:
    """The location of a report, and its content if it can be read from this machine."""

    report: Report | None
    page: str
    """The path of report.html, or its URI if it can't be read from this machine."""


def find_store(job: Job, *, store: Path | None) -> Operation[JobStore]:
    """Return the store of a job; `store` is its folder on this machine, if the user has named it."""
    uri, claim = job.spec.storage.uri or "", job.spec.storage.volume_claim
    if not uri and store is None:
        uri = yield from _store_of_operator(job)
    return JobStore(uri, claim, store or _folder(uri))


def find_report(job: Job, *, store: Path | None) -> Operation[StoredReport]:
    """Find the report of a job; raises NotAvailable if there is none yet."""
    job_store = yield from find_store(job, store=store)
    folder, names = job_store.folder, list(_report_names(job))
    found = next((name for name in names if folder and (folder / f"{name}.json").is_file()), None)
    if found is not None and folder is not None:
        return StoredReport(_read_report(folder / f"{found}.json"), str(folder / f"{found}.html"))
    if job.status.result is None or not names:
        verb, what = ("logs", "See what the job did") if job.phase == "Failed" else ("watch", "Follow the job")
        at, fix = f"{job.namespace}/{job.name}", f"{what} with `kubedistill {verb} {job.name}`"
        raise NotAvailable(f"there is no report yet; the job is {job.phase}", at=at, fix=fix)
    return StoredReport(None, JobStore(job_store.uri, job_store.claim, store).describe(f"{names[-1]}.html"))


def _read_report(path: Path) -> Report:
    """Read a report; raises NotAvailable if this version can't read it."""
    try:
        return read_stored_json(Report, path.read_bytes())
    except ValidationError as error:
        found = find_problem(error, model=Report)
        fix = "Upgrade kubedistill to the version that wrote it, or open report.html in the same folder"
        raise NotAvailable(f"the report can't be read ({found.at}: {found.problem})", at=str(path), fix=fix) from error


def report(name: str, *, namespace: str, store: Path | None) -> Operation[Report]:
    """Return the report of a job; raises NotAvailable if there is none, or it can't be read from this machine."""
    job = yield from operations.get(name, namespace=namespace)
    return check_readable((yield from find_report(job, store=store)), job)


def check_readable(found: StoredReport, job: Job) -> Report:
    """Return the content of a report; if it can't be read from this machine, raise NotAvailable with its location."""
    if found.report is None:
        at = f"{job.namespace}/{job.name}"
        raise NotAvailable(f"the report, {found.page}, can't be read from this machine", at=at, fix=STORE_HERE)
    return found.report


def log_names(job: Job, stage: StageStatus) -> Iterator[str]:
    """Yield a glob pattern of the log files of each attempt at a stage, below the store, first attempt first."""
    run = job.status.run.id if job.status.run else LOCAL_RUN
    for attempt in range(1, stage.attempt + 1):
        folder = attempt_folder(job.name, namespace=job.namespace, run=run, stage=stage.name, attempt=attempt)
        yield f"{folder}/driver*.log"


def read_logs(store: JobStore, pattern: str) -> list[str]:
    """Return the lines of the stored logs of an attempt; empty if they can't be read from this machine."""
    if store.folder is None:
        return []
    files = sorted(store.folder.glob(pattern), key=lambda path: path.stat().st_mtime)
    return [line for file in files for line in file.read_text(errors="replace").splitlines()]


def _report_names(job: Job) -> Iterator[str]:
    """Yield the possible names of a report below the store, without suffix; the last one is its name in a cluster."""
    run = job.status.run
    if run is None:
        return
    yield f"{run_folder(job.name, namespace=job.namespace, run=run.id)}/report"
    key = next((one.key for one in run.artifacts if one.name == "report"), "")
    if key:
        yield f"{artifact_folder('report', key)}/report"


def _store_of_operator(job: Job) -> Operation[str]:
    """Return the store that the operator chose, from the ConfigMap of a stage; empty if that can't be read."""
    child = next((stage.child for stage in job.status.stages if stage.child), "")
    if not child:
        return ""
    try:
        found = yield Request("get", kind="ConfigMap", namespace=job.namespace, name=child)
        return str(json.loads(found["data"]["job.json"])["store"])
    except (NotAllowed, NotAvailable, KeyError, ValueError):  # some users may only read jobs
        return ""


def _folder(uri: str) -> Path | None:
    found = locate(uri, root=Path(), at="spec.storage.uri")
    return found.path if found.scheme == "file" and found.path is not None and found.path.is_dir() else None
