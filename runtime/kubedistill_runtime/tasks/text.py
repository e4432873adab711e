"""Text: the custom task, whose prompt is a template, and whose valid answers the manifest describes."""

from kubedistill.patterns import compile_pattern
from kubedistill.v1alpha1 import Task as TaskSpec
from kubedistill.v1alpha1 import find_label
from kubedistill_runtime.json_answers import is_valid_json
from kubedistill_runtime.records import Record
from kubedistill_runtime.tasks.task import Task, check_single_turn

_SHOWN = 200


def parse_answer(text: str, spec: TaskSpec) -> str | None:
    """Return an answer without white space around it, a label in its declared spelling; None if it is not valid.

    Nothing is repaired: JSON between Markdown's fences is not the JSON value that a program expects.
    """
    bare, form = text.strip(), spec.answer
    if not bare or form is None:
        return bare or None
    if form.labels is not None:
        return find_label(bare, form.labels)
    if form.regex is not None:
        is_valid = compile_pattern(form.regex, whole=True)(bare)
    else:
        assert form.json_schema is not None, "a form has a regex, a schema or labels"
        is_valid = is_valid_json(bare, form.json_schema)
    return bare if is_valid else None


def find_invalid_reference(record: Record, spec: TaskSpec) -> str | None:
    """Return the problem with the references, each of which must be a valid answer, or None."""
    invalid = next((one for one in record.references if parse_answer(one, spec) is None), None)
    if invalid is None:
        return None
    shown = invalid if len(invalid) <= _SHOWN else f"{invalid[:_SHOWN]}…"
    return f"reference {shown!r} is not a valid answer by spec.task.answer"


TEXT = Task(
    check=check_single_turn,
    check_references=find_invalid_reference,
    reference_fix="Write references as a valid answer is: a string, or a JSON object for a jsonSchema",
    parse=parse_answer,
    metrics=("exactMatch",),
    exact=True,
)
