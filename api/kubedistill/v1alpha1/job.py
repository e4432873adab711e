"""The DistillationJob resource itself."""

import copy
from collections.abc import Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue, model_validator

from kubedistill.paths import HUB_SCHEME, model_name
from kubedistill.v1alpha1.base import Model, Name, ObjectReference, Uri, cel, keyed_by
from kubedistill.v1alpha1.budget import Budget
from kubedistill.v1alpha1.curation import Curation
from kubedistill.v1alpha1.data import Data, Generation
from kubedistill.v1alpha1.evaluation import Evaluation, Export
from kubedistill.v1alpha1.models import Student, Teacher
from kubedistill.v1alpha1.operation import Pods, Queue, Retry, Seconds, StageOverrides
from kubedistill.v1alpha1.status import Status
from kubedistill.v1alpha1.task import Task
from kubedistill.v1alpha1.training import Training

GROUP, VERSION, KIND, PLURAL = "kubedistill.io", "v1alpha1", "DistillationJob", "distillationjobs"
API_VERSION = f"{GROUP}/{VERSION}"
MAX_NAME_LENGTH = 32
_FOLDER = "[A-Za-z0-9_-][A-Za-z0-9._-]*"
"""Pattern of a folder's name that leads nowhere else."""
_UNPRICED = "budget.dollars needs prices of each endpoint"


def _check_names(teachers: tuple[Teacher, ...]) -> tuple[Teacher, ...]:
    names = [teacher.name for teacher in teachers]
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"two teachers are named {repeated[0]}; Give each a name of its own")
    return teachers


class Storage(Model):
    """Where artifacts are stored."""

    uri: Uri | None = None
    """Root of the store, in a cluster a folder of the claim, such as file:///kubedistill/storage/team-a.

    On one machine, --store replaces it.
    """
    volume_claim: ObjectReference | None = None
    """ReadWriteMany PersistentVolumeClaim, mounted at /kubedistill/storage."""


class ModelCache(Model):
    """Where downloads from the Hugging Face hub are kept for later jobs; ignored on one machine."""

    volume_claim: ObjectReference
    """ReadWriteMany PersistentVolumeClaim, mounted at /kubedistill/models in all pods of the job."""
    path: Annotated[
        str,
        Field(min_length=1, max_length=253, pattern=r"^[A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*$"),
    ] = "huggingface"
    """Folder in the claim, which becomes HF_HOME."""


class Spec(Model):
    """What to distill, from which teacher, into which student, and which result is good enough."""

    model_config = ConfigDict(
        json_schema_extra=cel(
            (
                "!has(self.budget) || !has(self.budget.dollars) || "
                "self.teachers.all(teacher, !has(teacher.endpoint) || has(teacher.endpoint.prices))",
                _UNPRICED,
            )
        )
    )

    task: Task
    """The task of the teacher."""
    teachers: Annotated[
        tuple[Teacher, ...],
        Field(min_length=1, max_length=8, json_schema_extra=keyed_by("name")),
        AfterValidator(_check_names),
    ]
    """The teachers, 1 to 8, with different names. Several of them share the records, or with generation.routing BestOf
    answer the same ones."""
    student: Student
    """The model to train."""
    data: Data
    """Location of the prompts."""
    generation: Generation = Generation()
    """How the teacher answers."""
    curation: Curation = Curation()
    """Which answers are good enough to learn from."""
    training: Training = Training()
    """How the student learns."""
    evaluation: Evaluation = Evaluation()
    """How the student is evaluated."""
    export: Annotated[tuple[Export, ...], Field(max_length=8)] = (Export(),)
    """Formats in which the student is exported, at most 8."""
    storage: Storage = Storage()
    """Where artifacts are stored."""
    model_cache: ModelCache | None = None
    """Claim for downloads from the Hugging Face hub. Absent: the scratch of the pool, otherwise a folder in the
    store."""
    run_id: Annotated[
        str | None, Field(alias="runID", min_length=1, max_length=63, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")
    ] = None
    """Name of this run; a new name starts another run."""
    suspend: bool = False
    """Save and stop the run; set it to false to continue."""
    budget: Budget | None = None
    """What one run may spend. When that is spent, the run is saved and suspended; raise it to continue. Absent: no
    limit."""
    queue: Queue | None = None
    """The Kueue queue that admits every child. Absent: children start immediately."""
    retry: Retry = Retry()
    """Number of attempts at a stage that may fail, by cause, before the job fails."""
    pods: Pods = Pods()
    """Additional settings of the pods."""
    stages: StageOverrides = StageOverrides()
    """Overrides of where stages run."""
    active_deadline_seconds: Seconds | None = None
    """Maximum seconds that a run may spend with an admitted child. Absent: no limit."""
    scheduling_timeout_seconds: Seconds = 3600
    """Maximum seconds that an admitted child may wait for nodes, images and secrets."""
    startup_timeout_seconds: Seconds = 7200
    """Maximum seconds from a child's start to its first progress; loading a large model takes long."""
    no_progress_timeout_seconds: Seconds = 1800
    """Maximum seconds without progress, after the first progress."""
    child_retention_seconds: Annotated[int, Field(ge=0, le=2**31 - 1)] = 600
    """Seconds for which a successful child is kept, so that you can inspect its pods."""

    @model_validator(mode="after")
    def _check_prices(self) -> Self:
        if self.budget is not None and self.budget.dollars is not None and (at := unpriced_endpoint(self.teachers)):
            raise ValueError(f"{_UNPRICED}; Set {at}, or budget.gpuHours instead of dollars")
        return self


class Metadata(BaseModel):
    """The part of the Kubernetes object metadata that is read."""

    model_config = ConfigDict(extra="ignore", frozen=True, strict=True)

    name: Annotated[str, Field(min_length=1, max_length=MAX_NAME_LENGTH, pattern=r"^[a-z]([-a-z0-9]*[a-z0-9])?$")]
    namespace: Name = "default"
    uid: str = ""


class DistillationJob(Model):
    """One distillation, from prompts to an evaluated student."""

    model_config = ConfigDict(
        json_schema_extra=cel(
            (
                f"size(self.metadata.name) <= {MAX_NAME_LENGTH}",
                f"metadata.name must be at most {MAX_NAME_LENGTH} characters, because names of pods contain it",
            ),
            ("!self.metadata.name.contains('.')", "metadata.name must not contain a dot, because labels contain it"),
            (
                "self.metadata.name.matches('^[a-z]')",
                "metadata.name must start with a letter, because names of services contain it",
            ),
        )
    )

    api_version: Literal["kubedistill.io/v1alpha1"]
    kind: Literal["DistillationJob"]
    metadata: Metadata
    spec: Spec
    status: Status | None = None


LIVE_FIELDS = frozenset({"suspend", "budget", "child_retention_seconds", "active_deadline_seconds", "queue"})
"""Fields that apply at once, during a run; an edit of any other field waits for a new runID."""


def spec_values(spec: Spec) -> dict[str, JsonValue]:
    """Return the spec as JSON values without defaults: the form from which digests are computed."""
    return spec.model_dump(mode="json", by_alias=True, exclude_defaults=True, exclude_none=True)


def unpriced_endpoint(teachers: Sequence[Teacher]) -> str:
    """Return the field that the first endpoint without prices lacks; empty if each endpoint has them."""
    missing = (
        f"spec.teachers[{place}].endpoint.prices"
        for place, teacher in enumerate(teachers)
        if teacher.endpoint is not None and teacher.endpoint.prices is None
    )
    return next(missing, "")


def hub_models(spec: Spec) -> list[str]:
    """Return the name of each model and tokenizer of the hub in a spec, once."""
    student, named = spec.student.model, list[str]()
    for teacher in spec.teachers:
        if teacher.model is not None:
            named.append(model_name(teacher.model.source, teacher.model.revision))
        elif teacher.endpoint is not None and teacher.endpoint.tokenizer is not None:
            named.append(teacher.endpoint.tokenizer)
    named.append(model_name(student.source, student.revision))
    return [name for name in dict.fromkeys(named) if name.startswith(HUB_SCHEME)]


FORMER_DEFAULTS: tuple[tuple[tuple[str, ...], object], ...] = (
    (("training", "maxLength"), 2048),
    (("teachers", "*", "model", "maxModelLen"), 4096),
)
"""Fields whose default was removed, with the former default. Manifests contain it, and CRDs have stored it."""


def without_former_defaults(values: dict[str, JsonValue]) -> dict[str, JsonValue]:
    """Return a spec's values as an earlier version would have written them: without what was a default then."""
    kept = copy.deepcopy(values)
    for path, value in FORMER_DEFAULTS:
        _remove(kept, path, value)
    return kept


def _remove(values: Any, path: tuple[str, ...], value: object) -> None:
    """Remove a field that has this value, and every object that is empty afterwards."""
    first, *rest = path
    for name in [*range(len(values))] if first == "*" else [first] if first in values else []:
        if rest:
            _remove(values[name], tuple(rest), value)
            if values[name] == {}:
                del values[name]
        elif values[name] == value:
            del values[name]
