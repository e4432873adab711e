"""What `curation.select` requires: a task whose answers can be equal, references, and enough answers to a prompt."""

from collections.abc import Sequence

from kubedistill.errors import InvalidManifest
from kubedistill.v1alpha1 import Spec
from kubedistill_runtime.records import Record
from kubedistill_runtime.tasks import TASKS

_AT = "spec.curation.select"
_TRACE_AT = "spec.curation.traceLength"
_MIN_SAMPLES = 3
"""Of two different answers, neither is the majority."""


def check_selection(spec: Spec) -> None:
    """Refuse a selection that the task or the number of answers does not allow; raises InvalidManifest."""
    select = spec.curation.select
    if select == "All":
        return
    check_comparable(spec, select, at=_AT)
    if spec.data.train.answers == "Given":
        raise InvalidManifest(
            f"{select} selects answers of a teacher, and the answers are Given", at=_AT, fix="Remove it"
        )
    teachers = len(spec.teachers) if spec.generation.routing == "BestOf" else 1
    if "Majority" in select and spec.generation.samples_per_prompt * teachers < _MIN_SAMPLES:
        raise InvalidManifest(
            f"{select} needs at least {_MIN_SAMPLES} answers for each prompt, and samplesPerPrompt is "
            f"{spec.generation.samples_per_prompt}",
            at=_AT,
            fix=f"Set generation.samplesPerPrompt to {_MIN_SAMPLES} or more",
        )


def check_trace_length(spec: Spec) -> None:
    """Refuse traceLength Auto where there is nothing to choose from; raises InvalidManifest."""
    if spec.curation.trace_length != "Auto":
        return
    if not TASKS[spec.task.type].exact or spec.data.train.answers == "Given" or spec.task.answers_alone:
        raise InvalidManifest(
            "Auto selects among right answers of a teacher that the student learns with their reasoning",
            at=_TRACE_AT,
            fix="Remove it, or use it for labels, QA or Math with answers: Teacher, and keep the reasoning",
        )
    if spec.generation.samples_per_prompt == 1:
        problem = "Auto selects among several answers to a prompt, and samplesPerPrompt is 1"
        raise InvalidManifest(problem, at=_TRACE_AT, fix="Raise generation.samplesPerPrompt")


def check_comparable(spec: Spec, value: str, *, at: str) -> None:
    """Refuse the value of a field that compares answers, for a task of free text; raises InvalidManifest."""
    if not TASKS[spec.task.type].exact:
        kinds = ", ".join(name for name, task in TASKS.items() if task.exact)
        raise InvalidManifest(
            f"{value} compares answers, and free text of a {spec.task.type} task is never equal",
            at=at,
            fix=f"Remove it; it belongs to {kinds} tasks",
        )


def check_train_references(spec: Spec, train: Sequence[Record]) -> None:
    """Refuse Verified and traceLength Auto if no training record has a reference; raises InvalidManifest."""
    if spec.curation.trace_length == "Auto" and not any(record.references for record in train):
        problem = "Auto selects among answers that match a reference, and no training record has one"
        raise InvalidManifest(problem, at=_TRACE_AT, fix="Add references to the training records, or remove it")
    if spec.curation.select == "Verified" and not any(record.references for record in train):
        raise InvalidManifest(
            "Verified keeps answers that match a reference, and no training record has one",
            at=_AT,
            fix="Add references to the training records, or use Majority",
        )
