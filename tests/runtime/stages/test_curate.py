"""Curate: every rejection has a reason and is kept with it, and too few kept answers end the job."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from bench import Bench
from kubedistill.errors import LowYield
from kubedistill_runtime.curation.dataset import read_dataset
from kubedistill_runtime.records import Message
from workshop import write_records

PHRASE = "so it goes on my dear friend "


def rejected(bench: Bench) -> list[dict[str, Any]]:
    lines = (bench.artifact("dataset") / "rejected.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def test_all_good_answers_are_kept(bench: Bench) -> None:
    summary = bench.run("Prepare", "Generate", "Curate").summary
    assert summary == {"asked": 40, "kept": 40, "rejected": {}, "keepRatio": 1.0}
    assert (bench.said[-1].done, bench.said[-1].figures) == (40, {"kept": 40})
    assert rejected(bench) == []
    dataset = read_dataset(bench.workshop.store, bench.workshop.keys()["dataset"])
    assert [one.record.id for one in dataset] == [f"train-{number:06d}" for number in range(1, 41)]
    assert {one.answer.turns[0].text for one in dataset} == {"yes"}
    assert all(one.answer.turns[0].top is not None for one in dataset)


LABELS = {"type": "Classification", "labels": ["yes", "no"]}
REASONS: dict[str, tuple[dict[str, Any], Callable[[str], str]]] = {
    "WrongFormat": (LABELS, lambda text: "maybe"),
    "Empty": (LABELS, lambda text: " "),
    "Unfinished": ({"type": "Conversation"}, lambda text: PHRASE * 60),
    "Repetition": ({"type": "Conversation"}, lambda text: PHRASE * 10),
}


@pytest.mark.parametrize("reason", REASONS)
def test_a_bad_answer_is_rejected_and_kept_with_its_reason(reason: str, bench: Bench) -> None:
    task, bad = REASONS[reason]
    bench.workshop.set("task", task)
    bench.workshop.set("teachers.0.model.maxModelLen", 512)
    bench.workshop.set("generation.maxTokens", 300)
    bench.says = lambda text: bad(text) if text.endswith(" 3") else "yes"
    summary = bench.run("Prepare", "Generate", "Curate").summary
    assert summary["rejected"] == {reason: 1}
    assert summary["keepRatio"] == 39 / 40
    (one,) = rejected(bench)
    assert (one["id"], one["sample"], one["reason"]) == ("train-000004", 0, reason)
    assert len(one["texts"]) == 1


def test_what_the_engine_died_of_is_unanswered(bench: Bench) -> None:
    bench.engines.engine.deadly = tuple(bench.chat.prompt_ids([Message("user", "train asks 3")]))
    assert bench.run("Prepare", "Generate", "Curate").summary["rejected"] == {"Unanswered": 1}
    assert rejected(bench)[0]["texts"] == []


def test_samples_that_say_the_same_are_kept_once_and_the_prompt_counts_once(bench: Bench) -> None:
    bench.workshop.set("generation.samplesPerPrompt", 3)
    summary = bench.run("Prepare", "Generate", "Curate").summary
    assert summary == {"asked": 120, "kept": 40, "rejected": {"Duplicate": 80}, "keepRatio": 1.0}
    assert {one["sample"] for one in rejected(bench)} == {1, 2}


@pytest.mark.parametrize(("least", "fails"), [(0.75, False), (0.76, True), (0.0, False)])
def test_too_few_kept_prompts_end_the_job_with_the_reasons(least: float, *, fails: bool, bench: Bench) -> None:
    bench.workshop.set("curation.minKeepRatio", least)
    bench.says = lambda text: "maybe" if int(text.rpartition(" ")[2]) < 10 else "yes"
    bench.run("Prepare", "Generate")
    if not fails:
        assert bench.run("Curate").summary["keepRatio"] == 0.75
        return
    with pytest.raises(
        LowYield, match=r"75.0% of the prompts keep an answer, below minKeepRatio 76.0% \(10 WrongF"
    ) as low:
        bench.run("Curate")
    assert low.value.at == "spec.curation.minKeepRatio"
    assert "rejected.jsonl" in low.value.fix
    assert len(rejected(bench)) == 10, "the file that the message sends people to is there"
    assert not (bench.artifact("dataset") / "manifest.json").exists()


def test_given_answers_pass_the_same_filters(bench: Bench) -> None:
    bench.workshop.set("data.train.answers", "Given")
    bench.run("Prepare", "Generate")
    train = tuple(bench.chat.prompt_ids([Message("user", "train asks 3")]))
    assert train not in bench.engines.engine.asked
    assert bench.run("Curate").summary == {"asked": 40, "kept": 40, "rejected": {}, "keepRatio": 1.0}


def test_given_answers_are_labels_as_the_manifest_declares_them(bench: Bench) -> None:
    prompts = [f"train asks {number}" for number in range(40)]
    write_records(bench.workshop.root / "data" / "train.jsonl", prompts, reference=" YES\n")
    bench.workshop.set("data.train.answers", "Given")
    bench.run("Prepare", "Generate", "Curate")
    dataset = read_dataset(bench.workshop.store, bench.workshop.keys()["dataset"])
    assert {(one.record.references, one.answer.turns[0].text) for one in dataset} == {(("yes",), "yes")}
