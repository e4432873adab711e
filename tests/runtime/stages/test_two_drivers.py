"""Two drivers at once at every stage: one artifact, byte for byte as the first published it.

The second one is stopped where it hurts most, the first runs the whole stage, and the second goes on.
"""

import hashlib
import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import wraps
from pathlib import Path
from typing import Any

import pytest

from bench import Bench
from kubedistill.chain import CHAIN, STAGES, ArtifactName, StageName
from kubedistill.contract import JobRef, StageResult
from kubedistill.errors import LowYield
from kubedistill_runtime.channel import FileChannel
from kubedistill_runtime.chat import ChatFormat
from kubedistill_runtime.driver import run_stage
from kubedistill_runtime.stages import train
from kubedistill_runtime.storage.artifacts import find, folder_of, read_manifest
from kubedistill_runtime.storage.store import Store
from workshop import QUICKSTART, Workshop, make_workshop

AT_PUBLISHING = [(stage.name, name) for stage in CHAIN for name in stage.makes]
PARTS: dict[ArtifactName, str] = {
    "rows": "test.jsonl", "answers": ".parquet", "judge": ".parquet", "dataset": "records-000000.jsonl",
    "samples": "train-index.bin", "student": "model.safetensors", "report": "report.json",
}  # fmt: skip
"""A file of each artifact that is read on."""
File = tuple[str, int]
"""A file's digest and its inode."""


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, chat: ChatFormat) -> Bench:
    """A job all of whose artifacts are there."""
    workshop = make_workshop(tmp_path_factory.mktemp("finished"))
    for model in ("teachers.0.model.source", "student.model.source"):
        workshop.set(model, str(QUICKSTART / "student"))
    workshop.set("generation.maxTokens", 24)
    workshop.set("training.epochs", 1)
    bench = Bench(workshop, chat)
    bench.run(*(stage.name for stage in CHAIN))
    return bench


@pytest.fixture
def at(finished: Bench, tmp_path: Path) -> Callable[[StageName], Bench]:
    """A copy of the job in which a stage and those after it have made nothing yet."""

    def copy(stage: StageName) -> Bench:
        root = Path(shutil.copytree(finished.workshop.root, tmp_path / "job"))
        bench = Bench(replace(finished.workshop, root=root), finished.chat)
        names = [one.name for one in CHAIN]
        for later in CHAIN[names.index(stage) :]:
            for name in later.makes:
                bench.workshop.store.delete(f"artifacts/{name}")
        return bench

    return copy


def drive(bench: Bench, stage: StageName, *, job: str, workshop: Workshop | None = None) -> StageResult:
    """Run a stage as the driver of a job does."""
    workshop = workshop or bench.workshop
    told = workshop.stage_job(stage, keys={} if stage == "Prepare" else workshop.keys())
    told = told.model_copy(update={"job": JobRef(namespace="default", name=job)})
    channel = FileChannel(workshop.root / job / stage)
    result, _ = run_stage(told, store=workshop.store, channel=channel, engines=bench.engines)
    return result


def files_of(bench: Bench, stage: StageName) -> dict[str, File]:
    """Every file of what a stage makes; the numbers that drivers of a line take are not part of it."""
    folders = [bench.artifact(name) for name in STAGES[stage].makes]
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


def publishes(bench: Bench, name: ArtifactName) -> Callable[[str], bool]:
    folder = folder_of(name, bench.workshop.keys()[name])
    return lambda written: written in (folder, f"{folder}/manifest.json")


@pytest.mark.parametrize(("stage", "name"), AT_PUBLISHING)
def test_of_two_drivers_the_first_to_publish_wins(
    stage: StageName, name: ArtifactName, at: Callable[[StageName], Bench], monkeypatch: pytest.MonkeyPatch
) -> None:
    bench, results, published = at(stage), [], []

    def overtake() -> None:
        results.append(drive(bench, stage, job="first"))
        published.append(files_of(bench, stage))

    interrupt(monkeypatch, when=publishes(bench, name), then=overtake)
    results.append(drive(bench, stage, job="second"))
    assert published, "the second was overtaken"
    assert files_of(bench, stage) == published[0]
    assert [result.outcome for result in results] == ["Succeeded", "Succeeded"]
    made = STAGES[stage].makes
    assert all(result.artifacts[one].complete for result in results for one in made)
    assert not list(bench.workshop.store.path("artifacts").rglob(".tmp-*"))
    if stage == "Evaluate":
        told = [{key: value for key, value in one.summary.items() if key != "seconds"} for one in results]
        assert told[0] == told[1], "both tell of the one report"


@pytest.mark.parametrize("stage", [stage.name for stage in CHAIN[1:]])
def test_a_driver_that_finds_all_made_is_over_at_once(stage: StageName, at: Callable[[StageName], Bench]) -> None:
    bench = at(stage)
    first = drive(bench, stage, job="first")
    before, opened = files_of(bench, stage), bench.engines.opened
    late = drive(bench, stage, job="late")
    assert (late.outcome, late.message, bench.engines.opened) == ("Succeeded", "already there", opened)
    assert late.artifacts == first.artifacts
    assert files_of(bench, stage) == before
    if stage == "Evaluate":
        assert late.summary == {name: value for name, value in first.summary.items() if name != "seconds"}


@pytest.mark.parametrize(("stage", "name"), [(stage.name, name) for stage in CHAIN for name in stage.needs])
def test_a15_what_vanishes_in_part_is_found_by_the_stage_that_reads_it_and_made_anew(
    stage: StageName, name: ArtifactName, at: Callable[[StageName], Bench]
) -> None:
    """The manifest stays, and one file that it lists is gone."""
    bench = at(stage)
    store, key = bench.workshop.store, bench.workshop.keys()[name]
    store.delete(next(file for file in read_manifest(store, name, key)["files"] if file.endswith(PARTS[name])))
    assert drive(bench, stage, job="first").reason == "ArtifactMissing"
    prepared = drive(bench, "Prepare", job="first").artifacts
    for maker in CHAIN[1:]:
        if maker.name == stage:
            break
        lacks = not all(prepared[made].complete for made in maker.makes)
        assert not lacks or name in maker.makes or name == "rows", f"{maker.name} is to be skipped"
        if lacks:
            assert drive(bench, maker.name, job="first").outcome == "Succeeded"
    assert drive(bench, stage, job="first").outcome == "Succeeded"


def test_a_driver_that_was_killed_before_it_told_of_its_student_leaves_nothing_to_train(
    at: Callable[[StageName], Bench], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed once the student is there, before its manifest is; and once that is, before the result."""
    bench = at("Train")
    first = drive(bench, "Train", job="first")
    before = files_of(bench, "Train")
    monkeypatch.setattr(train, "train_on_workers", lambda *_, **__: pytest.fail("it trains again"))
    assert drive(bench, "Train", job="first").artifacts == first.artifacts
    (bench.artifact("student") / "manifest.json").unlink()
    again = drive(bench, "Train", job="first")
    assert again.artifacts == first.artifacts
    digests = [{name: digest for name, (digest, _) in files.items()} for files in (before, files_of(bench, "Train"))]
    assert digests[0] == digests[1]


def test_what_an_overtaken_driver_saves_late_does_not_stay(at: Callable[[StageName], Bench]) -> None:
    bench = at("Train")
    drive(bench, "Train", job="first")
    late = f"{folder_of('student', bench.workshop.keys()['student'])}/steps/000002-000000009"
    bench.workshop.store.put(late, b"state")
    drive(bench, "Train", job="late")
    assert not bench.workshop.store.exists(late)


def test_a_job_that_asks_for_more_is_not_satisfied_with_what_another_has_made(
    at: Callable[[StageName], Bench],
) -> None:
    """The ratios are in no key: what was made for a lower one is complete, and too little for this job."""
    bench = at("Curate")
    bench.says = lambda text: "yes"
    drive(bench, "Curate", job="first")
    store, key = bench.workshop.store, bench.workshop.keys()["dataset"]
    manifest = folder_of("dataset", key) + "/manifest.json"
    store.put(manifest, store.read(manifest).replace(b'"keepRatio":1.0', b'"keepRatio":0.5'))
    bench.workshop.set("curation.minKeepRatio", 0.9)
    assert drive(bench, "Curate", job="stricter").reason == LowYield.reason


def test_an_export_that_is_made_is_still_copied_to_a_folder_of_ones_own(
    at: Callable[[StageName], Bench], tmp_path: Path
) -> None:
    """A path is relative to a job's own folder, so one export may have two places."""
    bench = at("Export")
    bench.workshop.set("export", [{"uri": "out"}])
    drive(bench, "Export", job="first")
    other = replace(bench.workshop, root=tmp_path / "other")
    shutil.copytree(bench.workshop.root, other.root)
    shutil.rmtree(other.root / "out")
    assert find(other.store, "export", other.keys()["export"]).complete
    assert drive(bench, "Export", job="second", workshop=other).outcome == "Succeeded"
    assert (other.root / "out" / "model.safetensors").is_file()
