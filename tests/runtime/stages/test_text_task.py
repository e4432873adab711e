"""A task of type Text, from data to curation and scores: its template, its valid answers, and when two are equal."""

import json

import pytest

from kubedistill.errors import InvalidManifest
from kubedistill.v1alpha1 import Task
from kubedistill.v1alpha1.task import AnswerForm
from kubedistill_runtime.validation import validate
from support import three_models
from support.job_folder import JobFolder
from support.messages import CheckMessage
from support.stage_runner import StageRunner

SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"], "additionalProperties": False}


def test_invalid_answers_are_rejected_as_wrong_format(job_folder: JobFolder, runner: StageRunner) -> None:
    job_folder.spec["task"] = {"type": "Text", "prompt": "Number: {{ prompt }}", "answer": {"jsonSchema": SCHEMA}}
    for split in ("train", "validation", "test"):
        path = job_folder.root / "data" / f"{split}.jsonl"
        records = [json.loads(line) for line in path.read_text().splitlines()]
        path.write_text("\n".join(json.dumps({**one, "reference": {"n": 1}}) for one in records))
    job_folder.set("curation.minKeepRatio", 0.0)
    asked = []

    def says(text: str) -> str:
        asked.append(text)
        return '{"n": 1}' if text.endswith(("1", "2")) else '{"n": "1"}'

    runner.says = says
    curated = runner.run("Prepare", "Generate", "Curate").summary
    assert (curated.kept, curated.rejected) == (8, {"WrongFormat": 32})
    assert any("Number: " in text for text in asked)


@pytest.mark.parametrize("given", [{"labels": ["yes", "no"]}, {"regex": "yes|no"}])
def test_answers_are_drawn_greedily_if_they_are_labels(given: dict, job_folder: JobFolder) -> None:
    job_folder.spec["task"] = {"type": "Text", "answer": given}
    assert job_folder.resolve().sampling.temperature == (0 if "labels" in given else 0.7)


def test_json_answers_are_compared_by_value_and_others_as_short_answers() -> None:
    task = Task(type="Text", answer=AnswerForm(json_schema=SCHEMA))
    said = {"teacher": ['{"n": 1}'] * 40, "baseline": ['{"n": "1"}'] * 40, "distilled": ['{ "n": 1.0 }'] * 40}
    found = three_models.judged(**said, references=[('{"n":1}',)] * 40, task=task, comparison="JSON")
    scores = {name: (arm.accuracy, arm.invalid_rate) for name, arm in found.arms}
    assert scores == {"teacher": (1, 0), "baseline": (0, 1), "distilled": (1, 0)}
    assert found.comparison.measure == "exactMatch"


@pytest.mark.parametrize(
    ("task", "at"),
    [
        ({"prompt": "{{ q() }}"}, "spec.task.prompt"),
        ({"answer": {"jsonSchema": {"type": "text"}}}, "spec.task.answer.jsonSchema"),
    ],
)
def test_a_template_or_schema_that_is_wrong_is_one_problem(
    task: dict, at: str, job_folder: JobFolder, check_message: CheckMessage
) -> None:
    job_folder.spec["task"] = {"type": "Text", **task}
    (problem,) = validate(job_folder.stage_job()).problems
    assert isinstance(problem, InvalidManifest)
    assert problem.at == at
    check_message(problem, at)
