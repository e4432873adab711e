"""Whether teacher and student support the sequence lengths of the manifest."""

from kubedistill.errors import InvalidManifest
from kubedistill.v1alpha1 import Spec
from kubedistill_runtime.choices import Role
from kubedistill_runtime.models import Model


def check_lengths(teacher: Model, student: Model, *, spec: Spec) -> None:
    """Check that both models support the lengths of the manifest; raises InvalidManifest.

    vLLM would refuse the teacher's length only after minutes. A student would be trained beyond its positions without a
    warning, or crash.
    """
    check_length("teacher", teacher, spec=spec)
    check_length("student", student, spec=spec)


def check_length(role: Role, model: Model, *, spec: Spec) -> None:
    """Check that one model supports the length of the manifest; raises InvalidManifest."""
    if role == "teacher":
        wanted, at = spec.teachers[0].model.max_model_len, "spec.teachers[0].model.maxModelLen"
    else:
        wanted, at = spec.training.max_length, "spec.training.maxLength"
    longest = model.max_positions
    if wanted is not None and longest is not None and wanted > longest:
        problem = f"it is {wanted} tokens, but {model.source} supports only {longest}"
        raise InvalidManifest(problem, at=at, fix=f"Set it to {longest} or less, or remove it")
