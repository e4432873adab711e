"""Validation: it finds what Prepare would refuse, all of it at once, and leaves nothing behind."""

import json
from pathlib import Path
from typing import Any

import pytest

from kubedistill_runtime.chat import ChatFormat
from kubedistill_runtime.validation import Findings, validate
from support.chat_models import FAMILIES, write_chat_model
from support.job_folder import QUICKSTART, JobFolder, write_model
from support.stage_runner import StageRunner


@pytest.fixture
def runner(job_folder: JobFolder, chat: ChatFormat) -> StageRunner:
    for model in ("teachers.0.model.source", "student.model.source"):
        job_folder.set(model, str(QUICKSTART / "student"))
    return StageRunner(job_folder, chat)


def check(runner: StageRunner) -> Findings:
    return validate(runner.job_folder.stage_job())


def lines(runner: StageRunner, split: str, *more: str) -> None:
    path = runner.job_folder.root / "data" / f"{split}.jsonl"
    path.write_text(path.read_text() + "".join(f"{line}\n" for line in more))


def test_a_sound_job_has_no_problem_and_nothing_is_written(runner: StageRunner) -> None:
    before = sorted(runner.job_folder.root.rglob("*"))
    found = check(runner)
    assert (found.problems, found.unchecked) == ([], [])
    assert found.notes == ["objective CachedLogits: teacher and student share a tokenizer"]
    assert sorted(runner.job_folder.root.rglob("*")) == before


def test_all_problems_of_all_files_are_found_at_once(runner: StageRunner) -> None:
    lines(runner, "train", "{", '{"prompt": 7}')
    lines(runner, "test", '{"prompt": "x", "reference": "Yse"}')
    runner.job_folder.set("student.model.source", "nowhere")
    runner.job_folder.set("export", [{"uri": "data"}])
    found = check(runner)
    assert [problem.reason for problem in found.problems] == [
        "InvalidData",
        "InvalidData",
        "InvalidModel",
        "InvalidManifest",
    ]
    assert all(f"train.jsonl:{line}" in str(found.problems[0]) for line in (41, 42))
    assert "Did you mean 'yes'" in str(found.problems[1])


def test_at_most_twenty_problems_of_a_file_are_said(runner: StageRunner) -> None:
    lines(runner, "train", *["{"] * 30)
    (problem,) = check(runner).problems
    assert str(problem).count("train.jsonl:") == 20


@pytest.mark.parametrize("role", ["teachers.0", "student"])
def test_a_hub_model_that_is_not_at_hand_is_said_and_the_rest_checked(
    role: str, runner: StageRunner, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    runner.job_folder.set(f"{role}.model.source", "hf://nobody/nothing")
    lines(runner, "train", "{")
    found = check(runner)
    assert [problem.reason for problem in found.problems] == ["InvalidData"]
    (unchecked,) = found.unchecked
    assert "nobody/nothing is not on this machine" in unchecked


def test_of_one_model_at_hand_the_template_is_checked_alone(
    runner: StageRunner, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    runner.job_folder.set("teachers.0.model.source", "hf://nobody/nothing")
    runner.job_folder.set("task.systemPrompt", "Be brief.")
    folder = tmp_path / "gemma"
    write_model(folder, size=2)
    write_chat_model(folder, FAMILIES["gemma-2"])
    runner.job_folder.set("student.model.source", str(folder))
    (problem,) = check(runner).problems
    assert problem.at == "spec.student.model.source"


def test_of_one_model_at_hand_the_length_is_checked_whatever_the_data(runner: StageRunner) -> None:
    runner.job_folder.set("student.model.source", "nowhere")
    runner.job_folder.set("teachers.0.model.maxModelLen", 600)
    lines(runner, "train", "{")
    assert [problem.at for problem in check(runner).problems][1:] == [
        "spec.student.model.source",
        "spec.teachers[0].model.maxModelLen",
    ]


SIBLINGS: dict[str, tuple[dict[str, Any], str]] = {
    "a length beyond the positions": ({"training.maxLength": 600}, "spec.training.maxLength"),
    "a gate without references": ({"evaluation.gate.minAccuracy": 0.5}, "spec.evaluation.gate.minAccuracy"),
    "an objective that is not legal": (
        {"training.objective.type": "CachedLogits", "generation.topLogprobs": 0}, "spec.training.objective.type",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SIBLINGS)
def test_what_the_manifest_asks_of_models_and_data_is_checked(name: str, runner: StageRunner) -> None:
    fields, at = SIBLINGS[name]
    for path, value in fields.items():
        runner.job_folder.set(path, value)
    test = runner.job_folder.root / "data" / "test.jsonl"
    if "minAccuracy" in at:
        records = [json.loads(line) for line in test.read_text().splitlines()]
        test.write_text("".join(json.dumps({"prompt": one["prompt"]}) + "\n" for one in records))
    assert [problem.at for problem in check(runner).problems] == [at]


def test_a_store_that_no_cluster_can_use_is_noted(runner: StageRunner) -> None:
    runner.job_folder.set("storage", {"uri": "s3://bucket/models"})
    found = check(runner)
    assert found.problems == []
    assert found.notes[0].startswith("spec.storage.uri: s3://bucket/models ")
    runner.job_folder.set("storage", {"uri": "file:///kubedistill/storage/models"})
    assert not any(note.startswith("spec.storage.uri") for note in check(runner).notes)
