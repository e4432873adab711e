"""Whether teacher and student were made for sequences as long as the manifest wants them."""

from kubedistill.errors import InvalidManifest
from kubedistill.v1alpha1 import Spec
from kubedistill_runtime.choices import Role
from kubedistill_runtime.models import Model


def check_lengths(teacher: Model, student: Model, *, spec: Spec) -> None:
    """Refuse lengths that the manifest names and a model was not made for; raises InvalidManifest.

    vLLM would refuse the teacher's after minutes. A student is trained beyond its positions without a word, or
    dies of it.
    """
    check_length("teacher", teacher, spec=spec)
    check_length("student", student, spec=spec)


def check_length(role: Role, model: Model, *, spec: Spec) -> None:
    """Refuse the length that the manifest names for one model; raises InvalidManifest."""
    if role == "teacher":
        wanted, at = spec.teachers[0].model.max_model_len, "spec.teachers[0].model.maxModelLen"
    else:
        wanted, at = spec.training.max_length, "spec.training.maxLength"
    longest = model.max_positions
    if wanted is not None and longest is not None and wanted > longest:
        problem = f"{wanted} tokens are wanted, and {model.source} was made for {longest}"
        raise InvalidManifest(problem, at=at, fix=f"Set it to {longest} or less, or remove it")
