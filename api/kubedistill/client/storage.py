"""What a job keeps beyond its pods: reports and logs in its store, and where the store can be reached from here."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from kubedistill.client import operations
from kubedistill.client.job import Job
from kubedistill.client.request import Operation, Request
from kubedistill.errors import NotAllowed, NotKept
from kubedistill.manifest.problems import find_problem
from kubedistill.paths import locate
from kubedistill.report.models import Report
from kubedistill.stored import read_stored_json
from kubedistill.v1alpha1 import StageStatus

_STORE_HERE = "Name the folder where its store is mounted here by --store (Client(store=…))"


@dataclass(frozen=True, slots=True)
class JobStore:
    """A job's store: its URI, the claim that it lies on, and the folder that it is here, where it is one."""

    uri: str
    claim: str | None
    folder: Path | None

    def place(self, name: str) -> str:
        """Where a name lies, for people."""
        if self.folder is not None:
            return str(self.folder / name)
        claim = f" on claim {self.claim}" if self.claim else ""
        return f"{self.uri or 'the operator’s default store'}/{name}{claim}"


@dataclass(frozen=True, slots=True)
class StoredReport:
    """A report by the place where it is; its content where it can be read from here."""

    report: Report | None
    page: str
    """report.html: a path, or a URI where it is out of reach."""


def find_store(job: Job, *, store: Path | None) -> Operation[JobStore]:
    """Where a job keeps things; `store` is the folder that its store is here, where that is known."""
    uri, claim = job.spec.storage.uri or "", job.spec.storage.volume_claim
    if not uri and store is None:
        uri = yield from _told_store(job)
    return JobStore(uri, claim, store or _folder(uri))


def find_report(job: Job, *, store: Path | None) -> Operation[StoredReport]:
    """A job's report; raises NotKept where there is none yet."""
    kept = yield from find_store(job, store=store)
    names = list(_report_names(job))
    found = next((name for name in names if kept.folder and (kept.folder / f"{name}.json").is_file()), None)
    if found is not None and kept.folder is not None:
        return StoredReport(_read_report(kept.folder / f"{found}.json"), str(kept.folder / f"{found}.html"))
    if job.status.result is None or not names:
        fix = f"`kubedistill watch {job.name}` follows it"
        raise NotKept(f"there is no report yet; the job is {job.phase}", at=f"{job.namespace}/{job.name}", fix=fix)
    return StoredReport(None, JobStore(kept.uri, kept.claim, store).place(f"{names[-1]}.html"))


def _read_report(path: Path) -> Report:
    try:
        return read_stored_json(Report, path.read_bytes())
    except ValidationError as error:
        found = find_problem(error, model=Report)
        fix = "Upgrade kubedistill to the version that wrote it, or open the page beside it"
        raise NotKept(f"the report can't be read ({found.at}: {found.problem})", at=str(path), fix=fix) from error


def report(name: str, *, namespace: str, store: Path | None) -> Operation[Report]:
    """A job's report itself; raises NotKept where there is none, or it is out of reach from here."""
    job = yield from operations.get(name, namespace=namespace)
    return check_readable((yield from find_report(job, store=store)), job)


def check_readable(found: StoredReport, job: Job) -> Report:
    """The report itself; raises NotKept, which says where it is, where it can't be read from here."""
    if found.report is None:
        at = f"{job.namespace}/{job.name}"
        raise NotKept(f"its report is out of reach from here, at {found.page}", at=at, fix=_STORE_HERE)
    return found.report


def log_names(job: Job, stage: StageStatus) -> Iterator[str]:
    """Where each attempt at a stage keeps its log: a pattern of names under the store, the first attempt first."""
    run = job.status.run.id if job.status.run else "local"
    for attempt in range(1, stage.attempt + 1):
        yield f"runs/{job.namespace}.{job.name}/{run}/{stage.name.lower()}-{attempt}/driver*.log"


def read_logs(kept: JobStore, pattern: str) -> list[str]:
    """The lines of an attempt's kept logs; empty where they are not to be had from here."""
    if kept.folder is None:
        return []
    files = sorted(kept.folder.glob(pattern), key=lambda path: path.stat().st_mtime)
    return [line for file in files for line in file.read_text(errors="replace").splitlines()]


def _report_names(job: Job) -> Iterator[str]:
    """Where a report may lie under the store, without its form; the last is where a cluster has it."""
    run = job.status.run
    if run is None:
        return
    yield f"runs/{job.namespace}.{job.name}/{run.id}/report"
    key = next((one.key for one in run.artifacts if one.name == "report"), "")
    if key:
        yield f"artifacts/report/{key}/report"


def _told_store(job: Job) -> Operation[str]:
    """The store that the operator chose, from what it told the first driver; empty where that can't be read."""
    child = next((stage.child for stage in job.status.stages if stage.child), "")
    if not child:
        return ""
    try:
        found = yield Request("get", kind="ConfigMap", namespace=job.namespace, name=child)
        return str(json.loads(found["data"]["job.json"])["store"])
    except (NotAllowed, NotKept, KeyError, ValueError):  # a user who may see jobs alone is told less, and no more
        return ""


def _folder(uri: str) -> Path | None:
    found = locate(uri, root=Path(), at="spec.storage.uri")
    return found.path if found.scheme == "file" and found.path is not None and found.path.is_dir() else None
