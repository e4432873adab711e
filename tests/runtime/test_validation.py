"""Validation: it finds what Prepare would refuse, all of it at once, and leaves nothing behind."""

import json
from pathlib import Path
from typing import Any

import pytest

from bench import Bench
from chat_models import FAMILIES, write_chat_model
from kubedistill_runtime.chat import ChatFormat
from kubedistill_runtime.validation import Findings, validate
from workshop import QUICKSTART, Workshop, write_model


@pytest.fixture
def bench(workshop: Workshop, chat: ChatFormat) -> Bench:
    for model in ("teachers.0.model.source", "student.model.source"):
        workshop.set(model, str(QUICKSTART / "student"))
    return Bench(workshop, chat)


def check(bench: Bench) -> Findings:
    return validate(bench.workshop.stage_job())


def lines(bench: Bench, split: str, *more: str) -> None:
    path = bench.workshop.root / "data" / f"{split}.jsonl"
    path.write_text(path.read_text() + "".join(f"{line}\n" for line in more))


def test_a_sound_job_has_no_problem_and_nothing_is_written(bench: Bench) -> None:
    before = sorted(bench.workshop.root.rglob("*"))
    found = check(bench)
    assert (found.problems, found.unchecked) == ([], [])
    assert found.notes == ["objective CachedLogits: teacher and student share a tokenizer"]
    assert sorted(bench.workshop.root.rglob("*")) == before


def test_all_problems_of_all_files_are_found_at_once(bench: Bench) -> None:
    lines(bench, "train", "{", '{"prompt": 7}')
    lines(bench, "test", '{"prompt": "x", "reference": "Yse"}')
    bench.workshop.set("student.model.source", "nowhere")
    bench.workshop.set("export", [{"uri": "data"}])
    found = check(bench)
    assert [problem.reason for problem in found.problems] == [
        "InvalidData",
        "InvalidData",
        "InvalidModel",
        "InvalidManifest",
    ]
    assert all(f"train.jsonl:{line}" in str(found.problems[0]) for line in (41, 42))
    assert "Did you mean 'yes'" in str(found.problems[1])


def test_at_most_twenty_problems_of_a_file_are_said(bench: Bench) -> None:
    lines(bench, "train", *["{"] * 30)
    (problem,) = check(bench).problems
    assert str(problem).count("train.jsonl:") == 20


@pytest.mark.parametrize("role", ["teachers.0", "student"])
def test_a_hub_model_that_is_not_at_hand_is_said_and_the_rest_checked(
    role: str, bench: Bench, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    bench.workshop.set(f"{role}.model.source", "hf://nobody/nothing")
    lines(bench, "train", "{")
    found = check(bench)
    assert [problem.reason for problem in found.problems] == ["InvalidData"]
    (unchecked,) = found.unchecked
    assert "nobody/nothing is not on this machine" in unchecked


def test_of_one_model_at_hand_the_template_is_checked_alone(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    bench.workshop.set("teachers.0.model.source", "hf://nobody/nothing")
    bench.workshop.set("task.systemPrompt", "Be brief.")
    folder = tmp_path / "gemma"
    write_model(folder, size=2)
    write_chat_model(folder, FAMILIES["gemma-2"])
    bench.workshop.set("student.model.source", str(folder))
    (problem,) = check(bench).problems
    assert problem.at == "spec.student.model.source"


def test_of_one_model_at_hand_the_length_is_checked_whatever_the_data(bench: Bench) -> None:
    bench.workshop.set("student.model.source", "nowhere")
    bench.workshop.set("teachers.0.model.maxModelLen", 600)
    lines(bench, "train", "{")
    assert [problem.at for problem in check(bench).problems][1:] == [
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
def test_what_the_manifest_asks_of_models_and_data_is_checked(name: str, bench: Bench) -> None:
    fields, at = SIBLINGS[name]
    for path, value in fields.items():
        bench.workshop.set(path, value)
    test = bench.workshop.root / "data" / "test.jsonl"
    if "minAccuracy" in at:
        records = [json.loads(line) for line in test.read_text().splitlines()]
        test.write_text("".join(json.dumps({"prompt": one["prompt"]}) + "\n" for one in records))
    assert [problem.at for problem in check(bench).problems] == [at]
