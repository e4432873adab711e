"""Keys: the digest of everything that determines an artifact, computed before the artifact exists.

Files are hashed once, and their digests are cached.
"""

import datetime
from dataclasses import replace

from kubedistill.canonical import digest
from kubedistill.chain import ArtifactName
from kubedistill.contract import StageJob
from kubedistill.errors import InvalidInput
from kubedistill.json_values import Json, JsonObject
from kubedistill.v1alpha1 import Spec
from kubedistill.v1alpha1.base import Model as ResourceModel
from kubedistill_runtime.chat.template import date_for, load_stop_ids
from kubedistill_runtime.choices import Choices, choose, find_models
from kubedistill_runtime.curation.filters import find_active
from kubedistill_runtime.data_files import data_sources, find_data
from kubedistill_runtime.models import Model, file_digest
from kubedistill_runtime.records import SPLITS
from kubedistill_runtime.redaction import digest_redaction
from kubedistill_runtime.storage.store import Store

# One number per artifact: raise it when a stage's output changes for the same inputs, defaults included.
SCHEMAS: dict[ArtifactName, int] = {
    "rows": 3, "answers": 2, "judge": 2, "dataset": 3, "samples": 2, "student": 3, "report": 4, "export": 2,
}  # fmt: skip
_NOT_ROUTING = frozenset({"model", "endpoint", "resources"})
_PACE = frozenset({"micro_batch_size", "checkpoint"})
# Ratios that an artifact must reach: checked when it is made and, if it exists, in Prepare.
_YIELDS = frozenset({"min_success_ratio", "min_keep_ratio"})


_CHAT_FORMAT = (
    "tokenizer*", "special_tokens_map.json", "added_tokens.json", "vocab*", "merges.txt", "*.model", "*.tiktoken",
    "*.jinja",
)  # fmt: skip


def resolve(job: StageJob, *, store: Store) -> Choices:
    """Make every open choice of a job's spec and compute its keys.

    Raises InvalidManifest, InvalidData, InvalidModel or TokenizerMismatch, with the field.
    """
    teachers, student = find_models(job, store=store)
    choices = choose(job, teachers=teachers, student=student)
    files, chat = _digest_files(job, store=store), digest_chat_format(student, store=store)
    return replace(choices, keys=compute_keys(job.spec, choices, files=files, chat=chat))


def check_unchanged(job: StageJob, choices: Choices) -> None:
    """Check that no file or model changed since Prepare computed the keys; raises InvalidInput."""
    changed = sorted(name for name, key in job.artifacts.items() if choices.keys[name] != key)
    if changed:
        raise InvalidInput(
            "data or model files changed while the job ran, or kubedistill was upgraded",
            at=", ".join(changed),
            fix="Start the job again",
        )


def digest_chat_format(model: Model, *, store: Store) -> str:
    """Return the digest of everything that determines the ids of a conversation with a model."""
    patterns = (*_CHAT_FORMAT, "*.py") if model.trust_remote_code else _CHAT_FORMAT
    files = sorted({file for pattern in patterns for file in model.path.glob(pattern) if file.is_file()})
    return digest(
        {
            "files": {file.name: file_digest(file, store=store) for file in files},
            # They name the tokenizer's class if its own file does not.
            "class": [model.config.get("tokenizer_class"), model.config.get("model_type")],
            "stopIds": load_stop_ids(model),
        }
    )


def compute_keys(spec: Spec, choices: Choices, *, files: dict[str, str], chat: str) -> dict[ArtifactName, str]:
    """Return the key of each artifact: a digest of everything that determines its bytes, including the keys it needs.

    Open choices enter as they were resolved, so writing out a default changes no key. Settings that the job does not
    use do not enter: a seed without sampling, or sampling with given answers. Nor do pools, workers, prices and engine
    versions.
    """
    keys: dict[ArtifactName, str] = {}

    def add(name: ArtifactName, **parts: Json) -> str:
        keys[name] = digest({"artifact": name, "schema": SCHEMAS[name], **parts})
        return keys[name]

    train, given = spec.data.train, spec.data.train.answers == "Given"
    # Whether the student learns the reasoning does not change what the teacher is asked.
    task = {**_values(spec.task, without=frozenset({"date", "keep_reasoning"})), "labels": spec.task.answer_labels}
    held_out_by = spec.generation.seed if len(files) < len(SPLITS) else None
    # The teachers determine which records are TooLong, so they enter the key of rows; the student never does.
    teachers = _teacher_values(spec, choices)
    rows = add("rows", files=files, task=task, heldOutBy=held_out_by, teachers=teachers, answers=train.answers)
    answers = add("answers", rows=rows, generation={} if given else _sampling_values(spec, choices))
    limits: JsonObject = {"maxTokens": spec.generation.max_tokens, "topLogprobs": choices.k}
    judge = add("judge", rows=rows, **limits, **choices.judge_sampling.extra_values())
    curation = {**_values(spec.curation, without=_YIELDS | {"trace_length"}), "filters": find_active(spec)}
    if choices.keeps_shortest:  # of the student, only whether it is small
        curation["keepsShortest"] = True
    if spec.curation.select != "All" or choices.keeps_shortest:  # the answers are compared
        curation["answerComparison"] = spec.evaluation.answer_comparison
    kept: JsonObject = {"keepReasoning": True} if spec.task.keep_reasoning else {}
    dataset = add("dataset", answers=answers, targets=train.targets, curation=curation, **kept)
    samples = add(
        "samples",
        dataset=dataset,
        judge=None if given else judge,  # given answers are validated on the references
        chat=[chat, _day_for(choices.student, choices.date)],
        maxLength=choices.max_length,
    )
    training = _training_values(spec, choices)
    trained = add("student", samples=samples, student=choices.student.digest, training=training)
    add("report", student=trained, judge=judge, evaluation=_values(spec.evaluation), dtype=choices.student_dtype)
    add("export", student=trained, export=[_values(export) for export in spec.export])
    return keys


def _teacher_values(spec: Spec, choices: Choices) -> list[Json]:
    """Return the values of all teachers; of several, also what decides who answers a record."""
    values = [teacher.values() for teacher in choices.teachers]
    if len(values) == 1:
        return list(values)
    routed = [_values(one, without=_NOT_ROUTING) for one in spec.teachers]
    return [{**one, **route, "routing": spec.generation.routing} for one, route in zip(values, routed, strict=True)]


def _day_for(model: Model, date: datetime.date) -> str | None:
    """Return the date for keys if the model's template asks for it; otherwise answers stay valid on other days."""
    day = date_for(model, date)
    return day.isoformat() if day else None


def _sampling_values(spec: Spec, choices: Choices) -> JsonObject:
    """Return the values of the sampling of training prompts; at temperature 0 no seed is used."""
    sampling = choices.sampling
    return {
        **_values(spec.generation, without=_YIELDS | {"routing"}),  # rows have the routing
        "temperature": sampling.temperature,
        "topP": sampling.top_p,
        "topLogprobs": choices.k,
        "seed": spec.generation.seed if sampling.temperature > 0 else None,
    }


def _training_values(spec: Spec, choices: Choices) -> JsonObject:
    training, validation = spec.training, spec.training.validation
    objective = {**_values(training.objective), "type": choices.objective, "ceWeight": choices.ce_weight}
    # With one validation per epoch, a patience of all epochs or more never ends the training early.
    patience = validation.patience if validation.every_steps else min(validation.patience, training.epochs)
    return {
        **_values(training, without=_PACE),
        "objective": objective,
        "maxLength": choices.max_length,
        "precision": choices.precision,
        "validation": {**_values(validation), "patience": patience},
    }


def _values(part: ResourceModel, *, without: frozenset[str] = frozenset()) -> JsonObject:
    return part.model_dump(mode="json", by_alias=True, exclude_defaults=True, exclude_none=True, exclude=set(without))


def _digest_files(job: StageJob, *, store: Store) -> dict[str, str]:
    """Return the digest of each data file; of a file that is redacted, of what is left of it."""
    files: dict[str, str] = {split: file_digest(find_data(job, split), store=store) for split in data_sources(job.spec)}
    redaction = digest_redaction(job, store=store)
    return files if redaction is None else {split: digest([one, redaction]) for split, one in files.items()}
