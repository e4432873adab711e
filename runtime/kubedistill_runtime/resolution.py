"""Resolution: what a spec means on these files, and the key of every artifact, before any of it exists.

Cheap and repeatable: files are hashed once and remembered, and nothing is tokenised or loaded.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from kubedistill.canonical import digest
from kubedistill.chain import ArtifactName
from kubedistill.contract import StageJob
from kubedistill.errors import InvalidData, InvalidInput, InvalidManifest, TokenizerMismatch
from kubedistill.v1alpha1 import LABEL_TASKS, DataSource, Spec
from kubedistill.v1alpha1.base import Model as ResourceModel
from kubedistill_runtime.chat import load_stop_ids
from kubedistill_runtime.checks.tokenizers import TokenizerComparison, compare_tokenizers
from kubedistill_runtime.models import Model, file_digest, find_model
from kubedistill_runtime.records import SPLITS, Split
from kubedistill_runtime.serving.engine import Sampling
from kubedistill_runtime.storage.store import Store

# One number per artifact: raise it when a stage's output changes for the same inputs, defaults included.
SCHEMAS: dict[ArtifactName, int] = {
    "rows": 1, "answers": 1, "judge": 1, "dataset": 1, "samples": 1, "student": 1, "report": 1,
    "export": 1,
}  # fmt: skip
DEFAULT_K = 32
CPU_DTYPE = "Float32"


@dataclass(frozen=True, slots=True)
class Resolved:
    """A spec with every open choice made."""

    teacher: Model
    student: Model
    teacher_dtype: str
    shared_tokenizer: bool
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


def resolve(job: StageJob, *, store: Store) -> Resolved:
    """Make every open choice of a job's spec and compute its keys.

    Raises InvalidManifest, InvalidData, InvalidModel or TokenizerMismatch, naming the field.
    """
    spec = job.spec
    teacher, student = _find_models(job, store=store)
    comparison = compare_tokenizers(teacher, student)
    k = DEFAULT_K if spec.generation.top_logprobs is None else spec.generation.top_logprobs
    objective, reason = _resolve_objective(spec, comparison=comparison, k=k)
    generation, dtype = spec.generation, spec.teachers[0].model.dtype
    resolved = Resolved(
        teacher=teacher,
        student=student,
        teacher_dtype=CPU_DTYPE if dtype == "Auto" else dtype,
        shared_tokenizer=comparison.shared,
        sampling=Sampling(_resolve_temperature(spec), generation.top_p, generation.max_tokens, k),
        judge_sampling=Sampling(max_tokens=generation.max_tokens, k=k),
        objective=objective,
        objective_reason=reason,
        ce_weight=spec.training.objective.ce_weight or 0.0,
        keys={},
    )
    files, chat = _digest_files(job, store=store), _digest_chat_format(student, store=store)
    return replace(resolved, keys=_compute_keys(spec, resolved, files=files, chat=chat))


def check_keys(job: StageJob, resolved: Resolved) -> None:
    """Refuse to go on when a file or model changed since Prepare computed the keys."""
    changed = sorted(name for name, key in job.artifacts.items() if resolved.keys[name] != key)
    if changed:
        raise InvalidInput(
            "data or model files changed while the job ran", at=", ".join(changed), fix="Start the job again"
        )


def data_path(source: DataSource, *, job: StageJob, at: str) -> Path:
    """Where a data source's file lies on this machine."""
    if source.config_map_key_ref is not None:
        reference = source.config_map_key_ref
        if reference.name not in job.config_maps:
            fix = f"Pass --configmap {reference.name}=FOLDER"
            raise InvalidManifest(f"ConfigMap {reference.name!r} is not given", at=f"{at}.configMapKeyRef", fix=fix)
        return Path(job.config_maps[reference.name]) / reference.key
    assert source.uri is not None, "the resource model asks for exactly one source"
    parts = urlsplit(source.uri)
    if parts.scheme not in ("", "file"):
        raise InvalidManifest(
            f"data of scheme '{parts.scheme}' is not served yet", at=f"{at}.uri", fix="Use a file:// URI or a path"
        )
    return root_path(job.data_root) / (unquote(parts.path) if parts.scheme else source.uri)


def data_sources(spec: Spec) -> dict[Split, DataSource]:
    """The data sources that a spec names, by split."""
    found = {split: getattr(spec.data, split) for split in SPLITS}
    return {split: source for split, source in found.items() if source is not None}


def root_path(uri: str) -> Path:
    """The folder behind a file:// URI."""
    return Path(unquote(urlsplit(uri).path))


def _find_models(job: StageJob, *, store: Store) -> tuple[Model, Model]:
    teacher, student = job.spec.teachers[0].model, job.spec.student.model
    found = [
        find_model(
            model.source, revision=model.revision, trust_remote_code=model.trust_remote_code,
            data_root=root_path(job.data_root), store=store, at=f"{at}.source",
        )
        for model, at in ((teacher, "spec.teachers[0].model"), (student, "spec.student.model"))
    ]  # fmt: skip
    return found[0], found[1]


def _resolve_temperature(spec: Spec) -> float:
    """One sample of a short answer is drawn greedily; free text and several samples need chance."""
    if spec.generation.temperature is not None:
        return spec.generation.temperature
    short = spec.task.type in (*LABEL_TASKS, "QA") and spec.generation.samples_per_prompt == 1
    return 0.0 if short else 0.7


def _resolve_objective(spec: Spec, *, comparison: TokenizerComparison, k: int) -> tuple[str, str]:
    wanted, at = spec.training.objective.type, "spec.training.objective.type"
    if wanted == "Sequence":
        return "Sequence", "as the manifest says"
    if spec.data.train.answers == "Given":
        obstacle = "the answers are given, so the teacher's distribution over them is not known"
        refusal: InvalidInput = InvalidManifest(f"CachedLogits is not possible: {obstacle}", at=at, fix="Use Sequence")
    elif not comparison.shared:
        obstacle = comparison.difference
        refusal = TokenizerMismatch(f"CachedLogits needs one tokenizer: {obstacle}", at=at, fix="Use Auto or Sequence")
    elif k == 0:
        obstacle = "topLogprobs is 0"
        refusal = InvalidManifest(
            f"CachedLogits is not possible: {obstacle}", at=at, fix="Remove generation.topLogprobs"
        )
    else:
        return (
            "CachedLogits",
            "as the manifest says" if wanted == "CachedLogits" else "teacher and student share a tokenizer",
        )
    if wanted == "CachedLogits":
        raise refusal
    return "Sequence", obstacle


def _digest_files(job: StageJob, *, store: Store) -> dict[str, str]:
    digests: dict[str, str] = {}
    for split, source in data_sources(job.spec).items():
        path = data_path(source, job=job, at=f"spec.data.{split}")
        if not path.is_file():
            fix = "Paths without a scheme are relative to the manifest's folder, in a cluster to storage.uri"
            raise InvalidData("there is no such file", at=f"spec.data.{split}: {path}", fix=fix)
        digests[split] = file_digest(path, store=store)
    return digests


# How fast a result comes, not what it is. Whether the code of a checkpoint runs is part of the model's digest.
_PLACEMENT = frozenset(
    {"source", "revision", "tensor_parallel_size", "pipeline_parallel_size", "trust_remote_code"}
)  # fmt: skip
_PACE = frozenset({"micro_batch_size", "checkpoint"})
_CHAT_FORMAT = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja")


def _digest_chat_format(model: Model, *, store: Store) -> str:
    """The digest of all that decides which ids a conversation becomes with a model's tokenizer and template."""
    code = sorted(model.path.glob("*.py")) if model.trust_remote_code else []
    files = [file for file in (*(model.path / name for name in _CHAT_FORMAT), *code) if file.is_file()]
    return digest(
        {
            "files": {file.name: file_digest(file, store=store) for file in files},
            "modelType": model.config.get("model_type"),  # it names the tokenizer's class where its own file does not
            "stopIds": load_stop_ids(model),
        }
    )


def _compute_keys(spec: Spec, resolved: Resolved, *, files: dict[str, str], chat: str) -> dict[ArtifactName, str]:
    """The key of each artifact: a digest of all that determines it, the keys it stands on among it.

    What the spec leaves open enters as it was resolved, so spelling a default out changes no key. Pools, workers,
    prices and engine versions stay out.
    """
    keys: dict[ArtifactName, str] = {}

    def add(name: ArtifactName, **parts: Any) -> str:
        keys[name] = digest({"artifact": name, "schema": SCHEMAS[name], **parts})
        return keys[name]

    generation, training, k = spec.generation, spec.training, resolved.k
    task = {**_values(spec.task), "labels": spec.task.answer_labels}
    # What is TooLong depends on the teacher, so the teacher enters rows; the student never does.
    model = _values(spec.teachers[0].model, without=_PLACEMENT)
    teacher = {**model, "digest": resolved.teacher.digest, "dtype": resolved.teacher_dtype}
    held_out_by = generation.seed if len(files) < len(SPLITS) else None
    rows = add("rows", files=files, task=task, heldOutBy=held_out_by, teachers=[teacher])
    drawn = {**_values(generation), "temperature": resolved.sampling.temperature, "topLogprobs": k}
    answers = add("answers", rows=rows, generation=drawn, answers=spec.data.train.answers)
    judge = add("judge", rows=rows, maxTokens=generation.max_tokens, topLogprobs=k)
    dataset = add("dataset", answers=answers, curation=_values(spec.curation))
    objective = {**_values(training.objective), "type": resolved.objective, "ceWeight": resolved.ce_weight}
    samples = add("samples", dataset=dataset, judge=judge, chatFormat=chat, maxLength=training.max_length)
    learning = {**_values(training, without=_PACE | {"max_length"}), "objective": objective}
    trained = add("student", samples=samples, student=resolved.student.digest, training=learning)
    add("report", student=trained, judge=judge, evaluation=_values(spec.evaluation))
    add("export", student=trained, export=[_values(export) for export in spec.export])
    return keys


def _values(part: ResourceModel, *, without: frozenset[str] = frozenset()) -> dict[str, Any]:
    return part.model_dump(mode="json", by_alias=True, exclude_defaults=True, exclude_none=True, exclude=set(without))
