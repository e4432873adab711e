"""Classification: one label from a list. NLI is the same with three fixed labels."""

from kubedistill.v1alpha1 import Task as TaskSpec
from kubedistill.v1alpha1 import find_label
from kubedistill_runtime.tasks.task import Task, check_single_turn


def parse_label(text: str, spec: TaskSpec) -> str | None:
    """Return the label of an answer in the spelling of the manifest, or None if it is not a label."""
    return find_label(text, spec.answer_labels)


CLASSIFICATION = Task(
    check=check_single_turn,
    parse=parse_label,
    metrics=("accuracy", "macroF1"),
    final_answer="the label alone",
    short_answers=True,
    exact=True,
)
