"""Whether teacher and student were made for sequences as long as the manifest wants them."""

from kubedistill.errors import InvalidManifest
from kubedistill.v1alpha1 import Spec
from kubedistill_runtime.models import Model


def check_lengths(teacher: Model, student: Model, *, spec: Spec) -> None:
    """Refuse lengths that the manifest names and a model was not made for; raises InvalidManifest.

    vLLM would refuse the teacher's after minutes. A student is trained beyond its positions without a word, or
    dies of it.
    """
    _check_length(spec.teachers[0].model.max_model_len, model=teacher, at="spec.teachers[0].model.maxModelLen")
    _check_length(spec.training.max_length, model=student, at="spec.training.maxLength")


def _check_length(wanted: int | None, *, model: Model, at: str) -> None:
    longest = model.max_positions
    if wanted is not None and longest is not None and wanted > longest:
        problem = f"{wanted} tokens are wanted, and {model.source} was made for {longest}"
        raise InvalidManifest(problem, at=at, fix=f"Set it to {longest} or less, or remove it")
