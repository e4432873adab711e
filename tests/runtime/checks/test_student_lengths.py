"""The student's context: what it is served with, and what a person is told where it was trained with another."""

from dataclasses import replace
from typing import Any

import pytest

from kubedistill_runtime.checks.student_lengths import check_student_lengths
from kubedistill_runtime.choices import Choices
from kubedistill_runtime.records import Message, Record, Split
from kubedistill_runtime.student_format import student_context
from kubedistill_runtime.teachers.served import ServedTeacher
from support.job_folder import JobFolder

LONG_ROPE = {
    "max_position_embeddings": 131_072, "original_max_position_embeddings": 4096,
    "rope_scaling": {"type": "longrope", "long_factor": [1.0], "short_factor": [1.0]},
}  # fmt: skip
LLAMA_3 = {
    "max_position_embeddings": 131_072,
    "rope_scaling": {"rope_type": "llama3", "factor": 8.0, "original_max_position_embeddings": 8192},
}


def choices_for(job_folder: JobFolder, *, config: dict[str, Any], teacher: int, train: int) -> Choices:
    choices = job_folder.resolve()
    student = replace(choices.student, config=config)
    (served,) = choices.teachers
    assert isinstance(served, ServedTeacher)
    longer = replace(served, max_model_len=teacher)
    return replace(choices, student=student, teachers=(longer,), max_length=train)


CONTEXTS: dict[str, tuple[dict[str, Any], int, int, int]] = {
    # configuration, teacher's maxModelLen, training.maxLength, context
    "the teacher's length": ({"max_position_embeddings": 8192}, 4096, 2048, 4096),
    "the student's positions": ({"max_position_embeddings": 512}, 4096, 512, 512),
    "unknown positions": ({}, 4096, 2048, 4096),
    "LongRoPE, within its original context": (LONG_ROPE, 8192, 2048, 4096),
    "LongRoPE, a shorter teacher": (LONG_ROPE, 1024, 2048, 1024),
    "LongRoPE, trained beyond it": (LONG_ROPE, 8192, 8192, 8192),
    "a rope that is scaled for every length": (LLAMA_3, 16_384, 2048, 16_384),
}


@pytest.mark.parametrize("name", CONTEXTS)
def test_a_student_is_served_with_the_frequencies_that_it_was_trained_with(name: str, job_folder: JobFolder) -> None:
    config, teacher, train, context = CONTEXTS[name]
    assert student_context(choices_for(job_folder, config=config, teacher=teacher, train=train)) == context


class WordChat:
    """A chat format in which each word is a token."""

    def prompt_ids(self, messages: list[Message]) -> list[int]:
        return [0] * sum(len(message.content.split()) for message in messages)


def prompts(count: int, *, words: int) -> list[Record]:
    return [Record(f"r{place}", (Message("user", "word " * words),)) for place in range(count)]


def told(job_folder: JobFolder, splits: dict[Split, list[Record]], **sizes: Any) -> list[str]:
    return check_student_lengths(
        splits,
        choices=choices_for(job_folder, **sizes),
        chat=WordChat(),  # type: ignore[arg-type]
        places={split: f"spec.data.{split}" for split in splits},
    )


def test_each_split_is_counted_by_the_limit_that_counts_for_it(job_folder: JobFolder) -> None:
    """What is too long to train on may well be answered, and the other way round."""
    splits: dict[Split, list[Record]] = {
        split: [*prompts(9, words=5), *prompts(1, words=60), *prompts(2, words=90)]
        for split in ("train", "validation", "test")
    }
    notes = told(job_folder, splits, config={}, teacher=80, train=40)
    assert [note.split(" prompts")[0] for note in notes] == ["3 of 12 train", "3 of 12 validation", "2 of 12 test"]


def test_training_beyond_the_original_context_is_said_by_name(job_folder: JobFolder) -> None:
    splits: dict[Split, list[Record]] = {split: prompts(9, words=5) for split in ("train", "validation", "test")}
    assert told(job_folder, splits, config=LONG_ROPE, teacher=8192, train=4096) == []
    (note,) = told(job_folder, splits, config=LONG_ROPE, teacher=8192, train=8192)
    assert "8192" in note
    assert "4096" in note
