"""Choices: the models and data files that a spec names, and a value for all that it leaves open.

Cheap and repeatable: nothing is tokenized or loaded.
"""

import datetime
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from kubedistill.chain import ArtifactName
from kubedistill.contract import StageJob
from kubedistill.errors import InvalidData, InvalidManifest
from kubedistill.paths import entry_path, local_path
from kubedistill.v1alpha1 import DataSource, Spec, StudentModel, TeacherModel
from kubedistill_runtime.checks.tokenizers import compare_tokenizers, format_difference
from kubedistill_runtime.models import HUB_SCHEME, Model, find_model
from kubedistill_runtime.records import SPLITS, Split
from kubedistill_runtime.serving.engine import Sampling
from kubedistill_runtime.storage.store import Store, locate_store
from kubedistill_runtime.tasks import TASKS
from kubedistill_runtime.training.objectives import OBJECTIVES
from kubedistill_runtime.training.objectives.requirements import Supply
from kubedistill_runtime.training.rendering import Form

DEFAULT_K = 32
DEFAULT_MAX_MODEL_LEN = 4096
DEFAULT_MAX_LENGTH = 2048
CPU_DTYPE = "Float32"
Precision = Literal["BF16", "FP32"]
Role = Literal["teacher", "student"]
ROLES: tuple[Role, ...] = ("teacher", "student")
MODEL_AT: dict[Role, str] = {"teacher": "spec.teachers[0].model", "student": "spec.student.model"}


@dataclass(frozen=True, slots=True)
class Choices:
    """A spec with every open choice made."""

    teacher: Model
    student: Model
    teacher_dtype: str
    form: Form
    """How the teacher's answers become the student's samples."""
    date: datetime.date
    """Today, as a chat template that asks is told."""
    max_model_len: int
    """Longest prompt and answer together, in tokens of the teacher."""
    max_length: int
    """Longest sample, in tokens of the student."""
    precision: Precision
    """Precision of the student's forward pass."""
    sampling: Sampling
    """How training prompts are answered."""
    judge_sampling: Sampling
    """How validation and test are answered: greedily."""
    objective: str
    objective_reason: str
    ce_weight: float
    keys: dict[ArtifactName, str]

    @property
    def k(self) -> int:
        """Alternatives stored per token."""
        return self.sampling.k


def choose(job: StageJob, *, teacher: Model, student: Model) -> Choices:
    """Make every open choice of a job's spec for two models; nothing is hashed, so there are no keys.

    Raises InvalidManifest or TokenizerMismatch, naming the field.
    """
    spec = job.spec
    comparison = compare_tokenizers(teacher, student)
    difference = format_difference(teacher, student) if comparison.shared else ""
    k = DEFAULT_K if spec.generation.top_logprobs is None else spec.generation.top_logprobs
    given = spec.data.train.answers == "Given"
    objective, reason = _choose_objective(spec.training.objective.type, Supply(given=given, tokenizers=comparison, k=k))
    if difference and not given:
        reason += f"; the student has {difference}, so its own rendering is trained on"
    dtype = spec.teachers[0].model.dtype
    return Choices(
        teacher=teacher,
        student=student,
        teacher_dtype=CPU_DTYPE if dtype == "Auto" else dtype,
        form=("Rendered" if difference else "Generated") if comparison.shared else "Text",
        date=date_of(job),
        max_model_len=_resolve_length(spec.teachers[0].model.max_model_len, teacher, default=DEFAULT_MAX_MODEL_LEN),
        max_length=_resolve_length(spec.training.max_length, student, default=DEFAULT_MAX_LENGTH),
        precision=_resolve_precision(spec),
        sampling=_resolve_sampling(spec, k=k),
        judge_sampling=Sampling(max_tokens=spec.generation.max_tokens, k=k),
        objective=objective,
        objective_reason=reason,
        ce_weight=_resolve_ce_weight(spec, objective=objective),
        keys={},
    )


def find_named_model(job: StageJob, role: Role, *, store: Store | None, fetch: bool = True) -> Model:
    """Find the model that a spec names; without a store it is not identified, and without fetch not downloaded.

    Raises InvalidModel, naming the field.
    """
    model = _named_model(job, role)
    return find_model(
        model.source,
        revision=model.revision,
        trust_remote_code=model.trust_remote_code,
        data_root=root_path(job.data_root),
        store=store,
        at=f"{MODEL_AT[role]}.source",
        fetch=fetch,
    )


def data_path(source: DataSource, *, job: StageJob, at: str) -> Path:
    """Where a data source's file lies on this machine."""
    if source.config_map_key_ref is not None:
        reference = source.config_map_key_ref
        if reference.name not in job.config_maps:
            fix = f"Pass --configmap {reference.name}=FOLDER"
            raise InvalidManifest(f"ConfigMap {reference.name!r} is not given", at=f"{at}.configMapKeyRef", fix=fix)
        return entry_path(Path(job.config_maps[reference.name]), reference.key, at=f"{at}.configMapKeyRef.key")
    assert source.uri is not None, "the resource model asks for exactly one source"
    return local_path(source.uri, root=root_path(job.data_root), at=f"{at}.uri")


def find_data(job: StageJob, split: Split) -> Path:
    """Return the path of a split's data file; raises InvalidData, naming the field, where there is none."""
    path = data_path(data_sources(job.spec)[split], job=job, at=f"spec.data.{split}")
    try:
        if path.is_file():
            return path
        problem = "there is no such file"
    except OSError as error:  # a folder that may not be entered, a name too long for the file system
        problem = f"it can't be read ({error.strerror})"
    fix = "Paths without a scheme are relative to the manifest's folder, in a cluster to the job's store"
    raise InvalidData(problem, at=f"spec.data.{split}: {path}", fix=fix)


def data_sources(spec: Spec) -> dict[Split, DataSource]:
    """The data sources that a spec names, by split."""
    found = {split: getattr(spec.data, split) for split in SPLITS}
    return {split: source for split, source in found.items() if source is not None}


def root_path(uri: str) -> Path:
    """The folder behind a file:// URI."""
    return locate_store(uri).root


def _resolve_length(wanted: int | None, model: Model, *, default: int) -> int:
    """What the manifest names, else the default or what the model was made for, whichever is less."""
    return wanted if wanted is not None else min(default, model.max_positions or default)


def _resolve_precision(spec: Spec) -> Precision:
    if spec.training.precision != "Auto":
        return spec.training.precision
    return "BF16" if spec.student.resources.gpus_per_worker else "FP32"


def _resolve_sampling(spec: Spec, *, k: int) -> Sampling:
    """How training prompts are answered; greedy decoding takes the likeliest token whatever topP says."""
    temperature = _resolve_temperature(spec)
    top_p = spec.generation.top_p if temperature > 0 else 1.0
    return Sampling(temperature, top_p, spec.generation.max_tokens, k)


def _resolve_ce_weight(spec: Spec, *, objective: str) -> float:
    """Return the share of cross-entropy in an objective that weighs it."""
    return spec.training.objective.ce_weight or 0.0 if OBJECTIVES[objective].weighs_cross_entropy else 0.0


def _resolve_temperature(spec: Spec) -> float:
    """One sample of a short answer is drawn greedily; free text and several samples need chance."""
    if spec.generation.temperature is not None:
        return spec.generation.temperature
    short = TASKS[spec.task.type].short_answers and spec.generation.samples_per_prompt == 1
    return 0.0 if short else 0.7


def date_of(job: StageJob) -> datetime.date:
    """Return the job's own day: a job that goes on after midnight must ask what it asked before."""
    named = job.spec.task.date or job.date
    return datetime.date.fromisoformat(named) if named else datetime.datetime.now(datetime.UTC).date()


def _choose_objective(wanted: str, supply: Supply) -> tuple[str, str]:
    """Return the objective and why it is taken: the one that is wanted, or for Auto the strongest that is possible."""
    if wanted != "Auto":
        obstacle = OBJECTIVES[wanted].obstacle(supply)
        if obstacle:
            problem = f"{wanted} is not possible: {obstacle.reason}"
            raise obstacle.error(problem, at="spec.training.objective.type", fix=obstacle.fix)
        return wanted, "as the manifest says"
    obstacles = {name: objective.obstacle(supply) for name, objective in OBJECTIVES.items()}
    name = next(name for name, obstacle in obstacles.items() if obstacle is None)  # the last one has no requirements
    strongest = next(iter(obstacles.values()))
    return name, strongest.reason if strongest else OBJECTIVES[name].reason


def find_models(job: StageJob, *, store: Store) -> dict[Role, Model]:
    """Find both models; what is wrong on this machine is refused before hours of download."""
    for split in data_sources(job.spec):
        find_data(job, split)
    local_first = sorted(ROLES, key=lambda role: _named_model(job, role).source.startswith(HUB_SCHEME))
    return {role: find_named_model(job, role, store=store) for role in local_first}


def _named_model(job: StageJob, role: Role) -> TeacherModel | StudentModel:
    return job.spec.teachers[0].model if role == "teacher" else job.spec.student.model
