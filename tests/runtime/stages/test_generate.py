"""Generate: what the teacher is asked, what is left of it, and when too little came of it."""

import pytest

from bench import Bench
from kubedistill.errors import InvalidInput, LowYield
from kubedistill_runtime.progress import Progress
from kubedistill_runtime.stages.generate import run
from kubedistill_runtime.storage.artifacts import read_manifest
from kubedistill_runtime.teachers.answer_sets import read_answer_set
from workshop import write_records


def test_answers_and_judge_are_left_with_the_teachers_figures(bench: Bench) -> None:
    outcome = bench.run("Prepare", "Generate")
    reply = len([*bench.chat.tokenizer.encode("yes"), bench.chat.end_id])
    assert {name: outcome.summary[name] for name in ("answers", "generated", "reused", "teacherTokens")} == {
        "answers": 56,
        "generated": 56,
        "reused": 0,
        "teacherTokens": 56 * reply,
    }
    store, keys = bench.workshop.store, bench.workshop.keys()
    for name, split, count in (("answers", "train", 40), ("judge", "validation", 8), ("judge", "test", 8)):
        answered = list(read_answer_set(store, name, keys[name], split))
        assert len(answered) == count
        assert answered[0].record.id == f"{split}-000001"
        assert {one.answer.turns[0].text for one in answered} == {"yes"}
    assert read_manifest(store, "judge", keys["judge"])["serving"]["peak_memory_bytes"] == 2**20


def test_made_again_nothing_is_asked_and_the_same_is_left(bench: Bench) -> None:
    bench.run("Prepare", "Generate")
    store, key = bench.workshop.store, bench.workshop.keys()["answers"]
    before = read_manifest(store, "answers", key)
    summary = bench.run("Generate").summary
    assert (summary["generated"], summary["reused"], summary["teacherTokens"]) == (0, 56, 0)
    assert bench.engines.opened == 1
    assert read_manifest(store, "answers", key) == before


def test_a_sampled_train_split_leaves_validation_and_test_greedy(bench: Bench) -> None:
    bench.workshop.set("generation.temperature", 1.0)
    bench.workshop.set("generation.samplesPerPrompt", 2)
    assert bench.run("Prepare", "Generate").summary["answers"] == 80 + 16
    bench.workshop.set("generation.seed", 1)
    assert bench.run("Generate").summary["generated"] == 80


def test_given_answers_leave_train_unasked(bench: Bench) -> None:
    bench.workshop.set("data.train.answers", "Given")
    assert bench.run("Prepare", "Generate").summary["answers"] == 16
    assert read_manifest(bench.workshop.store, "answers", bench.workshop.keys()["answers"])["splits"] == {}


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_too_few_answers_that_end_by_themselves_end_the_job(split: str, bench: Bench) -> None:
    bench.says = lambda text: "no " * 40 if text.startswith(split) else "yes"
    with pytest.raises(
        LowYield, match=rf"^spec.generation.minSuccessRatio: 0 of \d+ {split} answers came to their end"
    ):
        bench.run("Prepare", "Generate")
    assert not (bench.artifact("answers") / "manifest.json").exists()
    assert not (bench.artifact("judge") / "manifest.json").exists()


def test_files_that_changed_since_prepare_are_refused(bench: Bench) -> None:
    bench.run("Prepare")
    job = bench.workshop.stage_job("Generate", keys=bench.workshop.keys())
    write_records(bench.workshop.root / "data" / "test.jsonl", [f"test asks {number}" for number in range(9)])
    with pytest.raises(InvalidInput, match="data or model files changed while the job ran"):
        run(job, bench.workshop.store, Progress(bench.said.append), bench.engines)
    assert bench.engines.opened == 0
