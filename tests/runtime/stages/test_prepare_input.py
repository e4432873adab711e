"""Prepare's input: what is left out and why, what is refused before the spend, and what a person is told."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kubedistill.errors import InvalidData, InvalidManifest, InvalidModel
from kubedistill_runtime.checks.splits import sample
from kubedistill_runtime.records import Record, Split, read_rows
from kubedistill_runtime.validation import validate
from support.chat_models import FAMILIES, write_chat_model
from support.job_folder import write_model
from support.messages import CheckMessage
from support.stage_runner import StageRunner

INTRO = (
    "Below is a message that a customer sent to our support team. Read it and name the one label that fits it best. "
    "Message: "
)


def write(runner: StageRunner, split: Split, records: list[dict[str, Any]]) -> None:
    path = runner.job_folder.root / "data" / f"{split}.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records))


def asks(prompts: list[str], *, reference: str | None = "yes") -> list[dict[str, Any]]:
    return [{"prompt": prompt, **({"reference": reference} if reference else {})} for prompt in prompts]


def rows(runner: StageRunner, split: Split) -> list[Record]:
    return read_rows(runner.job_folder.store, runner.job_folder.keys()["rows"], split)


def numbered(count: int, *, before: str = "", word: str = "asks") -> list[str]:
    return [f"{before}somebody {word} number {place}" for place in range(count)]


def test_a_shared_instruction_is_not_a_leak(runner: StageRunner) -> None:
    runner.job_folder.drop("teachers.0.model.maxModelLen")
    write(runner, "train", asks(numbered(40, before=INTRO)))
    write(runner, "test", asks(numbered(8, before=INTRO, word="tests")))
    assert runner.run("Prepare").summary.dropped == {}


def test_a_training_prompt_that_is_a_test_prompt_is_dropped_before_generation(runner: StageRunner) -> None:
    write(runner, "train", asks([*numbered(39), "SOMEBODY tests number 2"]))
    write(runner, "test", asks(numbered(8, word="tests")))
    summary = runner.run("Prepare").summary
    assert (summary.dropped, summary.counts["train"]) == ({"Leaked": {"train": 1}}, 39)
    (note,) = summary.notes
    assert "'train-000040'" in note
    assert "'test-000003'" in note


def test_test_data_that_is_the_training_data_is_refused_in_prepare(
    runner: StageRunner, check_message: CheckMessage
) -> None:
    shutil.copy(runner.job_folder.root / "data" / "train.jsonl", runner.job_folder.root / "data" / "test.jsonl")
    with pytest.raises(InvalidData) as refused:
        runner.run("Prepare")
    check_message(refused.value, "spec.data.test", 40)
    assert runner.engines.opened == 0


def test_validation_prompts_that_are_test_prompts_choose_no_checkpoint(runner: StageRunner) -> None:
    tested = numbered(8, word="tests")
    write(runner, "test", asks(tested))
    write(runner, "validation", asks([*numbered(8, word="validates"), *tested[:3]]))
    summary = runner.run("Prepare").summary
    assert (summary.dropped, summary.counts["validation"]) == ({"Leaked": {"validation": 3}}, 8)
    (note,) = summary.notes
    assert note.startswith("3 of 11 validation prompts share words with test prompts and are dropped: ")
    assert "'somebody tests number 0' is in 'validation-000009' and in 'test-000001'" in note


def test_validation_data_that_is_the_test_data_is_refused(runner: StageRunner, check_message: CheckMessage) -> None:
    shutil.copy(runner.job_folder.root / "data" / "test.jsonl", runner.job_folder.root / "data" / "validation.jsonl")
    with pytest.raises(InvalidData) as refused:
        runner.run("Prepare")
    check_message(refused.value, "spec.data.validation", 8)


def test_training_prompts_that_are_validation_prompts_are_left_out(runner: StageRunner) -> None:
    validated = numbered(8, word="validates")
    write(runner, "validation", asks(validated))
    write(runner, "train", asks([*numbered(40), "Somebody, VALIDATES number 3?", *validated[:1]]))
    summary = runner.run("Prepare").summary
    assert (summary.dropped, summary.counts["train"]) == ({"Leaked": {"train": 2}}, 40)
    (note,) = summary.notes
    assert note.startswith("2 of 42 training prompts are also validation prompts and are dropped: ")
    assert "'validation-000004'" in note


def test_validation_data_that_is_the_training_data_is_refused(runner: StageRunner, check_message: CheckMessage) -> None:
    shutil.copy(runner.job_folder.root / "data" / "train.jsonl", runner.job_folder.root / "data" / "validation.jsonl")
    with pytest.raises(InvalidData) as refused:
        runner.run("Prepare")
    check_message(refused.value, "spec.data.validation", 40)


def test_prompts_that_leak_both_are_counted_once_each(runner: StageRunner) -> None:
    tested, validated = numbered(8, word="tests"), numbered(8, word="validates")
    for split, prompts in (("test", tested), ("validation", [*validated, tested[0]])):
        write(runner, split, asks(prompts))
    write(runner, "train", asks([*numbered(40), tested[0], tested[1], validated[0]]))
    summary = runner.run("Prepare").summary
    assert (summary.dropped, len(summary.notes)) == ({"Leaked": {"validation": 1, "train": 3}}, 3)


def test_a_passage_that_training_prompts_share_leaks_no_validation_prompt(runner: StageRunner) -> None:
    """What is boilerplate is told from training and validation prompts together."""
    runner.job_folder.drop("teachers.0.model.maxModelLen")
    for split, count in (("train", 40), ("validation", 1), ("test", 1)):
        more = [] if split == "train" else numbered(8, word=split)
        write(runner, split, asks([*numbered(count, before=INTRO, word=f"once {split}"), *more]))
    assert runner.run("Prepare").summary.dropped == {}


def test_the_jobs_system_prompt_is_not_a_leak_and_a_records_own_distinguishes_it(runner: StageRunner) -> None:
    runner.job_folder.drop("teachers.0.model.maxModelLen")
    runner.job_folder.set("task.systemPrompt", INTRO)
    assert runner.run("Prepare").summary.dropped == {}
    runner.job_folder.drop("task.systemPrompt")
    for split, count in (("train", 40), ("validation", 8), ("test", 8)):
        write(
            runner,
            split,
            [
                {
                    "messages": [
                        {"role": "system", "content": f"Ticket {split} {place}"},
                        {"role": "user", "content": "Is it urgent?"},
                    ],
                    "reference": "yes",
                }
                for place in range(count)
            ],
        )
    assert runner.run("Prepare").summary.dropped == {}


@pytest.mark.parametrize("turns", [1, 5])
def test_held_out_prompts_have_no_expansion_in_train(turns: int, runner: StageRunner) -> None:
    """Without files of their own, validation and test hold whole conversations, each prefix of them a record."""
    runner.job_folder.drop("teachers.0.model.maxModelLen")
    runner.job_folder.set("task", {"type": "Conversation"})
    runner.job_folder.set("data", {"train": {"uri": "data/train.jsonl"}})
    write(
        runner,
        "train",
        [
            {
                "messages": [
                    {"role": ("user", "assistant")[place % 2], "content": f"talk {number} turn {place}"}
                    for place in range(2 * size - 1)
                ]
            }
            for number in range(200 // turns)
            for size in range(1, turns + 1)
        ],
    )
    runner.run("Prepare")
    first = {split: {record.messages[0] for record in rows(runner, split)} for split in ("train", "validation", "test")}
    assert len(first["train"] | first["validation"] | first["test"]) == sum(map(len, first.values()))
    assert {split: len(rows(runner, split)) for split in ("validation", "test")} == {
        "validation": 20,
        "test": 20 if turns == 5 else 18,
    }


def test_references_count_among_the_test_records_that_are_judged(
    runner: StageRunner, check_message: CheckMessage
) -> None:
    """The references are on records that the sample leaves out: refused before the teacher is asked."""
    records = asks(numbered(100, word="tests"), reference=None)
    for place, one in enumerate(records):
        one["id"] = f"t{place}"
    write(runner, "test", records)
    runner.run("Prepare")
    judged = {record.id for record in sample(rows(runner, "test"), limit=20)}
    for one in records:
        one.update({} if one["id"] in judged else {"reference": "yes"})
    write(runner, "test", records)
    runner.job_folder.set("evaluation.gate.minAccuracy", 0.1)
    assert runner.run("Prepare").summary.judged == 80
    runner.job_folder.set("evaluation.sampleLimit", 20)
    with pytest.raises(InvalidManifest) as refused:
        runner.run("Prepare")
    check_message(refused.value, "spec.evaluation.gate.minAccuracy", 0)
    assert {problem.at for problem in validate(runner.job_folder.stage_job()).problems} >= {
        "spec.evaluation.gate.minAccuracy"
    }


def test_the_share_with_references_is_that_of_the_sample(runner: StageRunner) -> None:
    write(runner, "test", [*asks(numbered(60, word="tests")), *asks(numbered(60, word="asks for"), reference=None)])
    whole = runner.run("Prepare").summary
    runner.job_folder.set("evaluation.sampleLimit", 40)
    summary = runner.run("Prepare").summary
    expected = sum(bool(record.references) for record in sample(rows(runner, "test"), limit=40))
    assert (whole.judged, summary.judged) == (60, expected)
    assert 10 < expected < 30
    assert f"{expected} of 40 evaluated test records have a reference" in summary.notes[0]


@pytest.mark.parametrize("warm", [False, True])
@pytest.mark.parametrize("limit", [1, 7, 8])
def test_a_sample_limit_below_what_can_be_judged_is_refused(
    limit: int, *, warm: bool, runner: StageRunner, check_message: CheckMessage
) -> None:
    if warm:
        runner.run("Prepare")
    runner.job_folder.set("evaluation.sampleLimit", limit)
    if limit == 8:
        assert runner.run("Prepare").summary.judged == 8
        return
    with pytest.raises(InvalidManifest) as refused:
        runner.run("Prepare")
    check_message(refused.value, "spec.evaluation.sampleLimit")
    assert "spec.evaluation.sampleLimit" in {problem.at for problem in validate(runner.job_folder.stage_job()).problems}


@pytest.mark.parametrize("split", ["validation", "test"])
def test_a_prompt_that_stands_twice_is_judged_once(split: Split, runner: StageRunner) -> None:
    prompts = numbered(8, word=split)
    write(runner, split, asks([*prompts, *prompts[:3]]))
    summary = runner.run("Prepare").summary
    assert (summary.dropped, summary.counts[split]) == ({"Duplicate": {split: 3}}, 8)


def test_some_references_are_enough_to_judge_those_by_and_the_share_is_said(runner: StageRunner) -> None:
    write(runner, "test", [*asks(numbered(9, word="tests")), *asks(["one without"], reference=None)])
    runner.job_folder.set("evaluation.gate.minAccuracy", 0.1)
    summary = runner.run("Prepare").summary
    assert (summary.judged, summary.counts["test"]) == (9, 10)
    assert summary.notes == ["9 of 10 evaluated test records have a reference; accuracy refers to those"]


def test_a_gold_column_of_another_name_is_named_once_with_a_guess(runner: StageRunner) -> None:
    write(runner, "test", [{"prompt": prompt, "label": "yes"} for prompt in numbered(8, word="tests")])
    (note,) = runner.run("Prepare").summary.notes
    assert note.startswith("test: ")
    assert "'label'" in note
    assert "'reference'" in note


def test_labels_are_read_in_whatever_case_and_kept_as_the_manifest_has_them(runner: StageRunner) -> None:
    runner.job_folder.set("task.labels", ["Café", "no"])
    for split, count in (("train", 40), ("validation", 8), ("test", 8)):
        write(runner, split, asks(numbered(count, word=split), reference=" CAFE\u0301\n"))
    runner.run("Prepare")
    assert {record.references for split in ("train", "validation", "test") for record in rows(runner, split)} == {
        ("Café",)
    }


def conversation(runner: StageRunner, **train: Any) -> None:
    """Records of two user turns that end with an assistant turn, as chat logs do."""
    runner.job_folder.set("task", {"type": "Conversation"})
    runner.job_folder.set("data.train", {"uri": "data/train.jsonl", **train})
    for split, count in (("train", 40), ("validation", 8), ("test", 8)):
        texts = [(f"{split} {place} one", "its own", f"{split} {place} two", "at the end") for place in range(count)]
        roles = ("user", "assistant", "user", "assistant")
        write(
            runner,
            split,
            [
                {"messages": [{"role": role, "content": text} for role, text in zip(roles, said, strict=True)]}
                for said in texts
            ],
        )


def test_given_answers_are_the_last_assistant_turns_with_the_others_as_context(runner: StageRunner) -> None:
    conversation(runner, answers="Given")
    runner.run("Prepare")
    record = rows(runner, "train")[0]
    assert [message.content for message in record.messages] == ["train 0 one", "its own", "train 0 two"]
    assert record.references == ("at the end",)


def weigh(runner: StageRunner, *weights: float) -> None:
    """Give the assistant turns of all training records their weights."""
    path = runner.job_folder.root / "data" / "train.jsonl"
    records = [json.loads(line) for line in path.read_text().splitlines()]
    for record in records:
        for message, weight in zip(record["messages"][1::2], weights, strict=True):
            message["weight"] = weight
    write(runner, "train", records)


def test_a_given_turn_of_weight_0_stays_context_and_says_so(runner: StageRunner) -> None:
    conversation(runner, answers="Given", targets="All")
    weigh(runner, 0, 1)
    runner.run("Prepare")
    record = rows(runner, "train")[0]
    assert [message.target for message in record.messages] == [True, False, True]
    assert record.references == ("at the end",)


@pytest.mark.parametrize("weights", [(0, 0), (1, 0)])
def test_a_given_record_without_a_turn_to_learn_at_its_end_is_refused(
    weights: tuple[int, int], runner: StageRunner, check_message: CheckMessage
) -> None:
    conversation(runner, answers="Given", targets="All")
    weigh(runner, *weights)
    with pytest.raises(InvalidManifest) as refused:
        runner.run("Prepare")
    check_message(refused.value)


def test_a_teacher_answers_turns_of_weight_0_too(runner: StageRunner) -> None:
    conversation(runner)
    weigh(runner, 0, 0)
    runner.run("Prepare")
    assert [message.content for message in rows(runner, "train")[0].messages] == ["train 0 one", "train 0 two"]


def test_a_teacher_answers_every_user_turn_itself(runner: StageRunner) -> None:
    conversation(runner)
    runner.run("Prepare")
    record = rows(runner, "train")[0]
    assert [message.content for message in record.messages] == ["train 0 one", "train 0 two"]


def test_given_answers_without_one_for_validation_are_refused_before_training(
    runner: StageRunner, check_message: CheckMessage
) -> None:
    runner.job_folder.set("data.train.answers", "Given")
    write(runner, "validation", asks(numbered(8, word="validates"), reference=None))
    with pytest.raises(InvalidManifest) as refused:
        runner.run("Prepare")
    check_message(refused.value, "spec.data.validation")


def use(
    runner: StageRunner, tmp_path: Path, *, teacher: str | None = None, student: str | None = None, **config: Any
) -> None:
    """Put a family's chat format in the place of teacher or student."""
    for role, name in (("teacher", teacher), ("student", student)):
        if name is None:
            continue
        folder = tmp_path / f"other-{role}"
        write_model(folder, size=2)
        write_chat_model(folder, FAMILIES[name], **(config if role == "student" else {}))
        runner.job_folder.set("teachers.0.model.source" if role == "teacher" else "student.model.source", str(folder))


@pytest.mark.parametrize(("role", "at"), [("teacher", "spec.teachers[0]"), ("student", "spec.student")])
def test_a_template_that_refuses_the_system_prompt_is_refused_with_the_way_out(
    role: str, at: str, runner: StageRunner, tmp_path: Path, check_message: CheckMessage
) -> None:
    runner.job_folder.set("task.systemPrompt", "Route the message.")
    use(runner, tmp_path, **{role: "gemma-2"})
    with pytest.raises(InvalidModel) as refused:
        runner.run("Prepare")
    assert refused.value.at == f"{at}.model.source"
    check_message(refused.value, "System role not supported")


@pytest.mark.parametrize("name", ["gemma-2", "mistral"])
@pytest.mark.parametrize("role", ["teacher", "student"])
def test_conversations_go_with_templates_that_insist_on_alternating_roles(
    role: str, name: str, runner: StageRunner, tmp_path: Path
) -> None:
    conversation(runner)
    use(runner, tmp_path, **{role: name})
    runner.job_folder.drop("teachers.0.model.maxModelLen")
    assert runner.run("Prepare").summary.counts["test"] == 8


SILENT: dict[str, Callable[[str], str]] = {
    "drops what systems say": lambda template: template.replace(
        "message['content']", "(message['content'] if message['role'] != 'system' else '')"
    ),
    "cuts long messages": lambda template: template.replace("message['content']", "message['content'][:8]"),
    "writes the first message alone": lambda template: template.replace("in messages", "in messages[:1]"),
}


@pytest.mark.parametrize("name", SILENT)
def test_a_template_that_leaves_text_out_is_refused(
    name: str, runner: StageRunner, tmp_path: Path, check_message: CheckMessage
) -> None:
    runner.job_folder.set("task.systemPrompt", "Route the message.")
    use(runner, tmp_path, student="qwen-2.5")
    settings = json.loads((tmp_path / "other-student" / "tokenizer_config.json").read_text())
    settings["chat_template"] = SILENT[name](settings["chat_template"])
    (tmp_path / "other-student" / "tokenizer_config.json").write_text(json.dumps(settings))
    with pytest.raises(InvalidModel) as refused:
        runner.run("Prepare")
    check_message(refused.value, "spec.student.model.source")


def test_text_that_looks_like_a_special_token_is_counted(runner: StageRunner) -> None:
    write(runner, "train", asks([*numbered(39), "say <end> and <assistant> to me"]))
    (note,) = runner.run("Prepare").summary.notes
    assert note.startswith("1 records contain the text of a special token")


def test_prompts_that_are_too_long_for_the_student_are_said_by_name(runner: StageRunner, tmp_path: Path) -> None:
    use(runner, tmp_path, student="qwen-2.5", max_position_embeddings=64)
    runner.job_folder.drop("teachers.0.model.maxModelLen")
    write(runner, "test", asks([*numbered(8, word="tests"), "word " * 50]))
    (note,) = runner.run("Prepare").summary.notes
    assert note.startswith("1 of 9 test prompts have 64 tokens or more")


@pytest.mark.parametrize(("role", "at"), [("teacher", "spec.teachers[0]"), ("student", "spec.student")])
def test_a_tokenizer_with_more_ids_than_the_model_has_embeddings_is_refused(
    role: str, at: str, runner: StageRunner, tmp_path: Path, check_message: CheckMessage
) -> None:
    use(runner, tmp_path, **{role: "qwen-2.5"})
    path = tmp_path / f"other-{role}" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"vocab_size": 200}))
    runner.job_folder.set("training.objective.type", "Sequence")
    with pytest.raises(InvalidModel) as refused:
        runner.run("Prepare")
    assert refused.value.at == f"{at}.model.source"
    check_message(refused.value, 200)


def test_a_teacher_that_is_opened_beyond_its_original_context_is_said_by_name(
    runner: StageRunner, tmp_path: Path
) -> None:
    rope = {"type": "longrope", "long_factor": [1.0], "short_factor": [1.0]}
    use(runner, tmp_path, teacher="phi-3-mini-128k")
    path = tmp_path / "other-teacher" / "config.json"
    values = {"max_position_embeddings": 131_072, "original_max_position_embeddings": 4096, "rope_scaling": rope}
    path.write_text(json.dumps(json.loads(path.read_text()) | values))
    runner.job_folder.set("teachers.0.model.maxModelLen", 4096)
    assert runner.run("Prepare").summary.notes == []
    runner.job_folder.set("teachers.0.model.maxModelLen", 8192)
    (note,) = runner.run("Prepare").summary.notes
    assert "4096" in note
    assert "8192" in note


def test_a_student_that_no_training_prompt_fits_is_refused(runner: StageRunner, tmp_path: Path) -> None:
    use(runner, tmp_path, student="qwen-2.5", max_position_embeddings=24)
    with pytest.raises(InvalidManifest) as refused:
        runner.run("Prepare")
    assert refused.value.at == "spec.training.maxLength"


def test_a_student_that_hardly_a_test_prompt_fits_is_refused(
    runner: StageRunner, tmp_path: Path, check_message: CheckMessage
) -> None:
    use(runner, tmp_path, student="qwen-2.5", max_position_embeddings=64)
    write(runner, "test", asks([f"{'word ' * 50}{place}" for place in range(9)]))
    with pytest.raises(InvalidData) as refused:
        runner.run("Prepare")
    check_message(refused.value, "spec.data.test")
