"""Choices: the models of a spec, and a value for everything that it leaves open.

They are cheap to repeat: nothing is tokenized or loaded.
"""

import datetime
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from kubedistill.chain import ArtifactName
from kubedistill.contract import Hardware, StageJob
from kubedistill.errors import InvalidManifest
from kubedistill.paths import HUB_SCHEME, model_name
from kubedistill.v1alpha1 import Endpoint, Spec, StudentModel, TeacherModel
from kubedistill_runtime.chat.comparison import TokenizerComparison, compare_tokenizers, format_difference
from kubedistill_runtime.chat.template import check_variables, is_reasoning
from kubedistill_runtime.checkpoints import find_model, find_tokenizer
from kubedistill_runtime.constraints import find_constraint
from kubedistill_runtime.data_files import data_sources, find_data, root_path
from kubedistill_runtime.endpoints.base_urls import check_base_url
from kubedistill_runtime.models import Model
from kubedistill_runtime.revisions import find_model_commit
from kubedistill_runtime.serving.engine import Constraint, Sampling
from kubedistill_runtime.serving.precision import serving_dtype
from kubedistill_runtime.storage.store import Store, locate_store
from kubedistill_runtime.tasks import TASKS
from kubedistill_runtime.teachers.remote import RemoteTeacher
from kubedistill_runtime.teachers.served import ServedTeacher
from kubedistill_runtime.teachers.teacher import Teacher
from kubedistill_runtime.training.objectives import OBJECTIVES
from kubedistill_runtime.training.objectives.requirements import Supply
from kubedistill_runtime.training.rendering import Form

DEFAULT_K = 32
_ENDPOINT_K = 20
"""The most alternatives that OpenAI's API gives, and vLLM's server too unless it was started with another limit."""
_K_AT = "spec.generation.topLogprobs"
DEFAULT_MAX_MODEL_LEN = 4096
DEFAULT_MAX_LENGTH = 2048
SMALL_STUDENT = 3_000_000_000
"""Parameters up to which a student learns less from long reasoning."""
Precision = Literal["BF16", "FP32"]
STUDENT_AT = "spec.student.model.source"
"""The field that names the student, for errors."""
_TEXT_ONLY = TokenizerComparison(shared=False, difference="the teacher's endpoint gives text, and no distributions")


@dataclass(frozen=True, slots=True)
class Choices:
    """A spec with every open choice made."""

    teachers: tuple[Teacher, ...]
    """In the order of the manifest."""
    student: Model
    form: Form
    """How the teachers' answers become the student's samples."""
    keeps_shortest: bool
    """Whether only the shortest right answer to a prompt is kept."""
    thinks: bool
    """Whether the student learns the reasoning between the tags of the teacher's template."""
    date: datetime.date
    """Today's date, for a chat template that asks for it."""
    max_length: int
    """Maximum length of a sample, in tokens of the student."""
    precision: Precision
    """Precision of the student's forward pass in training."""
    student_dtype: str
    """Precision in which the student is served."""
    student_hardware: Hardware
    """Where the student is served."""
    sampling: Sampling
    """Sampling of the answers to training prompts."""
    judge_sampling: Sampling
    """Sampling of the answers to validation and test prompts, which is greedy."""
    objective: str
    objective_reason: str
    ce_weight: float
    keys: dict[ArtifactName, str]

    @property
    def max_model_len(self) -> int:
        """Maximum length of prompt and answer together, in tokens of the model that answers."""
        return max(teacher.max_model_len or DEFAULT_MAX_MODEL_LEN for teacher in self.teachers)

    @property
    def k(self) -> int:
        """Alternatives stored per token."""
        return self.sampling.k


def choose(job: StageJob, *, teachers: tuple[Teacher, ...], student: Model) -> Choices:
    """Make every open choice of a job's spec for its teachers and student, without keys, since nothing is hashed.

    Raises InvalidManifest or TokenizerMismatch, with the field.
    """
    spec = job.spec
    comparison = _compare_tokenizers(teachers, student)
    difference = _find_format_difference(teachers, student) if comparison.shared else ""
    same_format = comparison.shared and not difference and not spec.generation.structured_output
    thinks = same_format and all(one.model is not None and is_reasoning(one.model) for one in teachers)
    _check_reasoning(spec, thinks=thinks)
    constraint = find_constraint(spec)
    k = 0 if constraint else _resolve_k(spec, teachers=teachers)
    given, alone = spec.data.train.answers == "Given", spec.task.answers_alone
    supply = Supply(given=given, tokenizers=comparison, k=k, answers_alone=alone, constrained=constraint is not None)
    objective, reason = _choose_objective(spec.training.objective.type, supply)
    if difference and not given:
        reason += f"; the student has {difference}, so it is trained on its own rendering"
    return Choices(
        teachers=teachers,
        student=student,
        keeps_shortest=spec.curation.trace_length == "Auto" and student.parameters <= SMALL_STUDENT,
        thinks=spec.task.keep_reasoning and thinks,
        form=("Rendered" if difference else "Generated") if comparison.shared else "Text",
        date=date_of(job),
        max_length=_resolve_length(spec.training.max_length, student, default=DEFAULT_MAX_LENGTH),
        precision=_resolve_precision(job),
        student_dtype=serving_dtype("Auto", config=student.config, hardware=job.hardware_of("Evaluate")),
        student_hardware=job.hardware_of("Evaluate"),
        sampling=_resolve_sampling(spec, k=k, constraint=constraint),
        judge_sampling=Sampling(max_tokens=spec.generation.max_tokens, k=k, constraint=constraint),
        objective=objective,
        objective_reason=reason,
        ce_weight=_resolve_ce_weight(spec, objective=objective),
        keys={},
    )


def _compare_tokenizers(teachers: Sequence[Teacher], student: Model) -> TokenizerComparison:
    """Return the first difference of a teacher's tokenizer, since all answers become samples of one form."""
    compared = [compare_tokenizers(one.tokenizer, student) if one.tokenizer else _TEXT_ONLY for one in teachers]
    return next((found for found in compared if not found.shared), compared[0])


def _find_format_difference(teachers: Sequence[Teacher], student: Model) -> str:
    found = (format_difference(one.tokenizer, student) for one in teachers if one.tokenizer is not None)
    return next((difference for difference in found if difference), "")


def find_teachers(job: StageJob, *, store: Store | None, fetch: bool = True) -> tuple[Teacher, ...]:
    """Find the teachers of a spec; without a store they are not identified, and without `fetch` not downloaded.

    Raises InvalidModel or, for the address of an endpoint, InvalidManifest, with the field.
    """
    return tuple(find_teacher(job, place, store=store, fetch=fetch) for place in range(len(job.spec.teachers)))


def find_teacher(job: StageJob, place: int, *, store: Store | None, fetch: bool = True) -> Teacher:
    """Find one teacher of a spec, as find_teachers does."""
    teacher, at = job.spec.teachers[place], f"spec.teachers[{place}]"
    if teacher.endpoint is not None:
        check_base_url(teacher.endpoint, at=f"{at}.endpoint.url")
        tokenizer = _find_tokenizer(teacher.endpoint, job=job, at=at, store=store, fetch=fetch)
        return RemoteTeacher(at, teacher.name, teacher.endpoint, tokenizer, date_of(job))
    assert teacher.model is not None, "a teacher has a model or an endpoint"
    model = _find_named(teacher.model, job=job, at=f"{at}.model.source", store=store, fetch=fetch)
    model = replace(model, template_variables=teacher.model.template_variables)
    check_variables(model, at=f"{at}.model.chatTemplateKwargs")
    hardware = job.hardware_of("Generate")
    return ServedTeacher(
        at=at,
        name=teacher.name,
        spec=teacher.model,
        model=model,
        dtype=serving_dtype(teacher.model.dtype, config=model.config, hardware=hardware),
        max_model_len=_resolve_length(teacher.model.max_model_len, model, default=DEFAULT_MAX_MODEL_LEN),
        date=date_of(job),
        hardware=hardware,
        replicas=teacher.resources.replicas,
    )


def find_student(job: StageJob, *, store: Store | None, fetch: bool = True) -> Model:
    """Find the student of a spec, as find_teacher does."""
    return _find_named(job.spec.student.model, job=job, at=STUDENT_AT, store=store, fetch=fetch)


def _find_tokenizer(endpoint: Endpoint, *, job: StageJob, at: str, store: Store | None, fetch: bool) -> Model | None:
    """Return the files of an endpoint's tokenizer, or None if the manifest names none."""
    if endpoint.tokenizer is None:
        return None
    at = f"{at}.endpoint.tokenizer"
    return find_tokenizer(
        endpoint.tokenizer,
        commit=find_model_commit(endpoint.tokenizer, revision=None, job=job, at=at, fetch=fetch),
        data_root=root_path(job.data_root),
        store=store,
        records=locate_store(job.store),
        at=at,
        fetch=fetch,
    )


def _find_named(
    model: TeacherModel | StudentModel, *, job: StageJob, at: str, store: Store | None, fetch: bool
) -> Model:
    return find_model(
        model.source,
        commit=find_model_commit(model.source, revision=model.revision, job=job, at=at, fetch=fetch),
        trust_remote_code=model.trust_remote_code,
        data_root=root_path(job.data_root),
        store=store,
        records=locate_store(job.store),
        at=at,
        fetch=fetch,
    )


def _check_reasoning(spec: Spec, *, thinks: bool) -> None:
    """Refuse to keep reasoning that no answer has, and distributions of ids that nobody learns; raises InvalidManifest.

    A final answer is not tokenized as the teacher generated it, and its distribution depends on the reasoning.
    """
    task = spec.task
    if task.keep_reasoning and task.chain_of_density:
        problem = "the student learns the last summary of a chain of density alone"
        raise InvalidManifest(problem, at="spec.task.keepReasoning", fix="Remove it, or remove chainOfDensity")
    if task.keep_reasoning and not task.chain_of_thought and not thinks:
        raise InvalidManifest(
            "the teacher is not asked to reason, and it is not a model that reasons in the student's own chat format",
            at="spec.task.keepReasoning",
            fix="Set task.chainOfThought: true, or remove it",
        )
    if task.keep_reasoning and spec.data.train.answers == "Given":
        problem = "the answers are Given, so the student learns no reasoning of a teacher"
        raise InvalidManifest(problem, at="spec.task.keepReasoning", fix="Remove it, or set answers: Teacher")
    if task.answers_alone and spec.generation.top_logprobs:
        raise InvalidManifest(
            f"it is {spec.generation.top_logprobs}, but the student learns final answers alone, and the teacher's "
            "distributions belong to its whole replies",
            at=_K_AT,
            fix="Remove it, or set task.keepReasoning: true",
        )


def _resolve_k(spec: Spec, *, teachers: Sequence[Teacher]) -> int:
    """Return the number of alternatives to store per token; raises InvalidManifest if a teacher gives none."""
    wanted = 0 if spec.task.answers_alone else spec.generation.top_logprobs
    if all(teacher.model is not None for teacher in teachers):
        return DEFAULT_K if wanted is None else wanted
    text_only = any(teacher.tokenizer is None for teacher in teachers)
    if text_only and wanted:
        raise InvalidManifest(
            f"it is {wanted}, but a teacher at an endpoint whose tokenizer is not named gives only text",
            at=_K_AT,
            fix="Remove it, or name the endpoint's tokenizer",
        )
    if wanted is not None and wanted > _ENDPOINT_K:
        problem = f"it is {wanted}, but an endpoint gives at most {_ENDPOINT_K}"
        raise InvalidManifest(problem, at=_K_AT, fix=f"Set it to {_ENDPOINT_K} or less, or remove it")
    default = 0 if text_only else _ENDPOINT_K
    return default if wanted is None else wanted


def _resolve_length(wanted: int | None, model: Model, *, default: int) -> int:
    """Return the length in the manifest, otherwise the smaller one of the default and the model's maximum."""
    return wanted if wanted is not None else min(default, model.max_positions or default)


def _resolve_precision(job: StageJob) -> Precision:
    wanted = job.spec.training.precision
    if wanted != "Auto":
        return wanted
    return "BF16" if job.hardware_of("Train").has_gpus else "FP32"


def _resolve_sampling(spec: Spec, *, k: int, constraint: Constraint | None) -> Sampling:
    """Return the sampling for training prompts; greedy decoding takes the most likely token whatever topP says."""
    temperature = _resolve_temperature(spec)
    top_p = spec.generation.top_p if temperature > 0 else 1.0
    return Sampling(temperature, top_p, spec.generation.max_tokens, k, constraint=constraint)


def _resolve_ce_weight(spec: Spec, *, objective: str) -> float:
    """Return the share of cross-entropy in an objective that weighs it."""
    return spec.training.objective.ce_weight or 0.0 if OBJECTIVES[objective].weighs_cross_entropy else 0.0


def _resolve_temperature(spec: Spec) -> float:
    """Return the temperature: by default 0 for one sample of a short answer; other answers need randomness."""
    if spec.generation.temperature is not None:
        return spec.generation.temperature
    short = TASKS[spec.task.type].short_answers or bool(spec.task.answer_labels)
    return 0.0 if short and spec.generation.samples_per_prompt == 1 else 0.7


def date_of(job: StageJob) -> datetime.date:
    """Return the date of the job, so that a job that continues after midnight has the same prompts as before."""
    named = job.spec.task.date or job.date
    return datetime.date.fromisoformat(named) if named else datetime.datetime.now(datetime.UTC).date()


def _choose_objective(wanted: str, supply: Supply) -> tuple[str, str]:
    """Return the objective and the reason for it: the requested one, or, for Auto, the strongest possible one."""
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


def describe_commits(spec: Spec, choices: Choices) -> dict[str, str]:
    """Return the commit of each model and tokenizer of the hub, by the name that the operator knows it by."""
    student, found = spec.student.model, dict[str, Model | None]()
    found[model_name(student.source, student.revision)] = choices.student
    for declared, teacher in zip(spec.teachers, choices.teachers, strict=True):
        if declared.model is not None:
            found[model_name(declared.model.source, declared.model.revision)] = teacher.tokenizer
        elif declared.endpoint is not None and declared.endpoint.tokenizer is not None:
            found[declared.endpoint.tokenizer] = teacher.tokenizer
    return {name: model.hub.commit for name, model in found.items() if model is not None and model.hub is not None}


def find_models(job: StageJob, *, store: Store) -> tuple[tuple[Teacher, ...], Model]:
    """Find teachers and student; problems on this machine are reported before a long download."""
    for split in data_sources(job.spec):
        find_data(job, split)
    if any(teacher.source.startswith(HUB_SCHEME) for teacher in job.spec.teachers):
        student = find_student(job, store=store)
        return find_teachers(job, store=store), student
    return find_teachers(job, store=store), find_student(job, store=store)
