"""Whether teacher and student support the sequence lengths of the manifest."""

from kubedistill.errors import InvalidManifest
from kubedistill.v1alpha1 import Spec
from kubedistill_runtime.models import Model
from kubedistill_runtime.teachers.teacher import Teacher


def check_teacher_length(teacher: Teacher) -> None:
    """Check that the teacher supports the length of the manifest; raises InvalidManifest.

    vLLM would refuse it only after minutes. Nothing is known of an endpoint.
    """
    if teacher.model is not None:
        _check_length(teacher.max_model_len, teacher.model, at=f"{teacher.at}.model.maxModelLen")


def check_student_length(student: Model, *, spec: Spec) -> None:
    """Check that the student supports the length of the manifest; raises InvalidManifest.

    It would be trained beyond its positions without a warning, or crash.
    """
    _check_length(spec.training.max_length, student, at="spec.training.maxLength")


def _check_length(wanted: int | None, model: Model, *, at: str) -> None:
    longest = model.max_positions
    if wanted is not None and longest is not None and wanted > longest:
        problem = f"it is {wanted} tokens, but {model.source} supports only {longest}"
        raise InvalidManifest(problem, at=at, fix=f"Set it to {longest} or less, or remove it")
