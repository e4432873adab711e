"""Readers: the value of one Azure ML field, as the DistillationJob's field takes it, and what differs."""

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

TASKS: Mapping[str, tuple[TaskType, str]] = {
    "NLI": ("NLI", ""),
    "CONVERSATION": ("Conversation", ""),
    "NLU_QA": ("QA", ""),
    "MATH": ("QA", "there is no Math task yet; QA compares the text of the answer with the reference"),
    "SUMMARIZATION": ("Conversation", "there is no Summarization task yet; Conversation takes a single turn as well"),
}
"""Azure ML's task types: ours, and what differs."""
_LABEL = 63
_NO_MODEL = "Write `{name}: {{source: hf://organisation/model}}` below `models:` in a file, and name it with --models"


@dataclass(frozen=True, slots=True)
class Leaf:
    """One value of the Azure ML manifest; `place` is its file, line and field."""

    value: Any
    place: str
    models: Models = field(default_factory=dict)
    siblings: Mapping[str, Json] = field(default_factory=dict)
    """The mapping that the value stands in."""

    def refuse(self, problem: str, *, fix: str) -> InvalidManifest:
        """What to raise where the value can't be read."""
        return InvalidManifest(problem, at=self.place, fix=fix)


@dataclass(frozen=True, slots=True)
class Reading:
    """What a value became, and what differs by that."""

    value: Any
    remark: str = ""


Reader = Callable[[Leaf], Reading]


def read_number(leaf: Leaf) -> Reading:
    """A number, or a text that holds one: Azure ML writes hyperparameters as texts."""
    number = None if isinstance(leaf.value, bool) else _float(leaf.value)
    if number is None:
        raise leaf.refuse(f"{quote_value(leaf.value)} is not a number", fix="Write a number")
    return Reading(number)


def read_count(leaf: Leaf) -> Reading:
    """A whole number, or a text that holds one."""
    number = read_number(leaf).value
    if not number.is_integer():
        raise leaf.refuse(f"{quote_value(leaf.value)} is not a whole number", fix="Write a whole number")
    return Reading(int(number))


def read_text(leaf: Leaf) -> Reading:
    """A text."""
    return Reading(_text(leaf))


def read_label(leaf: Leaf) -> Reading:
    """A text that a label may hold."""
    text = re.sub(r"[^A-Za-z0-9_.-]+", "-", _text(leaf))[:_LABEL].strip("-_.")
    return Reading(text, "" if text == leaf.value else f"written as {text!r}, since it is a label")


def read_name(leaf: Leaf) -> Reading:
    """The job's name: small letters, digits and dashes, the first a letter."""
    plain = re.sub(r"[^a-z0-9]+", "-", _text(leaf).lower()).strip("-")
    name = (plain if plain[:1].isalpha() else f"job-{plain}")[:MAX_NAME_LENGTH].rstrip("-")
    return Reading(name, "" if name == leaf.value else f"written as {name!r}: at most 32 small letters, digits, dashes")


def read_task(leaf: Leaf) -> Reading:
    """The kind of task."""
    kind = _text(leaf).upper()
    if kind not in TASKS:
        known = ", ".join(TASKS).lower()
        raise leaf.refuse(f"{quote_value(leaf.value)} is not one of {known}", fix="Choose one of them")
    return Reading(*TASKS[kind])


def read_generation_type(leaf: Leaf) -> Reading:
    """Label generation is all that a job ever does; prompts are not made up."""
    if _text(leaf).lower() == "label_generation":
        return Reading(None)
    raise leaf.refuse(
        f"{quote_value(leaf.value)}: no prompts are made up here, and a job needs some",
        fix="Write label_generation, and name prompts in training_data",
    )


def read_teacher(leaf: Leaf) -> Reading:
    """A teacher for a connection's name; the model is the one that its name or its endpoint's host begins with."""
    name = _text(leaf)
    host = re.match(r"\w+://([^./]+)", str(leaf.siblings.get("endpoint")))
    model = find_model(name, leaf.models) or (find_model(host[1], leaf.models) if host else None)
    if model is None:
        raise leaf.refuse(f"{name!r} begins with no known model", fix=_NO_MODEL.format(name=name))
    plain = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:_LABEL].strip("-")
    values = model.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    return Reading([{"name": plain or "teacher", "model": values}], f"served in your cluster, from {model.source}")


def read_student(leaf: Leaf) -> Reading:
    """The student for a registry's asset id, or for a plain name."""
    identity = _text(leaf)
    found = re.search(r"/models/([^/]+)(?:/(?:versions|labels)/(.+))?$", identity)
    name, version = found.groups() if found else _split_short(identity)
    model = find_model(name, leaf.models)
    if model is None:
        raise leaf.refuse(f"{name!r} is no known model", fix=_NO_MODEL.format(name=name))
    remark = f"version {version} is Azure ML's own; the hub's main branch is taken unless you set revision"
    return Reading(_of_student(model), remark if version and model.revision is None else "")


def read_data(leaf: Leaf) -> Reading:
    """A path beside the manifest; what lies in Azure must be put there first."""
    path = re.sub(r"^azureml:(?=\.)", "", _text(leaf))
    if not re.match(r"(?!file:)[a-z][a-z0-9+.-]+:", path, re.IGNORECASE):
        return Reading(path.removeprefix("./"))
    asset = re.fullmatch(r"azureml:([^/:]+)(?::[^/]+|@[^/]+)?", path)
    last = asset[1] if asset else unquote(path.partition("?")[0].rstrip("/").rpartition("/")[2])
    file = last if last.endswith(".jsonl") else f"{last}.jsonl"
    return Reading(file, f"it lies in Azure; put a copy beside the manifest, as {file}")


def read_registered_name(leaf: Leaf) -> Reading:
    """A folder under the data root stands for the entry of a registry."""
    name = _text(leaf)
    return Reading([{"format": "Safetensors", "uri": name}], f"a folder {name!r} in the job's storage, not a registry")


def _of_student(model: TeacherModel) -> JsonObject:
    values = {"source": model.source, "revision": model.revision, "trustRemoteCode": model.trust_remote_code or None}
    return {name: value for name, value in values.items() if value is not None}


def _split_short(identity: str) -> tuple[str, str | None]:
    """(name, version) of azureml:name:version, azureml:name@label or name."""
    name, _, version = identity.removeprefix("azureml:").replace("@", ":").partition(":")
    return name, version or None


def _text(leaf: Leaf) -> str:
    if not isinstance(leaf.value, str) or not leaf.value.strip():
        raise leaf.refuse(f"{quote_value(leaf.value)} is not a text", fix="Write a text")
    return leaf.value.strip()


def _float(value: object) -> float | None:
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):  # no number: the caller says so, with the place
        return None
