"""What a task of type Text states about prompts and answers: checked before a record is read."""

from kubedistill.errors import InvalidManifest
from kubedistill.v1alpha1 import Task
from kubedistill_runtime.checks.template import compile_template
from kubedistill_runtime.json_answers import check_schema


def check_task(task: Task) -> None:
    """Check the template and the JSON Schema of a task; raises InvalidManifest, with the field."""
    if task.prompt is not None:
        compile_template(task.prompt)
    if task.answer is not None and task.answer.json_schema is not None:
        try:
            check_schema(task.answer.json_schema)
        except ValueError as error:
            fix = "Write a JSON Schema of draft 2020-12"
            raise InvalidManifest(str(error), at="spec.task.answer.jsonSchema", fix=fix) from error
