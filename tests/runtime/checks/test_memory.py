"""Memory: a model that can't fit is refused before anything starts, with both sizes."""

from dataclasses import replace
from typing import Any

import pytest

from kubedistill.errors import ModelDoesNotFit
from kubedistill_runtime.checks.memory import check_memory
from kubedistill_runtime.choices import Choices
from kubedistill_runtime.teachers.served import ServedTeacher
from kubedistill_runtime.teachers.teacher import Teacher
from support.job_folder import JobFolder
from support.messages import CheckMessage

GIB = 2**30
TRAINING = 16
"""Bytes per parameter: float32 weights, gradients and AdamW's two momenta."""


def of_size(job_folder: JobFolder, *, teacher: int = 1, student: int = 1) -> Choices:
    """Return the job with models of so many parameters."""
    found = job_folder.resolve()
    (served,) = found.teachers
    larger = replace(found.student, parameters=student)
    return replace(found, teachers=(sized(served, parameters=teacher),), student=larger)


def sized(teacher: Teacher, **changes: Any) -> ServedTeacher:
    """Return a served teacher with another model."""
    assert isinstance(teacher, ServedTeacher)
    return replace(teacher, model=replace(teacher.model, **changes))


@pytest.mark.parametrize(
    ("sizes", "at", "needs"),
    [
        ({"teacher": 9 * GIB // 4}, "spec.teachers[0].model", 9),
        ({"student": 9 * GIB // TRAINING}, "spec.student.model", 9),
        ({"teacher": 400 * GIB, "student": 400 * GIB}, "spec.teachers[0].model", 1600),
    ],
)
def test_a_model_that_does_not_fit_is_refused_with_both_sizes(
    sizes: dict[str, int], at: str, needs: int, job_folder: JobFolder, check_message: CheckMessage
) -> None:
    with pytest.raises(ModelDoesNotFit) as refused:
        check_memory(of_size(job_folder, **sizes), total_bytes=8 * GIB)
    assert refused.value.at == at
    check_message(refused.value, needs, 8)


@pytest.mark.parametrize("dtype", ["Float32", "BFloat16"])
def test_a_model_that_just_fits_is_taken(dtype: str, job_folder: JobFolder) -> None:
    job_folder.set("teachers.0.model.dtype", dtype)
    size = {"Float32": 4, "BFloat16": 2}[dtype]
    choices = of_size(job_folder, teacher=8 * GIB // size, student=8 * GIB // TRAINING)
    check_memory(choices, total_bytes=8 * GIB)
    with pytest.raises(ModelDoesNotFit):
        check_memory(choices, total_bytes=8 * GIB - 1)


def test_the_teachers_cache_for_one_longest_request_counts(job_folder: JobFolder) -> None:
    choices = of_size(job_folder, teacher=1000)
    config = {"num_hidden_layers": 1, "num_attention_heads": 1, "hidden_size": 1000}
    choices = replace(choices, teachers=(sized(choices.teachers[0], config=config),))
    need = 4 * (1000 + 2 * 1000 * 64)
    check_memory(choices, total_bytes=need)
    with pytest.raises(ModelDoesNotFit):
        check_memory(choices, total_bytes=need - 1)
