"""Prepare: the door. What it refuses is refused whether or not an earlier job has been through."""

import json
import shutil
from pathlib import Path

import pytest

from kubedistill.contract.artifacts import ExportFigures
from kubedistill.errors import InvalidManifest, InvalidModel, LowYield
from kubedistill_runtime.export.folders import export_paths, fill
from kubedistill_runtime.records import Split, read_rows
from kubedistill_runtime.storage.artifacts import find, publish
from support.job_folder import COUNTS, QUICKSTART, write_records
from support.messages import CheckMessage
from support.stage_runner import StageRunner


def rows_of(runner: StageRunner, split: Split) -> list[str]:
    return [record.id for record in read_rows(runner.job_folder.store, runner.job_folder.keys()["rows"], split)]


def test_rows_are_left_with_the_figures_of_the_funnel(runner: StageRunner) -> None:
    outcome = runner.run("Prepare")
    assert outcome.keys == runner.job_folder.keys()
    figures = outcome.summary.to_values()
    estimate = figures.pop("estimate")
    assert {one["stage"]: one["tokens"] for one in estimate["stages"]} == {
        "Generate": (40 + 8 + 8) * 8, "Train": 3 * 40 * 8, "Evaluate": 2 * 8 * 8,
    }  # fmt: skip
    assert figures == {
        "read": {"train": 40, "validation": 8, "test": 8},
        "dropped": {},
        "judged": 8,
        "notes": [],
        "counts": {"train": 40, "validation": 8, "test": 8},
        "heldOut": [],
        "objective": "CachedLogits",
        "objectiveReason": "teacher and student share a tokenizer",
        "topLogprobs": 32,
        "models": {},
        "report": None,
    }
    assert runner.engines.warmed == 1
    assert runner.engines.opened == 0


def test_with_rows_there_nothing_is_warmed_and_the_same_is_said(runner: StageRunner) -> None:
    first = runner.run("Prepare")
    again = runner.run("Prepare")
    assert (again.keys, again.summary) == (first.keys, first.summary)
    assert runner.engines.warmed == 1


def test_a_run_that_cannot_be_estimated_is_prepared(runner: StageRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object, **more: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("kubedistill_runtime.stages.prepare.estimate_stages", fail)
    assert runner.run("Prepare").summary.estimate is None


def test_a_split_without_a_file_is_held_out_of_train(runner: StageRunner) -> None:
    runner.job_folder.drop("data.test")
    prompts = [f"train asks {number}" for number in range(100)]
    write_records(runner.job_folder.root / "data" / "train.jsonl", prompts)
    summary = runner.run("Prepare").summary
    assert (summary.counts, summary.held_out) == ({"train": 90, "validation": 8, "test": 10}, ["test"])
    assert not set(rows_of(runner, "train")) & set(rows_of(runner, "test"))


def test_nothing_that_is_stored_has_what_was_redacted(runner: StageRunner) -> None:
    prompts = [f"my card is 4929-{number:04d} train asks" for number in range(40)]
    write_records(runner.job_folder.root / "data" / "train.jsonl", prompts)
    runner.job_folder.set("data.redact", "pii:mask")
    code = "import re\n\n\ndef mask(text):\n    return re.sub('4929-', '[card] ', text)\n"
    (runner.job_folder.root / "pii.py").write_text(code)
    summary = runner.run("Prepare").summary
    assert "train: 40 of 40 records: changed by pii:mask" in summary.notes
    stored = [path.read_bytes() for path in runner.job_folder.store.root.rglob("*") if path.is_file()]
    assert any(b"[card] 0001" in data for data in stored)
    assert not any(b"4929" in data for data in stored)


def test_records_are_named_after_their_split_whatever_their_file_is_called(runner: StageRunner) -> None:
    """Two ConfigMaps may well have the same key."""
    for split in ("train", "test"):
        folder = runner.job_folder.root / split
        folder.mkdir()
        shutil.copy(runner.job_folder.root / "data" / f"{split}.jsonl", folder / "records.jsonl")
        runner.job_folder.config_maps[split] = str(folder)
        runner.job_folder.set(f"data.{split}", {"configMapKeyRef": {"name": split, "key": "records.jsonl"}})
    runner.run("Prepare")
    assert (rows_of(runner, "train")[0], rows_of(runner, "test")[0]) == ("train-000001", "test-000001")


def without_references(runner: StageRunner, *, split: str) -> None:
    path = runner.job_folder.root / "data" / f"{split}.jsonl"
    count = len(path.read_text().splitlines())
    write_records(path, [f"{split} asks {number}" for number in range(count)], reference=None)


@pytest.mark.parametrize("been_through", [False, True])
def test_given_answers_need_references(*, been_through: bool, runner: StageRunner, check_message: CheckMessage) -> None:
    without_references(runner, split="train")
    if been_through:
        runner.run("Prepare")
    runner.job_folder.set("data.train.answers", "Given")
    with pytest.raises(InvalidManifest) as refused:
        runner.run("Prepare")
    check_message(refused.value, "spec.data.train", 40, "Given")


@pytest.mark.parametrize("been_through", [False, True])
@pytest.mark.parametrize("gate", ["minAccuracy", "minGain", "minGapClosed", "minRetention"])
def test_gates_on_accuracy_need_references(
    gate: str, *, been_through: bool, runner: StageRunner, check_message: CheckMessage
) -> None:
    without_references(runner, split="test")
    if been_through:
        runner.run("Prepare")
    runner.job_folder.set(f"evaluation.gate.{gate}", 0.1)
    with pytest.raises(InvalidManifest) as refused:
        runner.run("Prepare")
    assert refused.value.at == f"spec.evaluation.gate.{gate}"
    check_message(refused.value, 0)


@pytest.mark.parametrize("been_through", [False, True])
def test_a_student_without_a_template_is_refused_before_the_teacher_is_asked(
    *, been_through: bool, runner: StageRunner, tmp_path: Path, check_message: CheckMessage
) -> None:
    if been_through:
        runner.run("Prepare")
    folder = tmp_path / "base-model"
    shutil.copytree(QUICKSTART / "student", folder)
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    del settings["chat_template"]
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    runner.job_folder.set("student.model.source", str(folder))
    with pytest.raises(InvalidModel) as refused:
        runner.run("Prepare")
    check_message(refused.value, "spec.student.model.source")


@pytest.mark.parametrize("been_through", [False, True])
@pytest.mark.parametrize(
    ("field", "at"),
    [("teachers.0.model.maxModelLen", "spec.teachers[0].model.maxModelLen"), ("training.maxLength",) * 2],
)
def test_more_tokens_than_a_model_was_made_for_are_refused(
    field: str, at: str, *, been_through: bool, runner: StageRunner, check_message: CheckMessage
) -> None:
    if been_through:
        runner.run("Prepare")
    runner.job_folder.set(field, 513)
    with pytest.raises(InvalidManifest) as refused:
        runner.run("Prepare")
    check_message(refused.value, 513, 512)
    assert refused.value.at.endswith(at)


def test_a_job_that_names_no_length_fits_its_models(runner: StageRunner) -> None:
    runner.job_folder.drop("teachers.0.model.maxModelLen")
    assert runner.run("Prepare", "Generate", "Curate").summary.kept == 40
    assert runner.job_folder.resolve().teachers[0].max_model_len == 512


def spoil(runner: StageRunner, *, split: str, ratio: float) -> None:
    """Have the teacher never come to an end on a share of a split."""
    count = COUNTS[split]
    last = f"{split} asks "
    runner.says = lambda text: "no " * 40 if text.startswith(last) and int(text[len(last) :]) < ratio * count else "yes"


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_a_higher_least_share_of_answers_is_asked_of_what_is_there(
    split: str, runner: StageRunner, check_message: CheckMessage
) -> None:
    runner.job_folder.set("generation.minSuccessRatio", 0.5)
    spoil(runner, split=split, ratio=0.25)
    runner.run("Prepare", "Generate")
    keys, count = runner.job_folder.keys(), COUNTS[split]
    runner.job_folder.set("generation.minSuccessRatio", 0.75)
    runner.run("Prepare")
    runner.job_folder.set("generation.minSuccessRatio", 0.76)
    with pytest.raises(LowYield) as refused:
        runner.run("Prepare")
    assert runner.job_folder.keys() == keys
    assert refused.value.at == "spec.generation.minSuccessRatio"
    check_message(refused.value, count * 3 // 4, count, split, "76%")


def test_a_higher_least_share_of_kept_prompts_is_asked_of_what_is_there(
    runner: StageRunner, check_message: CheckMessage
) -> None:
    runner.says = lambda text: "maybe" if int(text.rpartition(" ")[2]) < 10 and text.startswith("train") else "yes"
    runner.run("Prepare", "Generate", "Curate")
    keys = runner.job_folder.keys()
    runner.job_folder.set("curation.minKeepRatio", 0.75)
    runner.run("Prepare")
    runner.job_folder.set("curation.minKeepRatio", 0.8)
    with pytest.raises(LowYield) as refused:
        runner.run("Prepare")
    assert runner.job_folder.keys() == keys
    assert refused.value.at == "spec.curation.minKeepRatio"
    check_message(refused.value, "75.0%", "80.0%", 10, "WrongFormat")


def test_a_lower_least_share_lets_through_what_was_refused(runner: StageRunner) -> None:
    spoil(runner, split="train", ratio=0.5)
    with pytest.raises(LowYield):
        runner.run("Prepare", "Generate")
    for field in ("generation.minSuccessRatio", "curation.minKeepRatio"):
        runner.job_folder.set(field, 0.5)
    assert runner.run("Prepare", "Generate", "Curate").summary.keep_ratio == 0.5
    assert runner.run("Generate").summary.generated == 0


def test_a_refusal_leaves_no_artifact(runner: StageRunner) -> None:
    without_references(runner, split="test")
    runner.job_folder.set("evaluation.gate.minGain", 0.1)
    with pytest.raises(InvalidManifest):
        runner.run("Prepare")
    assert not (runner.job_folder.store.root / "artifacts").exists()


def exported(runner: StageRunner, *, uri: str | None, by: str | None = None) -> Path:
    """Return the place of this job's export, filled by this run or by one of another key; its artifact is complete."""
    runner.job_folder.set("export", [{"uri": uri} if uri else {}])
    key, store = runner.job_folder.keys()["export"], runner.job_folder.store
    job = runner.job_folder.stage_job()
    (place,) = export_paths(job.spec.export, data_root=runner.job_folder.root, store=store, key=key)
    fill(place, key=by or key, job=job.job.full_name, write=lambda folder: (folder / "weights").touch())
    publish(store, "export", key, ExportFigures(exports=[]))
    return place


def is_complete(runner: StageRunner) -> bool:
    runner.run("Prepare")
    return find(runner.job_folder.store, "export", runner.job_folder.keys()["export"]).complete


@pytest.mark.parametrize("uri", ["out", None])
def test_an_export_that_is_in_its_place_is_not_made_again(uri: str | None, runner: StageRunner) -> None:
    exported(runner, uri=uri)
    assert is_complete(runner)


@pytest.mark.parametrize("uri", ["out", None])
def test_an_export_that_was_removed_is_to_be_made_again(uri: str | None, runner: StageRunner) -> None:
    shutil.rmtree(exported(runner, uri=uri))
    assert not is_complete(runner)


def test_an_export_that_another_job_replaced_is_to_be_made_again(runner: StageRunner) -> None:
    exported(runner, uri="out", by="another job's key")
    assert not is_complete(runner)
