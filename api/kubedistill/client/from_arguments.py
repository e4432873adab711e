"""A job from keyword arguments instead of a manifest, as in managed services."""

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
"""Task types by their common names."""
_HYPERPARAMETERS: dict[str, tuple[tuple[str, ...], Callable[[Any], Any]]] = {
    "learning_rate": (("training", "optimizer", "learningRate"), float),
    "batch_size": (("training", "globalBatchSize"), int),
    "num_epochs": (("training", "epochs"), int),
    "temperature": (("generation", "temperature"), float),
}
"""Each hyperparameter: its path in the spec, and how to read it. Strings are allowed, as in managed services."""


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
    """Return a DistillationJob from a few arguments; `spec` takes other fields of the spec, in the form of a manifest.

    Pools are defined in the settings of the operator, and ignored on one machine. A student with a pool gets one GPU.
    Models are sources such as hf://microsoft/Phi-4-mini-instruct, or names from the table in docs/migration.md.
    Raises InvalidManifest, which names the argument.
    """
    values: Values = {
        "task": {"type": _find_task(task_type), **({"labels": list(labels)} if labels else {})},
        "teachers": [
            {"name": "teacher", "model": _find_model(teacher_model), "resources": {"pool": teacher_pool}},
        ],
        "student": {
            "model": {"source": _find_model(student_model)["source"]},
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
    values = _merge(values, spec)
    metadata = {"name": name or _default_name(student_model)}
    try:
        return DistillationJob.model_validate(
            {"apiVersion": API_VERSION, "kind": KIND, "metadata": metadata, "spec": values}, strict=False
        )
    except ValidationError as error:
        first = find_problem(error, model=DistillationJob)
        raise InvalidManifest(first.problem, at=first.at, fix=first.fix) from error


def _find_task(name: str) -> str:
    """Return the task type of a common name; raises InvalidManifest."""
    found = _TASKS.get(name.lower().replace("-", "_").replace(" ", "_"))
    if found is None:
        known = ", ".join(dict.fromkeys(_TASKS.values()))
        raise InvalidManifest(f'there is no task type "{name}"', at="task_type", fix=f"Choose one of {known}")
    return found


def _find_model(name: str) -> Values:
    """Return the model of a known name; for any other name, return a model with this source."""
    from kubedistill.importers.azureml.models import load_models, plain_name

    known = load_models()
    found = known.get(plain_name(name)) or next((one for one in known.values() if one.source == f"hf://{name}"), None)
    return {"source": name} if found is None else found.model_dump(by_alias=True, exclude_defaults=True)


def _set(values: Values, parameter: str, value: Json) -> None:
    """Set a hyperparameter in the spec; raises InvalidManifest for an unknown name or an invalid value."""
    if parameter not in _HYPERPARAMETERS:
        fix = f"Use one of {', '.join(_HYPERPARAMETERS)}, or pass other fields of the spec as arguments"
        raise InvalidManifest("there is no such hyperparameter", at=f"hyperparameters.{parameter}", fix=fix)
    (*path, last), read = _HYPERPARAMETERS[parameter]
    try:
        found = read(value)
    except (TypeError, ValueError) as error:
        raise InvalidManifest(
            f"{value!r} is not a number", at=f"hyperparameters.{parameter}", fix="Write a number"
        ) from error
    for part in path:
        values = values.setdefault(part, {})
    values[last] = found


def _merge(first: Any, second: Any) -> Any:
    """Merge two mappings recursively; of two other values, return the second."""
    if not isinstance(first, dict) or not isinstance(second, dict):
        return second
    return first | {name: _merge(first[name], value) if name in first else value for name, value in second.items()}


def _default_name(student: str) -> str:
    """Return the name of a job from the source of its student."""
    last = student.rstrip("/").rpartition("/")[2].lower()
    plain = "".join(letter if letter.isalnum() and letter.isascii() else "-" for letter in last).strip("-")
    # The spelling stays, because a script that gives no name must find the same job after an upgrade.
    return f"distil-{plain}"[:32].rstrip("-")
