"""The pipeline: all stages of one job on this machine, each skipped if its artifacts are complete."""

import contextlib
import datetime
import fcntl
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from kubedistill.canonical import digest
from kubedistill.chain import CHAIN, ArtifactName, Stage, StageName
from kubedistill.contract import JobRef, Prices, RunRef, StageJob, StageProgress, StageResult
from kubedistill.contract.events import Event, FinishedEvent, NoteEvent, ProgressEvent, ReportFiles, StageEvent
from kubedistill.contract.store_names import LOCAL_RUN, job_folder
from kubedistill.contract.summaries import Headline, PrepareSummary
from kubedistill.errors import EXIT_GATE, EXIT_SUCCESS, Stopped, StoreBusy
from kubedistill.v1alpha1 import DistillationJob, spec_values
from kubedistill_runtime.channel import FileChannel
from kubedistill_runtime.checks.fit import check_fit
from kubedistill_runtime.checks.storage import check_store
from kubedistill_runtime.driver import run_stage
from kubedistill_runtime.export.folders import export_paths
from kubedistill_runtime.keys import resolve
from kubedistill_runtime.logs import log_to
from kubedistill_runtime.report import FORMS
from kubedistill_runtime.serving.local_hardware import Gpu, find_gpus, find_local_hardware
from kubedistill_runtime.serving.processes import reap_leftovers
from kubedistill_runtime.serving.session import LocalEngines
from kubedistill_runtime.spending import Meter
from kubedistill_runtime.storage.artifacts import are_complete, read_figures
from kubedistill_runtime.storage.failures import storage_errors
from kubedistill_runtime.storage.sharing import make_folder, share
from kubedistill_runtime.storage.store import Store

Emit = Callable[[Event], None]
_PROGRESS_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class LocalRun:
    """One manifest on one machine."""

    job: DistillationJob
    data_root: Path
    store: Store
    config_maps: dict[str, str] = field(default_factory=dict)
    prices: Prices = field(default_factory=Prices)
    today: datetime.date = field(default_factory=lambda: datetime.datetime.now(datetime.UTC).date())
    gpus: tuple[Gpu, ...] = field(default_factory=find_gpus)

    @property
    def run(self) -> RunRef:
        """The run: the one in the manifest, or LOCAL_RUN."""
        return RunRef(id=self.job.spec.run_id or LOCAL_RUN, digest=digest(spec_values(self.job.spec)))

    @property
    def job_folder(self) -> Path:
        """The folder that all runs of this job share."""
        return self.store.path(self._job_folder)

    @property
    def folder(self) -> Path:
        """The folder of this run's messages, logs and report."""
        return self.job_folder / self.run.id

    @property
    def date(self) -> str:
        """The day of the job's first run, YYYY-MM-DD, for chat templates that ask for the date."""
        try:
            return self.store.read(self._first_day).decode()
        except FileNotFoundError:  # this is the first run
            return self.today.isoformat()

    @property
    def _job_folder(self) -> str:
        return job_folder(self.job.metadata.name, namespace=self.job.metadata.namespace)

    @property
    def _first_day(self) -> str:
        return f"{self._job_folder}/first-day"

    def record_day(self) -> None:
        """Store the day of the first run, so that runs on other days have the same prompts."""
        self.store.put_if_absent(self._first_day, self.today.isoformat().encode())

    def stage_job(self, stage: StageName, *, attempt: int, keys: Mapping[ArtifactName, str]) -> StageJob:
        """Return the StageJob of one attempt."""
        metadata = self.job.metadata
        return StageJob(
            job=JobRef(namespace=metadata.namespace, name=metadata.name, uid=metadata.uid),
            run=self.run,
            stage=stage,
            attempt=attempt,
            token=f"{self.run.id}-{stage.lower()}-{attempt}",
            frozen_spec=spec_values(self.job.spec),
            store=self.store.uri,
            data_root=self.data_root.absolute().as_uri(),
            config_maps=self.config_maps,
            artifacts=dict(keys),
            prices=self.prices,
            date=self.date,
            hardware=find_local_hardware(self.job.spec, gpus=self.gpus),
        )


def run_pipeline(run: LocalRun, *, emit: Emit) -> int:
    """Run the missing stages of a job and emit events; returns the exit code (0, or 3 if the evaluation gate failed).

    Raises the KubedistillError of a failed stage, BudgetSpent, and StoreBusy if another run of this job uses the store.
    """
    started = time.monotonic()
    check_store(run.stage_job("Prepare", attempt=1, keys={}), store=run.store)
    with _locked(run.job_folder, store=run.store):
        leftovers = run.job_folder / "processes.json"
        reap_leftovers(leftovers)
        run.record_day()
        keys, meter = _probe(run, emit=emit), Meter(run.job.spec.budget)
        with contextlib.closing(LocalEngines(leftovers=leftovers, ahead=True)) as engines:
            for stage in CHAIN:
                _advance(run, stage, keys=keys, engines=engines, meter=meter, emit=emit)
                if stage.name == "Evaluate" and not _passed(run.store, keys):
                    break
    passed = _passed(run.store, keys)
    exports = export_paths(run.job.spec.export, data_root=run.data_root, store=run.store, key=keys["export"])
    code = EXIT_SUCCESS if passed else EXIT_GATE
    seconds = round(time.monotonic() - started, 3)
    json_file, md, html = (str(run.folder / f"report.{form}") for form in FORMS)
    emit(
        FinishedEvent(
            exit_code=code,
            report=ReportFiles(json_file=json_file, md=md, html=html),
            seconds=seconds,
            exports=[str(place) for place in exports] if passed else [],
        )
    )
    return code


def _probe(run: LocalRun, *, emit: Emit) -> dict[ArtifactName, str]:
    """Return the keys of all artifacts, and note settings that are ignored on this machine."""
    job = run.stage_job("Prepare", attempt=1, keys={})
    choices = resolve(job, store=run.store)
    check_fit(job, choices)
    spec = run.job.spec
    pools = [*(teacher.resources.pool for teacher in spec.teachers), spec.student.resources.pool]
    if any(pools):
        emit(NoteEvent(message="Pools are ignored, because everything runs on this machine."))
    return choices.keys


def _advance(
    run: LocalRun, stage: Stage, *, keys: Mapping[ArtifactName, str], engines: LocalEngines, meter: Meter, emit: Emit
) -> None:
    """Run one stage unless all its artifacts are complete; Prepare always runs, since it checks the input.

    Raises BudgetSpent instead of beginning it, and once it has stopped because of that.
    """
    if stage.name != "Prepare" and are_complete(run.store, stage.makes, keys=keys):
        emit(StageEvent(stage=stage.name, state="Skipped"))
        return
    meter.check()
    attempt = 1 + len(list(run.folder.glob(f"{stage.name.lower()}-*")))
    if stage.name == "Prepare":
        attempt = 1  # Prepare runs at every start; its record is replaced
    job = run.stage_job(stage.name, attempt=attempt, keys={} if stage.name == "Prepare" else keys)
    channel = _EmittingChannel(FileChannel(run.folder / f"{stage.name.lower()}-{attempt}"), stage.name, meter, emit)
    channel.inner.publish_job(job)
    log_to(channel.inner.folder / "driver.log", job=job)
    started = time.monotonic()
    emit(StageEvent(stage=stage.name, state="Running", attempt=attempt))
    result, error = run_stage(job, store=run.store, channel=channel, engines=engines)
    meter.end_stage(result)
    emit(
        StageEvent(
            stage=stage.name,
            attempt=attempt,
            summary=result.summary,
            state="Failed" if error else "Succeeded",
            message=result.message,
            seconds=round(time.monotonic() - started, 3),
        )
    )
    if isinstance(error, Stopped):
        meter.check()
    if error:
        raise error
    for note in result.read_summary(PrepareSummary).notes if stage.name == "Prepare" else ():
        emit(NoteEvent(message=note))


def _passed(store: Store, keys: Mapping[ArtifactName, str]) -> bool:
    gate = read_figures(store, "report", keys["report"], Headline).gate
    return gate is not None and gate.passed


@dataclass(slots=True)
class _EmittingChannel:
    """A file channel that also emits progress as events, and stops the stage once the budget is spent."""

    inner: FileChannel
    stage: StageName
    meter: Meter
    emit: Emit
    _emitted_at: float = 0.0

    def publish_progress(self, progress: StageProgress) -> None:
        self.inner.publish_progress(progress)
        self.meter.note(progress)
        if time.monotonic() - self._emitted_at >= _PROGRESS_SECONDS or progress.done == progress.total:
            self._emitted_at = time.monotonic()
            self.emit(ProgressEvent(stage=self.stage, progress=progress))

    def publish_result(self, result: StageResult) -> None:
        self.inner.publish_result(result)

    def asked_to_stop(self) -> bool:
        return self.meter.is_spent or self.inner.asked_to_stop()


@contextlib.contextmanager
def _locked(folder: Path, *, store: Store) -> Iterator[None]:
    """Hold the job's lock, which the kernel releases when this process ends, even after a kill."""
    with storage_errors(store.root):
        make_folder(folder)
        descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o644)
        share(folder / "lock")
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise StoreBusy(
                "another run of this job uses the store", at=str(folder), fix="Wait for it, or stop it"
            ) from error
        yield
    finally:
        os.close(descriptor)
