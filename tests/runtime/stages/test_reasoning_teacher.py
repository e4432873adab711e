"""A teacher that reasons before it answers: what it is asked, what the student learns, and how both are tested."""

from typing import Any

import pytest

from kubedistill.contract.store_names import artifact_folder
from kubedistill.errors import InvalidManifest
from kubedistill_runtime.curation.dataset import read_dataset
from kubedistill_runtime.records import read_rows
from kubedistill_runtime.tasks.reasoning import for_teacher
from kubedistill_runtime.training.sample_store import open_samples
from support.messages import CheckMessage
from support.stage_runner import StageRunner

REASONED = "yes yes no\nAnswer: yes"


@pytest.fixture
def reasoner(runner: StageRunner) -> StageRunner:
    """A job whose teacher gives a final answer to all prompts but two."""
    runner.job_folder.set("task.chainOfThought", True)
    runner.job_folder.set("generation.maxTokens", 100)
    for length in ("teachers.0.model.maxModelLen", "training.maxLength"):
        runner.job_folder.set(length, 512)
    bad = {"train asks 3": "yes", "train asks 4": "yes yes no\nAnswer: perhaps"}
    runner.says = lambda text: bad.get(text, REASONED)
    return runner


def samples_of(runner: StageRunner, split: str) -> list[Any]:
    folder = artifact_folder("samples", runner.job_folder.keys()["samples"])
    return list(open_samples(runner.job_folder.store, folder, split))


def test_the_student_learns_the_final_answer_to_the_prompt_as_it_is(reasoner: StageRunner) -> None:
    summary = reasoner.run("Prepare", "Generate", "Curate").summary
    assert summary.rejected == {"NoFinalAnswer": 1, "WrongFormat": 1}
    assert summary.labels == {"yes": 38}
    assert (summary.without_logprobs, summary.validation.samples) == (38, 8)
    store, keys, task = reasoner.job_folder.store, reasoner.job_folder.keys(), reasoner.job_folder.stage_job().spec.task
    first = read_rows(store, keys["rows"], "train")[0]
    asked = for_teacher(first, task)
    assert asked != first
    assert tuple(reasoner.chat.prompt_ids(asked.messages)) in reasoner.engines.engine.asked
    kept = next(read_dataset(store, keys["dataset"]))
    assert (kept.record, kept.answer.turns[0].text) == (first, "yes")
    prompt, completion = reasoner.chat.turn_ids(first.messages, "yes")
    for split in ("train", "validation"):
        sample = samples_of(reasoner, split)[0]
        assert sample.ids_L[sample.scored_L].tolist() == completion
        assert sample.top is None
    assert samples_of(reasoner, "train")[0].ids_L.tolist() == [*prompt, *completion]


def test_the_student_learns_the_reasoning_if_it_is_kept_and_is_asked_for_it(reasoner: StageRunner) -> None:
    reasoner.job_folder.set("task.keepReasoning", True)
    summary = reasoner.run("Prepare", "Generate", "Curate").summary
    assert summary.rejected == {"NoFinalAnswer": 1, "WrongFormat": 1}
    assert summary.labels == {"yes": 38}, "a label is the final answer"
    assert summary.without_logprobs == 0
    store, keys, task = reasoner.job_folder.store, reasoner.job_folder.keys(), reasoner.job_folder.stage_job().spec.task
    asked = for_teacher(read_rows(store, keys["rows"], "train")[0], task)
    sample = samples_of(reasoner, "train")[0]
    prompt, completion = reasoner.chat.turn_ids(asked.messages, REASONED)
    assert sample.ids_L.tolist() == [*prompt, *completion]
    assert sample.known_N.all(), "the distributions are those of the ids that the teacher generated"


def test_answers_are_generated_once_for_students_with_and_without_reasoning(reasoner: StageRunner) -> None:
    reasoner.job_folder.set("generation.topLogprobs", 0)
    reasoner.run("Prepare", "Generate", "Curate")
    asked = len(reasoner.engines.engine.asked)
    reasoner.job_folder.set("task.keepReasoning", True)
    reasoner.run("Prepare", "Generate", "Curate")
    assert len(reasoner.engines.engine.asked) == asked


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "distributions of a reply that nobody learns": ({"generation.topLogprobs": 8}, "spec.generation.topLogprobs"),
    "an objective that needs them": ({"training.objective.type": "CachedLogits"}, "spec.training.objective.type"),
    "reasoning that nobody asks for": (
        {"task.chainOfThought": False, "task.keepReasoning": True}, "spec.task.keepReasoning",
    ),
    "reasoning of given answers": (
        {"task.keepReasoning": True, "data.train.answers": "Given"}, "spec.task.keepReasoning",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_has_no_right_result_is_refused(case: str, reasoner: StageRunner, check_message: CheckMessage) -> None:
    values, at = REFUSED[case]
    for path, value in values.items():
        reasoner.job_folder.set(path, value)
    with pytest.raises(InvalidManifest) as refused:
        reasoner.run("Prepare")
    assert refused.value.at == at
    check_message(refused.value)


def test_the_student_learns_the_last_summary_of_a_chain_of_density(runner: StageRunner) -> None:
    task = {"type": "Summarization", "chainOfDensity": True, "maxSummaryWords": 10}
    runner.job_folder.set("task", task)
    runner.job_folder.set("generation.maxTokens", 100)
    for length in ("teachers.0.model.maxModelLen", "training.maxLength"):
        runner.job_folder.set(length, 512)
    replies = {"train asks 3": "yes", "train asks 4": f"Final summary:\n{'no yes ' * 6}"}
    runner.says = lambda text: replies.get(text, "yes yes no\n\nFinal summary:\nyes no")
    summary = runner.run("Prepare", "Generate", "Curate").summary
    assert summary.rejected == {"NoFinalAnswer": 1, "NotShorter": 1}
    assert summary.without_logprobs == 38
    store, keys = runner.job_folder.store, runner.job_folder.keys()
    kept = next(read_dataset(store, keys["dataset"]))
    assert kept.answer.turns[0].text == "yes no"
    assert [message.content for message in kept.record.messages] == [
        "Write a summary of at most 10 words.", "train asks 0",
    ]  # fmt: skip
