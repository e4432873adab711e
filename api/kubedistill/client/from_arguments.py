"""The flat form of a job, as managed services have it: a dozen arguments in place of a manifest."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from pydantic import ValidationError

from kubedistill.client.request import Values
from kubedistill.errors import InvalidManifest
from kubedistill.json_values import Json
from kubedistill.manifest.problems import find_problem
from kubedistill.v1alpha1 import API_VERSION, KIND, DistillationJob
from kubedistill.v1alpha1.task import TaskType

_TASKS: dict[str, str] = {
    **{task.lower(): task for task in get_args(TaskType)},
    "chat": "Conversation", "nlu_qa": "QA", "question_answering": "QA",
}  # fmt: skip
"""Task types by the names that people give them."""
_HYPERPARAMETERS: dict[str, tuple[tuple[str, ...], Callable[[Any], Any]]] = {
    "learning_rate": (("training", "optimizer", "learningRate"), float),
    "batch_size": (("training", "globalBatchSize"), int),
    "num_epochs": (("training", "epochs"), int),
    "temperature": (("generation", "temperature"), float),
}
"""Each by its place in the spec; texts are taken too, since managed services write them so."""


def distillation_job(
    *,
    teacher_model: str,
    student_model: str,
    training_data: str | Path,
    task_type: str,
    validation_data: str | Path | None = None,
    test_data: str | Path | None = None,
    hyperparameters: Mapping[str, Json] | None = None,
    name: str = "",
    labels: Sequence[str] | None = None,
    teacher_pool: str | None = None,
    student_pool: str | None = None,
    **spec: Json,
) -> DistillationJob:
    """A DistillationJob from a few arguments; `spec` holds any further part of the spec, in its own form.

    Pools are those of the operator's settings; on one machine they are ignored. A student with a pool has one GPU.
    Models are sources such as hf://microsoft/Phi-4-mini-instruct, or names of docs/migration.md's table.
    Raises InvalidManifest, which names the argument.
    """
    values: Values = {
        "task": {"type": _task(task_type), **({"labels": list(labels)} if labels else {})},
        "teachers": [
            {"name": "teacher", "model": _model(teacher_model), "resources": {"pool": teacher_pool}},
        ],
        "student": {
            "model": {"source": _model(student_model)["source"]},
            "resources": {"pool": student_pool, "gpusPerWorker": 1 if student_pool else 0},
        },
        "data": {
            split: {"uri": str(path)}
            for split, path in (("train", training_data), ("validation", validation_data), ("test", test_data))
            if path is not None
        },
    }
    for parameter, value in (hyperparameters or {}).items():
        _set(values, parameter, value)
    values = _merged(values, spec)
    metadata = {"name": name or _name(student_model)}
    try:
        return DistillationJob.model_validate(
            {"apiVersion": API_VERSION, "kind": KIND, "metadata": metadata, "spec": values}, strict=False
        )
    except ValidationError as error:
        first = find_problem(error, model=DistillationJob)
        raise InvalidManifest(first.problem, at=first.at, fix=first.fix) from error


def _task(asked: str) -> str:
    found = _TASKS.get(asked.lower().replace("-", "_").replace(" ", "_"))
    if found is None:
        known = ", ".join(dict.fromkeys(_TASKS.values()))
        raise InvalidManifest(f'"{asked}" is no task of this version', at="task_type", fix=f"Choose of {known}")
    return found


def _model(name: str) -> Values:
    """A source as it is, or the model that a well-known name stands for."""
    from kubedistill.importers.azureml.models import load_models, plain_name

    known = load_models()
    found = known.get(plain_name(name)) or next((one for one in known.values() if one.source == f"hf://{name}"), None)
    return {"source": name} if found is None else found.model_dump(by_alias=True, exclude_defaults=True)


def _set(values: Values, parameter: str, value: Json) -> None:
    if parameter not in _HYPERPARAMETERS:
        fix = f"Known are {', '.join(_HYPERPARAMETERS)}; whatever else the spec has is an argument of its own"
        raise InvalidManifest("it has no place in a job", at=f"hyperparameters.{parameter}", fix=fix)
    (*path, last), read = _HYPERPARAMETERS[parameter]
    try:
        found = read(value)
    except (TypeError, ValueError) as error:
        raise InvalidManifest(
            f"{value!r} is no number", at=f"hyperparameters.{parameter}", fix="Write a number"
        ) from error
    for part in path:
        values = values.setdefault(part, {})
    values[last] = found


def _merged(first: Any, second: Any) -> Any:
    """Mappings are merged; of anything else the second wins."""
    if not isinstance(first, dict) or not isinstance(second, dict):
        return second
    return first | {name: _merged(first[name], value) if name in first else value for name, value in second.items()}


def _name(student: str) -> str:
    """A name made from the student's."""
    last = student.rstrip("/").rpartition("/")[2].lower()
    kept = "".join(letter if letter.isalnum() and letter.isascii() else "-" for letter in last).strip("-")
    return f"distil-{kept}"[:32].rstrip("-")
