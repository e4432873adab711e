"""Readers: each converts the value of one Azure ML field for the DistillationJob, and describes the difference."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from kubedistill.errors import InvalidManifest
from kubedistill.importers.azureml.models import Models, find_model
from kubedistill.json_values import Json, JsonObject
from kubedistill.manifest.problems import quote_value
from kubedistill.v1alpha1 import TeacherModel
from kubedistill.v1alpha1.job import MAX_NAME_LENGTH
from kubedistill.v1alpha1.task import TaskType

TASKS: Mapping[str, TaskType] = {
    "NLI": "NLI",
    "CONVERSATION": "Conversation",
    "NLU_QA": "QA",
    "MATH": "Math",
    "SUMMARIZATION": "Summarization",
}
"""Our task type for each one of Azure ML."""
_LABEL = 63
_NO_MODEL = "Write `{name}: {{source: hf://organization/model}}` below `models:` in a file, and name it with --models"


@dataclass(frozen=True, slots=True)
class Leaf:
    """One value of the Azure ML manifest; `place` is its file, line and field."""

    value: Any
    place: str
    models: Models = field(default_factory=dict)
    siblings: Mapping[str, Json] = field(default_factory=dict)
    """The mapping that contains the value."""

    def error(self, problem: str, *, fix: str) -> InvalidManifest:
        """Return the error to raise if the value is invalid."""
        return InvalidManifest(problem, at=self.place, fix=fix)


@dataclass(frozen=True, slots=True)
class Reading:
    """A converted value, and how it differs from the original."""

    value: Any
    remark: str = ""


Reader = Callable[[Leaf], Reading]


def read_number(leaf: Leaf) -> Reading:
    """Read a number, or a string with a number, because Azure ML writes hyperparameters as strings."""
    number = None if isinstance(leaf.value, bool) else _float(leaf.value)
    if number is None:
        raise leaf.error(f"{quote_value(leaf.value)} is not a number", fix="Write a number")
    return Reading(number)


def read_count(leaf: Leaf) -> Reading:
    """Read a whole number, or a string with one."""
    number = read_number(leaf).value
    if not number.is_integer():
        raise leaf.error(f"{quote_value(leaf.value)} is not a whole number", fix="Write a whole number")
    return Reading(int(number))


def read_switch(leaf: Leaf) -> Reading:
    """Read true or false."""
    if not isinstance(leaf.value, bool):
        raise leaf.error(f"{quote_value(leaf.value)} is neither true nor false", fix="Write true or false")
    return Reading(leaf.value)


def read_text(leaf: Leaf) -> Reading:
    """Read a string."""
    return Reading(_text(leaf))


def read_label(leaf: Leaf) -> Reading:
    """Read a string, and convert it to a valid value of a label."""
    text = re.sub(r"[^A-Za-z0-9_.-]+", "-", _text(leaf))[:_LABEL].strip("-_.")
    return Reading(text, "" if text == leaf.value else f"changed to {text!r}, a valid label")


def read_name(leaf: Leaf) -> Reading:
    """Read the name of the job, and convert it to lower case letters, digits and dashes after a first letter."""
    plain = re.sub(r"[^a-z0-9]+", "-", _text(leaf).lower()).strip("-")
    name = (plain if plain[:1].isalpha() else f"job-{plain}")[:MAX_NAME_LENGTH].rstrip("-")
    rule = "a name has at most 32 lower case letters, digits and dashes"
    return Reading(name, "" if name == leaf.value else f"changed to {name!r}: {rule}")


def read_task(leaf: Leaf) -> Reading:
    """Read the task type."""
    kind = _text(leaf).upper()
    if kind not in TASKS:
        known = ", ".join(TASKS).lower()
        raise leaf.error(f"{quote_value(leaf.value)} is not one of {known}", fix="Choose one of them")
    return Reading(TASKS[kind])


def read_generation_type(leaf: Leaf) -> Reading:
    """Check that the type is label generation, because a job can't generate prompts."""
    if _text(leaf).lower() == "label_generation":
        return Reading(None)
    raise leaf.error(
        f"{quote_value(leaf.value)} is not supported: a job can't generate prompts",
        fix="Write label_generation, and name a file with prompts in training_data",
    )


def read_teacher(leaf: Leaf) -> Reading:
    """Read the name of a connection as a teacher, whose model the name or the host of the endpoint starts with."""
    name = _text(leaf)
    host = re.match(r"\w+://([^./]+)", str(leaf.siblings.get("endpoint")))
    model = find_model(name, leaf.models) or (find_model(host[1], leaf.models) if host else None)
    if model is None:
        raise leaf.error(f"{name!r} does not start with the name of a known model", fix=_NO_MODEL.format(name=name))
    plain = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:_LABEL].strip("-")
    values = model.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    return Reading([{"name": plain or "teacher", "model": values}], f"served in your cluster, from {model.source}")


def read_student(leaf: Leaf) -> Reading:
    """Read the asset id of a registry, or a plain name, as a student."""
    identity = _text(leaf)
    found = re.search(r"/models/([^/]+)(?:/(?:versions|labels)/(.+))?$", identity)
    name, version = found.groups() if found else _split_short(identity)
    model = find_model(name, leaf.models)
    if model is None:
        raise leaf.error(f"{name!r} is not a known model", fix=_NO_MODEL.format(name=name))
    remark = (
        f"version {version} exists only in Azure ML; the job uses the main branch of the hub unless you set revision"
    )
    return Reading(_of_student(model), remark if version and model.revision is None else "")


def read_data(leaf: Leaf) -> Reading:
    """Read a path relative to the manifest; the user must download a file in Azure to that path first."""
    path = re.sub(r"^azureml:(?=\.)", "", _text(leaf))
    if not re.match(r"(?!file:)[a-z][a-z0-9+.-]+:", path, re.IGNORECASE):
        return Reading(path.removeprefix("./"))
    asset = re.fullmatch(r"azureml:([^/:]+)(?::[^/]+|@[^/]+)?", path)
    last = asset[1] if asset else unquote(path.partition("?")[0].rstrip("/").rpartition("/")[2])
    file = last if last.endswith(".jsonl") else f"{last}.jsonl"
    return Reading(file, f"the file is in Azure; download it to the manifest's folder, as {file}")


def read_registered_name(leaf: Leaf) -> Reading:
    """Read the name of a registered model as a folder below the data root."""
    name = _text(leaf)
    remark = f"exported to the folder {name!r} in the job's storage, because there is no registry"
    return Reading([{"format": "Safetensors", "uri": name}], remark)


def _of_student(model: TeacherModel) -> JsonObject:
    values = {"source": model.source, "revision": model.revision, "trustRemoteCode": model.trust_remote_code or None}
    return {name: value for name, value in values.items() if value is not None}


def _split_short(identity: str) -> tuple[str, str | None]:
    """Return (name, version) of azureml:name:version, azureml:name@label or name."""
    name, _, version = identity.removeprefix("azureml:").replace("@", ":").partition(":")
    return name, version or None


def _text(leaf: Leaf) -> str:
    if not isinstance(leaf.value, str) or not leaf.value.strip():
        raise leaf.error(f"{quote_value(leaf.value)} is not a string", fix="Write a string")
    return leaf.value.strip()


def _float(value: object) -> float | None:
    """Return a value as a number; None if it is not one."""
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):  # the caller reports it, with the field
        return None
