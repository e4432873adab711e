"""Export: the judged student in every form and place that the manifest names, once."""

import json
import shutil
from pathlib import Path

import pytest

from kubedistill.contract.artifacts import ExportFigures
from kubedistill.contract.store_names import artifact_folder
from kubedistill_runtime.export.folders import MARK
from kubedistill_runtime.storage.artifacts import read_figures
from support.job_folder import QUICKSTART
from support.stage_runner import StageRunner


@pytest.fixture
def trained(runner: StageRunner) -> StageRunner:
    """Return a job whose student artifact is there: the student as it was."""
    student = artifact_folder("student", runner.job_folder.keys()["student"])
    runner.job_folder.store.put_folder(f"{student}/model", QUICKSTART / "student")
    return runner


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_without_a_uri_it_stays_in_the_store(trained: StageRunner) -> None:
    (export,) = trained.run("Export").summary.exports
    assert not Path(export.path).is_absolute(), "a store may be moved"
    folder = trained.job_folder.store.path(export.path)
    assert files(folder).keys() == {*files(QUICKSTART / "student"), MARK}


def test_each_place_gets_its_copy_and_says_whose_it_is(trained: StageRunner, tmp_path: Path) -> None:
    elsewhere = tmp_path / "else where"
    trained.job_folder.set("export", [{"uri": "out/student"}, {"uri": elsewhere.as_uri()}])
    exports = trained.run("Export").summary.exports
    places = [trained.job_folder.root / "out" / "student", elsewhere]
    assert [(one.format, one.path) for one in exports] == [("Safetensors", str(place)) for place in places]
    for place in places:
        found = files(place)
        name = trained.job_folder.stage_job().job.full_name
        assert json.loads(found.pop(MARK)) == {"key": trained.job_folder.keys()["export"], "job": name}
        assert found == files(QUICKSTART / "student")
    key = trained.job_folder.keys()["export"]
    assert read_figures(trained.job_folder.store, "export", key, ExportFigures).exports == exports
    assert [said.done for said in trained.said] == [0, 1]


@pytest.mark.parametrize("layout", ["model", "trained/model"])
def test_garbage_of_0_1_in_a_published_model_is_not_exported(layout: str, runner: StageRunner) -> None:
    """A full disk left it there; 0.1 had the model in the artifact's folder itself."""
    model = runner.artifact("student") / layout
    shutil.copytree(QUICKSTART / "student", model)
    (model / f".tmp-471-{'d84a' * 8}").write_bytes(b"half")
    (export,) = runner.run("Export").summary.exports
    assert files(runner.job_folder.store.path(export.path)).keys() == {*files(QUICKSTART / "student"), MARK}


def test_killed_between_two_places_it_continues_with_the_second(trained: StageRunner) -> None:
    trained.job_folder.set("export", [{"uri": "first"}])
    trained.run("Export")
    first = trained.job_folder.root / "first" / "model.safetensors"
    before = first.stat().st_ino
    trained.job_folder.set("export", [{"uri": "first"}, {"uri": "second"}])
    (trained.job_folder.root / "first" / MARK).write_text(json.dumps({"key": trained.job_folder.keys()["export"]}))
    trained.run("Export")
    assert first.stat().st_ino == before, "what is whole is not written again"
    assert (trained.job_folder.root / "second" / "model.safetensors").is_file()
