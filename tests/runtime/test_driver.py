"""The driver: however a stage ends, there is a result, and whoever started it gets the error too."""

import errno
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic.alias_generators import to_camel

from kubedistill import errors
from kubedistill.chain import STAGES
from kubedistill.contract import StageJob, StageProgress, StageResult
from kubedistill.contract.artifacts import Figures
from kubedistill.contract.summaries import CurateSummary
from kubedistill.errors import ChannelUnavailable, KubedistillError, LowYield, Stopped, StorageUnavailable
from kubedistill_runtime import driver
from kubedistill_runtime.channel import FileChannel
from kubedistill_runtime.logs import log_to
from kubedistill_runtime.progress import Progress
from kubedistill_runtime.report import FORMS, names_of, write_report
from kubedistill_runtime.stages import Outcome
from kubedistill_runtime.storage.artifacts import publish
from kubedistill_runtime.storage.failures import storage_errors
from kubedistill_runtime.storage.store import Store
from support import sample_reports as made
from support.fake_engines import FunctionEngines
from support.job_folder import JobFolder
from support.messages import CheckMessage
from support.stage_jobs import stage_job

pytestmark = pytest.mark.usefixtures("own_logs")

Run = Callable[..., tuple[StageResult, KubedistillError | None]]
Work = Callable[..., Outcome]


@pytest.fixture
def channel(tmp_path: Path) -> FileChannel:
    return FileChannel(tmp_path / "attempt")


@pytest.fixture
def run(job_folder: JobFolder, channel: FileChannel, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a function as if it were the stage of that name."""

    def run(function: Work, *, stage: Any = "Curate", channel: Any = channel) -> Any:
        monkeypatch.setattr(driver, "make_artifacts", function)
        keys = job_folder.keys()
        job = job_folder.stage_job(stage, keys={} if stage == "Prepare" else keys)
        for name in STAGES[stage].needs:
            publish(job_folder.store, name, keys[name], Figures())
        return driver.run_stage(job, store=job_folder.store, channel=channel, engines=FunctionEngines())

    return run


def raising(error: Exception) -> Work:
    def stage(job: StageJob, store: Store, progress: Progress, engines: Any) -> Outcome:
        raise error

    return stage


def kinds(kind: type[KubedistillError] = KubedistillError) -> Iterator[type[KubedistillError]]:
    """Yield every error that a person can meet."""
    for one in kind.__subclasses__():
        if one.__module__ == errors.__name__:
            yield one
            yield from kinds(one)


def read_result(channel: FileChannel) -> StageResult:
    return StageResult.model_validate_json((channel.folder / "result.json").read_text())


@pytest.mark.parametrize(("stage", "complete"), [("Prepare", True), ("Prepare", False), ("Evaluate", True)])
def test_the_report_is_in_the_folder_of_the_run_that_shows_it(
    run: Run, job_folder: JobFolder, stage: str, complete: bool
) -> None:
    keys = job_folder.keys()

    def work(job: StageJob, store: Store, progress: Progress, engines: Any) -> Outcome:
        if complete:
            folder = f"artifacts/report/{keys['report']}"
            write_report(made.make_report(provenance=own_provenance(job)), store=store, folder=folder, title="job")
            publish(store, "report", keys["report"], Figures())
        return Outcome(keys=keys if stage == "Prepare" else {})

    run(work, stage=stage)
    store = job_folder.store
    placed = {form: store.path(f"runs/default.job/local/report.{form}") for form in FORMS}
    made_at = store.path(f"artifacts/report/{keys['report']}")
    shown = {form: path.read_text() for form, path in placed.items() if path.exists()}
    if stage == "Evaluate":  # which has used something
        own = json.loads(shown["json"])
        assert [one["stage"] for one in own["usage"] if not one["isOver"]] == ["Evaluate"]
        assert own | {"usage": []} == json.loads((made_at / "report.json").read_text())
        assert all("Evaluate" in text for text in shown.values())
    else:
        assert shown == ({form: (made_at / f"report.{form}").read_text() for form in FORMS} if complete else {})


def own_provenance(job: StageJob) -> dict[str, Any]:
    return made.make_values()["provenance"] | {to_camel(name): value for name, value in names_of(job).items()}


@pytest.mark.parametrize(
    ("maker", "said"),
    [("default/other", "default/other, run first"), ("secret/other", "a job of another namespace")],
)
def test_a_shared_report_has_the_name_of_the_job_that_shows_it(
    maker: str, said: str, run: Run, job_folder: JobFolder
) -> None:
    keys = job_folder.keys()

    def work(job: StageJob, store: Store, progress: Progress, engines: Any) -> Outcome:
        folder = f"artifacts/report/{keys['report']}"
        report = made.make_report(provenance=own_provenance(job) | {"job": maker, "run": "first"})
        write_report(report, store=store, folder=folder, title="other")
        publish(store, "report", keys["report"], Figures())
        return Outcome(keys=keys)

    run(work, stage="Prepare")
    folder = job_folder.store.path("runs/default.job/local")
    shown = json.loads((folder / "report.json").read_text())
    assert {name: shown["provenance"][name] for name in ("job", "run", "madeBy")} == {
        "job": "default/job",
        "run": "local",
        "madeBy": said,
    }
    assert not any("secret" in (folder / f"report.{form}").read_text() for form in FORMS)
    assert "<title>job" in (folder / "report.html").read_text()
    assert (folder / "report.md").read_text().startswith("# job\n")


@pytest.mark.parametrize("problem", [None, LowYield("too few")])
def test_a_result_says_what_it_cost(run: Run, problem: LowYield | None) -> None:
    def work(job: StageJob, store: Store, progress: Progress, engines: Any) -> Outcome:
        engines.held = 8
        progress.loading("the engine")
        if problem:
            raise problem
        return Outcome()

    result, _ = run(work)
    assert result.gpu_seconds > 0
    assert result.idle_gpu_seconds == 0, "less than 10 s are not idle"


def test_a_stage_that_succeeds_reports_its_artifacts_and_figures(
    run: Run, job_folder: JobFolder, channel: FileChannel
) -> None:
    def curate(job: StageJob, store: Store, progress: Progress, engines: Any) -> Outcome:
        publish(store, "dataset", job.artifacts["dataset"], Figures())
        publish(store, "samples", job.artifacts["samples"], Figures())
        return Outcome(summary=CurateSummary(kept=3))

    result, error = run(curate)
    assert (result.outcome, result.cause, result.reason, error) == ("Succeeded", "none", "", None)
    assert {name: one.complete for name, one in result.artifacts.items()} == {"dataset": True, "samples": True}
    assert result.artifacts["dataset"].key == job_folder.keys()["dataset"]
    assert result.summary["kept"] == 3
    assert result.started_at <= result.ended_at
    assert read_result(channel) == result


@pytest.mark.parametrize("when", ["before it began", "while it read"])
def test_a15_any_error_over_a_vanished_artifact_is_artifact_missing(when: str, run: Run, job_folder: JobFolder) -> None:
    keys = job_folder.keys()
    rows = f"artifacts/rows/{keys['rows']}"

    def curate(job: StageJob, store: Store, progress: Progress, engines: Any) -> Outcome:
        if when == "before it began":
            pytest.fail("it can't begin")
        store.delete(rows)
        return Outcome(summary=CurateSummary(kept=len(store.read(f"{rows}/train.jsonl"))))

    if when == "before it began":
        with job_folder.store.draft(rows) as draft:
            job_folder.store.put(f"{draft}/train.jsonl", b"{}")
            publish(job_folder.store, "rows", keys["rows"], Figures(), draft=draft)
        job_folder.store.delete(f"{rows}/train.jsonl")
    result, error = run(curate)
    assert (result.outcome, result.cause, result.reason) == ("Failed", "none", "ArtifactMissing")
    assert isinstance(error, errors.ArtifactMissing)
    assert error.at == str(job_folder.store.path(rows))


def test_a_stage_that_is_asked_to_leave_leaves_whatever_has_vanished(run: Run, job_folder: JobFolder) -> None:
    def curate(job: StageJob, store: Store, progress: Progress, engines: Any) -> Outcome:
        store.delete("artifacts/rows")
        raise Stopped("asked to")

    result, _ = run(curate)
    assert (result.outcome, result.reason) == ("Stopped", "Stopped")


def test_prepare_reports_every_artifact_and_which_are_there(run: Run, job_folder: JobFolder) -> None:
    keys = job_folder.keys()
    publish(job_folder.store, "rows", keys["rows"], Figures())
    result, _ = run(lambda *_, **__: Outcome(keys=keys), stage="Prepare")
    assert {name: one.key for name, one in result.artifacts.items()} == keys
    assert [name for name, one in result.artifacts.items() if one.complete] == ["rows"]


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_that_makes_nothing_says_so(stage: str, run: Run) -> None:
    result, _ = run(lambda *_, **__: Outcome(), stage=stage)
    assert not any(artifact.complete for artifact in result.artifacts.values())


@pytest.mark.parametrize("kind", list(kinds()), ids=lambda kind: kind.__name__)
def test_an_error_becomes_its_outcome_cause_and_reason(
    kind: type[KubedistillError], run: Run, channel: FileChannel
) -> None:
    error = kind("what is wrong", at="spec.field", fix="The fix")
    result, given = run(raising(error))
    assert given is error
    assert result.outcome == ("Stopped" if kind is Stopped else "Failed")
    assert (result.cause, result.reason) == (kind.cause, kind.reason)
    assert result.message == "spec.field: what is wrong. The fix"
    assert result.artifacts == {}
    assert read_result(channel) == result


def test_an_unexpected_error_is_a_fault_of_the_code_and_its_traceback_is_logged(
    run: Run, channel: FileChannel, check_message: CheckMessage
) -> None:
    log_to(channel.folder / "driver.log", job=stage_job())
    result, error = run(raising(ZeroDivisionError("division by zero\nand more")))
    assert (result.outcome, result.cause, result.reason) == ("Failed", "failure", "UserCodeError")
    check_message(result.message, "Curate", "ZeroDivisionError: division by zero", "driver.log")
    assert "and more" not in result.message
    assert error is not None
    assert error.exit_code == errors.EXIT_FAILED
    lines = [json.loads(line) for line in (channel.folder / "driver.log").read_text().splitlines()]
    assert [line["message"] for line in lines] == ["stage started", "stage raised", "stage ended"]
    assert "in stage\n    raise error" in lines[1]["traceback"]
    assert {line["driver"] for line in lines} == {result.driver}


def test_a_missing_library_is_told_with_a_fix_and_is_not_retried(run: Run, check_message: CheckMessage) -> None:
    library = "libcudart.so.13: cannot open shared object file: No such file or directory"
    result, _ = run(raising(OSError(library)))
    assert (result.outcome, result.cause, result.reason) == ("Failed", "user", "MissingDependency")
    check_message(result.message, "Curate", library)


def wrapped() -> Exception:
    """Return what comes of an actor's error: Ray's traceback in colors around the error itself."""
    from ray.exceptions import RayTaskError

    text = "\x1b[36mray::Actor.work()\x1b[39m (pid=1, ip=127.0.0.1)\nTraceback\nKeyError: 'the shard'"
    outer = RuntimeError("the work failed")
    outer.__cause__ = RayTaskError("work", text, KeyError("the shard"), "ray::Actor", 1, "127.0.0.1")
    return outer


def test_an_error_nobody_expected_is_said_by_its_innermost_cause(run: Run, check_message: CheckMessage) -> None:
    result, _ = run(raising(wrapped()))
    check_message(result.message, "Curate", "KeyError: 'the shard'", "driver.log")


@pytest.mark.parametrize(
    "error",
    [ValueError(), RuntimeError("x" * 10_000), OSError("caf\udce9.jsonl")],
    ids=["silent", "endless", "no text"],
)
def test_an_error_that_says_nothing_or_everything_fits_a_result(error: Exception, run: Run) -> None:
    result, _ = run(raising(error))
    assert result.message.startswith(f"Curate: {type(error).__name__}: ")
    assert len(result.message) <= 4096


class FullDisk(FileChannel):
    """A channel on a disk that filled up while the stage worked."""

    def publish_result(self, result: StageResult) -> None:
        with storage_errors(self.folder):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class DeafServer(FileChannel):
    """A channel whose other end is gone."""

    def publish_result(self, result: StageResult) -> None:
        raise ChannelUnavailable("the API server took no result", at="the channel")


@pytest.mark.parametrize("kind", [FullDisk, DeafServer])
def test_where_the_result_cannot_be_reported_the_stages_own_error_is_returned(
    kind: type[FileChannel], run: Run, channel: FileChannel
) -> None:
    error = errors.LowYield("too few", at="spec.curation.minKeepRatio")
    result, given = run(raising(error), channel=kind(channel.folder))
    assert given is error
    assert result.reason == "LowYield"


@pytest.mark.parametrize(("kind", "unsaid"), [(FullDisk, StorageUnavailable), (DeafServer, ChannelUnavailable)])
def test_a_success_that_cannot_be_reported_returns_the_error_that_prevented_it(
    kind: type[FileChannel], unsaid: type[KubedistillError], run: Run, channel: FileChannel
) -> None:
    _, given = run(lambda *_, **__: Outcome(), channel=kind(channel.folder))
    assert isinstance(given, unsaid)


def test_progress_goes_to_the_channel_and_a_stop_comes_back_from_it(run: Run, channel: FileChannel) -> None:
    def stage(job: StageJob, store: Store, progress: Progress, engines: Any) -> Outcome:
        progress.working(done=1, total=3, unit="rows")
        (channel.folder / "stop").touch()
        progress.working(done=2, total=3, unit="rows")
        raise AssertionError("it was asked to stop")

    result, error = run(stage)
    assert (result.outcome, result.cause) == ("Stopped", "none")
    assert isinstance(error, Stopped)
    progress = StageProgress.model_validate_json((channel.folder / "progress.json").read_text())
    assert (progress.state, progress.done) == ("Stopping", 2)


def test_every_attempt_has_a_driver_of_its_own(run: Run) -> None:
    drivers = {run(lambda *_, **__: Outcome())[0].driver for _ in range(3)}
    assert len(drivers) == 3
