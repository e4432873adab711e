"""Two drivers at once at every stage: one artifact, byte for byte as the first published it.

The second one is stopped where it hurts most, the first runs the whole stage, and the second continues.
"""

import hashlib
import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import wraps
from pathlib import Path
from typing import Any

import pytest

from kubedistill.chain import CHAIN, STAGES, ArtifactName, StageName
from kubedistill.contract import JobRef, StageResult
from kubedistill.contract.artifacts import Manifest
from kubedistill.contract.store_names import artifact_folder
from kubedistill.errors import LowYield
from kubedistill_runtime.channel import FileChannel
from kubedistill_runtime.chat import ChatFormat
from kubedistill_runtime.driver import run_stage
from kubedistill_runtime.stages import train
from kubedistill_runtime.storage.artifacts import find, read_figures
from kubedistill_runtime.storage.store import Store
from support.job_folder import QUICKSTART, JobFolder, make_job_folder
from support.stage_runner import StageRunner

AT_PUBLISHING = [(stage.name, name) for stage in CHAIN for name in stage.makes]
PARTS: dict[ArtifactName, str] = {
    "rows": "test.jsonl", "answers": ".parquet", "judge": ".parquet", "dataset": "records-000000.jsonl",
    "samples": "train-index.bin", "student": "model.safetensors", "report": "report.json",
}  # fmt: skip
"""A file of each artifact that is read on."""
File = tuple[str, int]
"""A file's digest and its inode."""


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, chat: ChatFormat) -> StageRunner:
    """Return a job all of whose artifacts are there."""
    job_folder = make_job_folder(tmp_path_factory.mktemp("finished"))
    for model in ("teachers.0.model.source", "student.model.source"):
        job_folder.set(model, str(QUICKSTART / "student"))
    job_folder.set("generation.maxTokens", 24)
    job_folder.set("training.epochs", 1)
    runner = StageRunner(job_folder, chat)
    runner.run(*(stage.name for stage in CHAIN))
    return runner


@pytest.fixture
def at(finished: StageRunner, tmp_path: Path) -> Callable[[StageName], StageRunner]:
    """Return a copy of the job in which a stage and those after it have made nothing yet."""

    def copy(stage: StageName) -> StageRunner:
        root = Path(shutil.copytree(finished.job_folder.root, tmp_path / "job"))
        runner = StageRunner(replace(finished.job_folder, root=root), finished.chat)
        names = [one.name for one in CHAIN]
        for later in CHAIN[names.index(stage) :]:
            for name in later.makes:
                runner.job_folder.store.delete(f"artifacts/{name}")
        return runner

    return copy


def drive(runner: StageRunner, stage: StageName, *, job: str, job_folder: JobFolder | None = None) -> StageResult:
    """Run a stage as the driver of a job does."""
    job_folder = job_folder or runner.job_folder
    told = job_folder.stage_job(stage, keys={} if stage == "Prepare" else job_folder.keys())
    told = told.model_copy(update={"job": JobRef(namespace="default", name=job)})
    channel = FileChannel(job_folder.root / job / stage)
    result, _ = run_stage(told, store=job_folder.store, channel=channel, engines=runner.engines)
    return result


def files_of(runner: StageRunner, stage: StageName) -> dict[str, File]:
    """Return every file of what a stage makes; the numbers that drivers of a line take are not part of it."""
    folders = [runner.artifact(name) for name in STAGES[stage].makes]
    return {
        str(path): (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_ino)
        for folder in folders
        for path in sorted(folder.rglob("*"))
        if path.is_file() and "claims" not in path.parts
    }


def interrupt(monkeypatch: pytest.MonkeyPatch, *, when: Callable[[str], bool], then: Callable[[], None]) -> None:
    """Do something just before the first write to a name, whoever writes."""
    done = False

    def interrupted(write: Callable[..., Any], place: int) -> Callable[..., Any]:
        @wraps(write)
        def first(self: Store, *arguments: Any, **named: Any) -> Any:
            nonlocal done
            if not done and when(arguments[place]):
                done = True
                then()
            return write(self, *arguments, **named)

        return first

    for name, place in {"put": 0, "put_if_absent": 0, "move": 1}.items():
        monkeypatch.setattr(Store, name, interrupted(getattr(Store, name), place))


def publishes(runner: StageRunner, name: ArtifactName) -> Callable[[str], bool]:
    folder = artifact_folder(name, runner.job_folder.keys()[name])
    return lambda written: written in (folder, f"{folder}/manifest.json")


@pytest.mark.parametrize(("stage", "name"), AT_PUBLISHING)
def test_of_two_drivers_the_first_to_publish_wins(
    stage: StageName, name: ArtifactName, at: Callable[[StageName], StageRunner], monkeypatch: pytest.MonkeyPatch
) -> None:
    runner, results, published = at(stage), [], []

    def overtake() -> None:
        results.append(drive(runner, stage, job="first"))
        published.append(files_of(runner, stage))

    interrupt(monkeypatch, when=publishes(runner, name), then=overtake)
    results.append(drive(runner, stage, job="second"))
    assert published, "the second was overtaken"
    assert files_of(runner, stage) == published[0]
    assert [result.outcome for result in results] == ["Succeeded", "Succeeded"]
    made = STAGES[stage].makes
    assert all(result.artifacts[one].complete for result in results for one in made)
    assert not list(runner.job_folder.store.path("artifacts").rglob(".tmp-*"))
    if stage == "Evaluate":
        told = [headline_of(one) for one in results]
        assert told[0] == told[1], "both name the one report"


def headline_of(result: StageResult) -> dict[str, Any]:
    """Return the summary of Evaluate without what its attempt took."""
    return {name: value for name, value in result.summary.items() if name not in ("seconds", "studentTokens")}


@pytest.mark.parametrize("stage", [stage.name for stage in CHAIN[1:]])
def test_a_driver_that_finds_all_made_is_over_at_once(stage: StageName, at: Callable[[StageName], StageRunner]) -> None:
    runner = at(stage)
    first = drive(runner, stage, job="first")
    before, opened = files_of(runner, stage), runner.engines.opened
    late = drive(runner, stage, job="late")
    assert (late.outcome, late.message, runner.engines.opened) == ("Succeeded", "already there", opened)
    assert late.artifacts == first.artifacts
    assert files_of(runner, stage) == before
    if stage == "Evaluate":
        assert late.summary == headline_of(first)


@pytest.mark.parametrize(("stage", "name"), [(stage.name, name) for stage in CHAIN for name in stage.needs])
def test_a15_an_artifact_that_lost_a_part_is_detected_by_its_reader_and_rebuilt(
    stage: StageName, name: ArtifactName, at: Callable[[StageName], StageRunner]
) -> None:
    """The manifest stays, and one file that it lists is gone."""
    runner = at(stage)
    store, key = runner.job_folder.store, runner.job_folder.keys()[name]
    store.delete(next(file for file in read_figures(store, name, key, Manifest).files if file.endswith(PARTS[name])))
    assert drive(runner, stage, job="first").reason == "ArtifactMissing"
    prepared = drive(runner, "Prepare", job="first").artifacts
    for maker in CHAIN[1:]:
        if maker.name == stage:
            break
        lacks = not all(prepared[made].complete for made in maker.makes)
        assert not lacks or name in maker.makes or name == "rows", f"{maker.name} is to be skipped"
        if lacks:
            assert drive(runner, maker.name, job="first").outcome == "Succeeded"
    assert drive(runner, stage, job="first").outcome == "Succeeded"


def test_a_driver_killed_before_it_reported_its_student_leaves_nothing_to_train(
    at: Callable[[StageName], StageRunner], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed once the student is there, before its manifest is; and once that is, before the result."""
    runner = at("Train")
    first = drive(runner, "Train", job="first")
    before = files_of(runner, "Train")
    monkeypatch.setattr(train, "train_on_workers", lambda *_, **__: pytest.fail("it trains again"))
    assert drive(runner, "Train", job="first").artifacts == first.artifacts
    (runner.artifact("student") / "manifest.json").unlink()
    again = drive(runner, "Train", job="first")
    assert again.artifacts == first.artifacts
    digests = [{name: digest for name, (digest, _) in files.items()} for files in (before, files_of(runner, "Train"))]
    assert digests[0] == digests[1]


def test_what_an_overtaken_driver_saves_late_does_not_stay(at: Callable[[StageName], StageRunner]) -> None:
    runner = at("Train")
    drive(runner, "Train", job="first")
    late = f"{artifact_folder('student', runner.job_folder.keys()['student'])}/steps/000002-000000009"
    runner.job_folder.store.put(late, b"state")
    drive(runner, "Train", job="late")
    assert not runner.job_folder.store.exists(late)


def test_a_job_that_asks_for_more_is_not_satisfied_with_what_another_has_made(
    at: Callable[[StageName], StageRunner],
) -> None:
    """The ratios are in no key: what was made for a lower one is complete, and too little for this job."""
    runner = at("Curate")
    runner.says = lambda text: "yes"
    drive(runner, "Curate", job="first")
    store, key = runner.job_folder.store, runner.job_folder.keys()["dataset"]
    manifest = artifact_folder("dataset", key) + "/manifest.json"
    store.put(manifest, store.read(manifest).replace(b'"keepRatio":1.0', b'"keepRatio":0.5'))
    runner.job_folder.set("curation.minKeepRatio", 0.9)
    assert drive(runner, "Curate", job="stricter").reason == LowYield.reason


def test_an_export_that_is_made_is_still_copied_to_a_folder_of_ones_own(
    at: Callable[[StageName], StageRunner], tmp_path: Path
) -> None:
    """A path is relative to a job's own folder, so one export may have two places."""
    runner = at("Export")
    runner.job_folder.set("export", [{"uri": "out"}])
    drive(runner, "Export", job="first")
    other = replace(runner.job_folder, root=tmp_path / "other")
    shutil.copytree(runner.job_folder.root, other.root)
    shutil.rmtree(other.root / "out")
    assert find(other.store, "export", other.keys()["export"]).complete
    assert drive(runner, "Export", job="second", job_folder=other).outcome == "Succeeded"
    assert (other.root / "out" / "model.safetensors").is_file()
