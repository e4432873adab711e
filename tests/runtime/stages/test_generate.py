"""Generate: what the teacher is asked, what is left of it, and when too little came of it."""

import pytest

from kubedistill.contract.artifacts import AnswersFigures, JudgeFigures
from kubedistill.errors import InvalidInput, LowYield
from kubedistill_runtime.storage.artifacts import read_figures
from kubedistill_runtime.teachers.answer_sets import read_answer_set
from support.job_folder import write_records
from support.messages import CheckMessage
from support.stage_runner import StageRunner


def test_answers_and_judge_are_left_with_the_teachers_figures(runner: StageRunner) -> None:
    outcome = runner.run("Prepare", "Generate")
    reply = len([*runner.chat.tokenizer.encode("yes"), runner.chat.end_id])
    said = outcome.summary
    assert (said.answers, said.generated, said.reused, said.teacher_tokens) == (56, 56, 0, 56 * reply)
    store, keys = runner.job_folder.store, runner.job_folder.keys()
    for name, split, count in (("answers", "train", 40), ("judge", "validation", 8), ("judge", "test", 8)):
        answered = list(read_answer_set(store, name, keys[name], split))
        assert len(answered) == count
        assert answered[0].record.id == f"{split}-000001"
        assert {one.answer.turns[0].text for one in answered} == {"yes"}
    serving = read_figures(store, "judge", keys["judge"], JudgeFigures).serving
    assert serving is not None
    assert serving.peak_memory_bytes == 2**20


def test_made_again_nothing_is_asked_and_the_same_is_left(runner: StageRunner) -> None:
    runner.run("Prepare", "Generate")
    store, key = runner.job_folder.store, runner.job_folder.keys()["answers"]
    before = read_figures(store, "answers", key, AnswersFigures)
    summary = runner.run("Generate").summary
    assert (summary.generated, summary.reused, summary.teacher_tokens) == (0, 56, 0)
    assert runner.engines.opened == 1
    assert read_figures(store, "answers", key, AnswersFigures) == before


def test_a_sampled_train_split_leaves_validation_and_test_greedy(runner: StageRunner) -> None:
    runner.job_folder.set("generation.temperature", 1.0)
    runner.job_folder.set("generation.samplesPerPrompt", 2)
    assert runner.run("Prepare", "Generate").summary.answers == 80 + 16
    runner.job_folder.set("generation.seed", 1)
    assert runner.run("Generate").summary.generated == 80


def test_given_answers_leave_train_unasked(runner: StageRunner) -> None:
    runner.job_folder.set("data.train.answers", "Given")
    assert runner.run("Prepare", "Generate").summary.answers == 16
    store, key = runner.job_folder.store, runner.job_folder.keys()["answers"]
    assert read_figures(store, "answers", key, AnswersFigures).splits == {}


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_too_few_answers_that_end_by_themselves_end_the_job(
    split: str, runner: StageRunner, check_message: CheckMessage
) -> None:
    runner.says = lambda text: "no " * 40 if text.startswith(split) else "yes"
    with pytest.raises(LowYield) as refused:
        runner.run("Prepare", "Generate")
    check_message(refused.value, "spec.generation.minSuccessRatio", 0, split)
    assert not (runner.artifact("answers") / "manifest.json").exists()
    assert not (runner.artifact("judge") / "manifest.json").exists()


def test_d24_a_teacher_that_does_badly_is_asked_no_more_than_a_probe(
    runner: StageRunner, check_message: CheckMessage
) -> None:
    runner.says = lambda text: "maybe"
    with pytest.raises(LowYield) as low:
        runner.run("Prepare", "Generate")
    assert low.value.at == "spec.curation.minKeepRatio"
    check_message(low.value, 16, 40, "70.0%", "16 WrongFormat", "train-000004")
    assert len(runner.engines.engine.asked) == 16
    runner.job_folder.set("curation.minKeepRatio", 0.0)
    summary = runner.run("Generate").summary
    assert (summary.answers, summary.generated, summary.reused) == (56, 40, 16), "nothing is asked twice"


def test_a_probe_of_16_that_cannot_decide_looks_at_256(runner: StageRunner) -> None:
    write_records(runner.job_folder.root / "data" / "train.jsonl", [f"train asks {number}" for number in range(300)])
    runner.says = lambda text: "maybe" if int(text.rpartition(" ")[2]) % 2 else "yes"
    with pytest.raises(LowYield) as low:
        runner.run("Prepare", "Generate")
    assert low.value.at == "spec.curation.minKeepRatio"
    assert [len(batch) for batch in runner.engines.engine.batches] == [16, 240]


def test_a_good_probe_is_followed_by_all_other_prompts_in_one_engine(runner: StageRunner) -> None:
    write_records(runner.job_folder.root / "data" / "train.jsonl", [f"train asks {number}" for number in range(300)])
    summary = runner.run("Prepare", "Generate").summary
    assert (summary.answers, summary.generated, runner.engines.opened) == (316, 316, 1)
    asked = runner.engines.engine.batches
    assert (len(asked[0]), sum(len(batch) for batch in asked[:3])) == (16, 300), "a probe, and two shards"
    assert len({prompt for batch in asked for prompt in batch}) == 316
    tokens = [one.figures["tokens"] for one in runner.said if "tokens" in one.figures]
    assert tokens == sorted(tokens), "the probe's tokens are counted"


def test_files_that_changed_since_prepare_are_refused(runner: StageRunner, check_message: CheckMessage) -> None:
    runner.run("Prepare")
    job = runner.job_folder.stage_job("Generate", keys=runner.job_folder.keys())
    write_records(runner.job_folder.root / "data" / "test.jsonl", [f"test asks {number}" for number in range(9)])
    with pytest.raises(InvalidInput) as refused:
        runner.work_on(job)
    check_message(refused.value)
    assert runner.engines.opened == 0
