"""Bad input ends with exit code 2 and one message that names the place and the fix, and leaves no artifact."""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from support.messages import check_facts
from support.small_job import QUICKSTART, SmallJob, make_job, run_job

Change = Callable[[SmallJob], None]


@dataclass(frozen=True, slots=True)
class Case:
    """A way to spoil the small job, and what the message must hold: the place, what is wrong and the fix."""

    change: Change
    names: tuple[object, ...]
    """What the message names."""


def spec(*path: str | int, value: Any) -> Change:
    def change(job: SmallJob) -> None:
        node: Any = job.spec
        for part in path[:-1]:
            node = node[part]
        node[path[-1]] = value
        job.edit()

    return change


def line(number: int, text: str, *, split: str = "train") -> Change:
    def change(job: SmallJob) -> None:
        file = job.manifest.with_name(f"{split}.jsonl")
        lines = file.read_text().splitlines(keepends=True)
        lines[number - 1] = text + "\n"
        file.write_text("".join(lines))

    return change


def without_config(job: SmallJob) -> None:
    folder = job.manifest.with_name("student")
    shutil.copytree(QUICKSTART / "student", folder)
    (folder / "config.json").unlink()
    spec("student", "model", "source", value="student")(job)


def other_tokenizer(job: SmallJob) -> None:
    folder = job.manifest.with_name("student")
    shutil.copytree(QUICKSTART / "student", folder)
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    tokenizer["model"]["merges"].pop()
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    spec("student", "model", "source", value="student")(job)


def first_lines(count: int, *, split: str) -> Change:
    def change(job: SmallJob) -> None:
        file = job.manifest.with_name(f"{split}.jsonl")
        file.write_text("".join(file.read_text().splitlines(keepends=True)[:count]))

    return change


def without_references(job: SmallJob) -> None:
    file = job.manifest.with_name("test.jsonl")
    records = [json.loads(one) for one in file.read_text().splitlines()]
    file.write_text(
        "".join(
            json.dumps({"messages": one["messages"]} if "messages" in one else {"prompt": one["prompt"]}) + "\n"
            for one in records
        )
    )


def twice(job: SmallJob) -> None:
    file = job.manifest.with_name("train.jsonl")
    first = file.read_text().splitlines(keepends=True)[0]
    line(5, first.strip())(job)


SECOND_KIND = {
    "name": "router",
    "model": {"source": "x"},
    "endpoint": {"api": "OpenAI", "url": "http://x", "model": "y"},
}
CASES = {
    "an unknown field": Case(spec("trainning", value={}), ("spec.trainning", "`training`")),
    "a wrong type": Case(spec("training", "epochs", value="three"), ("spec.training.epochs", "integer")),
    "out of range": Case(spec("generation", "temperature", value=9), ("spec.generation.temperature", 2)),
    "a teacher of two kinds": Case(
        spec("teachers", 0, value=SECOND_KIND), ("spec.teachers[0]", "model", "endpoint", "Remove")
    ),
    "a missing file": Case(
        spec("data", "train", "uri", value="gone.jsonl"),
        ("spec.data.train", "gone.jsonl"),
    ),
    "an empty file": Case(first_lines(0, split="test"), ("test.jsonl",)),
    "a broken line": Case(line(7, '{"messages": [{"role"'), ("train.jsonl:7", "JSON")),
    "wrong roles": Case(
        line(3, '{"messages": [{"role": "user", "content": "x"}, {"role": "user", "content": "y"}]}'),
        ("train.jsonl:3", "user, user"),
    ),
    "an unknown role": Case(
        line(3, '{"messages": [{"role": "robot", "content": "x"}]}'),
        ("train.jsonl:3", "system, user, assistant"),
    ),
    "a label that is none": Case(
        line(2, '{"prompt": "Hello", "reference": "billing.fixx"}'),
        ("train.jsonl:2", "'billing.fixx'", "'billing.fix'"),
    ),
    "a duplicate id": Case(twice, ("train.jsonl:5", "id")),
    "too few records": Case(first_lines(10, split="train"), ("spec.data.train", 10, 16)),
    "all prompts too long": Case(
        spec("teachers", 0, "model", "maxModelLen", value=24),
        (0, "TooLong", "maxModelLen"),
    ),
    "tokenizers that differ": Case(other_tokenizer, ("spec.training.objective.type", "CachedLogits", "Sequence")),
    "a softened loss": Case(
        spec("training", "objective", value={"type": "CachedLogits", "temperature": 2.0}),
        ("spec.training.objective", "temperature", 1),
    ),
    "a model without config": Case(without_config, ("spec.student.model.source", "config.json", "save_pretrained")),
    "a gate without references": Case(
        without_references,
        ("spec.evaluation.gate.minGain", "references"),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_bad_input_is_refused_before_anything_is_made(name: str, tmp_path: Path) -> None:
    job, store = make_job(tmp_path / "job"), tmp_path / "store"
    if name == "a gate without references":
        job.edit(evaluation={"gate": {"minGain": 0.1}})
    CASES[name].change(job)
    ended = run_job(job.manifest, store)
    assert ended.code == 2, ended
    failed = [event["message"] for event in ended.events if event.get("event") == "failed"]
    (message,) = failed or [ended.stderr.strip()]
    check_facts(message, *CASES[name].names)
    assert "Traceback" not in ended.stderr
    assert not (store / "artifacts").exists()
    assert not list(store.rglob("*.parquet"))


def test_some_long_prompts_are_dropped_and_counted(tmp_path: Path) -> None:
    from kubedistill_runtime.__main__ import main

    job, store = make_job(tmp_path / "job"), tmp_path / "store"
    long = json.dumps({"prompt": "very " * 300 + "long", "reference": "app.fix"})
    line(4, long)(job)
    folder = tmp_path / "attempt"
    folder.mkdir()
    (folder / "job.json").write_text(stage_job("Prepare", job=job, store=store))
    assert main(["--job", str(folder / "job.json")]) == 0
    result = json.loads((folder / "result.json").read_text())
    assert result["summary"]["dropped"] == {"TooLong": {"train": 1}}
    assert result["summary"]["counts"]["train"] == 63


def stage_job(stage: str, *, job: SmallJob, store: Path) -> str:
    from kubedistill.manifest.loading import load_manifest
    from kubedistill_runtime.pipeline import LocalRun
    from kubedistill_runtime.storage.store import open_store

    run = LocalRun(load_manifest(job.manifest), job.manifest.parent, open_store(str(store)))
    return run.stage_job(stage, attempt=1, keys={}).to_json()
