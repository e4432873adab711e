"""The fields of the spec, and for each the artifacts whose key it changes: the specification of keys as two tables."""

from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel

NOTHING: set[str] = set()
EXPORT, REPORT = {"export"}, {"report"}
STUDENT = {"student", "report", "export"}
SAMPLES = {"samples"} | STUDENT
DATASET = {"dataset"} | SAMPLES
ANSWERS = {"answers"} | DATASET
ANSWERED = {"answers", "judge"} | DATASET
ALL = {"rows"} | ANSWERED

# Every field of the spec, a value other than its default, and the artifacts whose key it changes in a job of labels,
# which is answered greedily, and trained and validated on CPUs in 3 epochs.
FIELDS: dict[str, tuple[Any, set[str]]] = {
    "task.type": ("NLI", ALL),
    "task.labels": (["yes", "no", "perhaps"], ALL),
    "task.systemPrompt": ("Be brief.", ALL),
    "task.chainOfThought": (True, ALL),
    "task.keepReasoning": (True, ANSWERED),
    "task.prompt": ("{{ prompt }}", ALL),
    "task.answer.regex": ("[a-z.]+", ALL),
    "task.answer.jsonSchema": ({"type": "string"}, ALL),
    "task.answer.labels": (["yes", "no"], ALL),
    "task.maxSummaryWords": (60, ALL),
    "task.chainOfDensity": (True, ALL),
    "task.date": ("2026-01-02", NOTHING),
    "teachers.0.name": ("other", NOTHING),
    "teachers.0.model.source": ("../{root}/teacher", NOTHING),
    "teachers.0.model.revision": ("main", NOTHING),
    "teachers.0.model.maxModelLen": (48, ALL),
    "teachers.0.model.dtype": ("BFloat16", ALL),
    "teachers.0.model.quantization": ("fp8", ALL),
    "teachers.0.model.kvCacheDtype": ("fp8", ALL),
    "teachers.0.model.tensorParallelSize": (2, NOTHING),
    "teachers.0.model.pipelineParallelSize": (2, NOTHING),
    "teachers.0.model.expertParallel": (True, NOTHING),
    "teachers.0.model.gpuMemoryUtilization": (0.8, NOTHING),
    "teachers.0.model.engineArgs": ({"max_num_seqs": "512"}, NOTHING),
    "teachers.0.model.trustRemoteCode": (True, ALL),
    "teachers.0.model.chatTemplateKwargs": ({"enable_thinking": "false"}, ALL),
    "teachers.0.endpoint.api": ("Anthropic", ALL),
    "teachers.0.endpoint.model": ("other", ALL),
    "teachers.0.endpoint.url": ("https://gateway.example.com/v1", NOTHING),
    "teachers.0.endpoint.apiVersion": ("2025-01-01", NOTHING),
    "teachers.0.endpoint.tokenizer": ("student", ALL),
    "teachers.0.endpoint.secretKeyRef.name": ("other", NOTHING),
    "teachers.0.endpoint.secretKeyRef.key": ("other", NOTHING),
    "teachers.0.endpoint.requestsPerMinute": (60, NOTHING),
    "teachers.0.endpoint.tokensPerMinute": (6000, NOTHING),
    "teachers.0.endpoint.maxInFlight": (4, NOTHING),
    "teachers.0.endpoint.prices.input": (2.5, NOTHING),
    "teachers.0.endpoint.prices.output": (10.0, NOTHING),
    "teachers.0.match.tag": ("billing", NOTHING),
    "teachers.0.weight": (3, NOTHING),
    "teachers.0.resources.pool": ("h200", NOTHING),
    "teachers.0.resources.replicas": (3, NOTHING),
    "student.model.source": ("../{root}/student", NOTHING),
    "student.model.revision": ("main", NOTHING),
    "student.model.trustRemoteCode": (True, STUDENT),
    "student.resources.pool": ("a100", NOTHING),
    "student.resources.workers": (4, NOTHING),
    "student.resources.gpusPerWorker": (1, NOTHING),
    "data.train.uri": ("../{root}/data/train.jsonl", NOTHING),
    "data.train.configMapKeyRef": (None, NOTHING),
    "data.train.answers": ("Given", ALL),
    "data.train.targets": ("All", DATASET),
    "data.redact": ("textwrap:dedent", ALL),
    "data.validation.uri": ("../{root}/data/validation.jsonl", NOTHING),
    "data.validation.configMapKeyRef": (None, NOTHING),
    "data.test.uri": ("../{root}/data/test.jsonl", NOTHING),
    "data.test.configMapKeyRef": (None, NOTHING),
    "generation.routing": ("BestOf", NOTHING),
    "generation.temperature": (1.0, ANSWERS),
    "generation.topP": (0.9, NOTHING),
    "generation.maxTokens": (8, ANSWERED),
    "generation.samplesPerPrompt": (2, ANSWERS),
    "generation.topLogprobs": (8, ANSWERED),
    "generation.structuredOutput": (True, ANSWERED),
    "generation.seed": (1, NOTHING),
    "generation.minSuccessRatio": (0.5, NOTHING),
    "curation.filters.format": (False, DATASET),
    "curation.filters.refusal": (True, NOTHING),
    "curation.filters.language": (False, NOTHING),
    "curation.filters.length": (False, NOTHING),
    "curation.filters.repetition": (False, DATASET),
    "curation.filters.duplicates": (False, DATASET),
    "curation.filters.nearDuplicates": (True, DATASET),
    "curation.select": ("Verified", DATASET),
    "curation.traceLength": ("Auto", DATASET),
    "curation.maxShare": (0.6, DATASET),
    "curation.minKeepRatio": (0.5, NOTHING),
    "training.objective.type": ("Sequence", STUDENT),
    "training.objective.temperature": (None, NOTHING),
    "training.objective.ceWeight": (0.5, STUDENT),
    "training.optimizer.learningRate": (1e-4, STUDENT),
    "training.optimizer.weightDecay": (0.1, STUDENT),
    "training.optimizer.betas": ([0.9, 0.99], STUDENT),
    "training.optimizer.scheduler": ("Constant", STUDENT),
    "training.optimizer.warmupRatio": (0.1, STUDENT),
    "training.optimizer.maxGradNorm": (2.0, STUDENT),
    "training.epochs": (5, STUDENT),
    "training.maxSteps": (10, STUDENT),
    "training.globalBatchSize": (8, STUDENT),
    "training.microBatchSize": (2, NOTHING),
    "training.maxLength": (48, SAMPLES),
    "training.precision": ("BF16", STUDENT),
    "training.seed": (1, STUDENT),
    "training.validation.everySteps": (5, STUDENT),
    "training.validation.patience": (1, STUDENT),
    "training.validation.keepBest": (False, STUDENT),
    "training.checkpoint.everyMinutes": (1, NOTHING),
    "training.checkpoint.keepLast": (5, NOTHING),
    "evaluation.sampleLimit": (4, REPORT),
    "evaluation.answerComparison": ("SQuAD", REPORT),
    "evaluation.gate.minAccuracy": (0.5, REPORT),
    "evaluation.gate.minGain": (0.1, REPORT),
    "evaluation.gate.minGapClosed": (0.1, REPORT),
    "evaluation.gate.minRetention": (0.9, REPORT),
    "evaluation.gate.maxLatencyRatio": (0.5, REPORT),
    "evaluation.gate.maxInvalidRate": (0.1, REPORT),
    "evaluation.gate.requireSignificance": (False, REPORT),
    "export": ([{"uri": "out"}], EXPORT),
    "storage.uri": ("file:///elsewhere", NOTHING),
    "storage.volumeClaim": ("claim", NOTHING),
    "modelCache": ({"volumeClaim": "models", "path": "shared/hub"}, NOTHING),
    "runID": ("second", NOTHING),
    "suspend": (True, NOTHING),
    "budget.dollars": (5.0, NOTHING),
    "budget.gpuHours": (2.5, NOTHING),
    "queue": ({"name": "gpu"}, NOTHING),
    "retry": ({"maxFailures": 5}, NOTHING),
    "pods": ({"labels": {"team": "a"}, "envFromSecrets": ["hub"]}, NOTHING),
    "stages": ({"train": {"pool": "a100", "memory": "16Gi"}}, NOTHING),
    "activeDeadlineSeconds": (60, NOTHING),
    "schedulingTimeoutSeconds": (60, NOTHING),
    "startupTimeoutSeconds": (60, NOTHING),
    "noProgressTimeoutSeconds": (60, NOTHING),
    "childRetentionSeconds": (60, NOTHING),
}
# What other fields say, and then fields, their new values, and the artifacts whose key each of them changes.
CONDITIONS: dict[str, tuple[dict[str, Any], list[tuple[str, Any, set[str]]]]] = {
    "at temperature 0.7": (
        {"generation.temperature": 0.7},
        [
            ("generation.seed", 1, ANSWERS),
            ("generation.topP", 0.9, ANSWERS),
            ("generation.minSuccessRatio", 0.5, NOTHING),
        ],
    ),
    "with several samples": (
        {"generation.samplesPerPrompt": 2},
        [
            ("generation.seed", 1, ANSWERS),
            ("generation.topP", 0.9, ANSWERS),
            ("generation.temperature", 0.7, NOTHING),
        ],
    ),
    "with several samples at temperature 0": (
        {"generation.samplesPerPrompt": 2, "generation.temperature": 0},
        [("generation.seed", 1, NOTHING), ("generation.samplesPerPrompt", 3, ANSWERS)],
    ),
    "in a conversation": (
        {"task": {"type": "Conversation"}},
        [("generation.seed", 1, ANSWERS), ("generation.topP", 0.9, ANSWERS), ("generation.temperature", 0.7, NOTHING)],
    ),
    "with answers Given": (
        {"data.train.answers": "Given"},
        [
            ("generation.seed", 1, NOTHING),
            ("generation.temperature", 0.7, NOTHING),
            ("generation.samplesPerPrompt", 2, NOTHING),
            ("generation.topP", 0.9, NOTHING),
            ("generation.maxTokens", 8, {"judge", "report"}),
            ("generation.topLogprobs", 8, {"judge", "report"}),
            ("training.objective.type", "Sequence", NOTHING),
            ("training.objective.ceWeight", 0.5, NOTHING),
        ],
    ),
    "with answers Given and drawn": (
        {"data.train.answers": "Given", "generation.temperature": 0.7},
        [("generation.seed", 1, NOTHING), ("generation.topP", 0.9, NOTHING)],
    ),
    "with Sequence": (
        {"training.objective.type": "Sequence"},
        [("training.objective.ceWeight", 0.5, NOTHING), ("generation.topLogprobs", 8, ANSWERED)],
    ),
    "with CachedLogits": (
        {"training.objective.type": "CachedLogits"},
        [("training.objective.ceWeight", 0.5, STUDENT), ("training.objective.ceWeight", 0, NOTHING)],
    ),
    "on CPUs": (
        {"student.resources.gpusPerWorker": 0},
        [("training.precision", "FP32", NOTHING), ("training.precision", "BF16", STUDENT)],
    ),
    "validated once an epoch, in 3 epochs": (
        {"training.epochs": 3},
        [
            ("training.validation.patience", 2, STUDENT),
            ("training.validation.patience", 3, NOTHING),
            ("training.validation.patience", 9, NOTHING),
        ],
    ),
    "validated more often": (
        {"training.validation.everySteps": 2}, [("training.validation.patience", 9, STUDENT)],
    ),
    "of models made for 64 tokens, with lengths that are absent": (
        {"teachers.0.model": {"source": "teacher"}},
        [
            ("teachers.0.model.maxModelLen", 64, NOTHING),
            ("teachers.0.model.maxModelLen", 63, ALL),
            ("training.maxLength", 64, NOTHING),
            ("training.maxLength", 63, SAMPLES),
        ],
    ),
}  # fmt: skip
WHOLE = {"export", "modelCache", "queue", "retry", "pods", "stages"}
"""Edited as a whole, since all of their fields change the same keys."""
ONE_LEGAL_VALUE = {"training.objective.temperature"}
ENDPOINT = {"model": "large", "secretKeyRef": {"name": "vendor", "key": "key"}, "prices": {"input": 1.0, "output": 2.0}}
AZURE = {"api": "AzureOpenAI", "apiVersion": "2024-10-21", "url": "https://team.openai.azure.com"}
_OF_TEXT = ("task.prompt", *(f"task.answer.{form}" for form in ("regex", "jsonSchema", "labels")))
NEEDS = {
    **{path: ("task", {"type": "Text"}) for path in _OF_TEXT},
    "data.train.targets": ("data.train.answers", "Given"),
    "task.keepReasoning": ("task.chainOfThought", True),
    "task.maxSummaryWords": ("task", {"type": "Summarization"}),
    "task.chainOfDensity": ("task", {"type": "Summarization"}),
    **{
        path: ("teachers.0", {"name": "main", "endpoint": ENDPOINT | (AZURE if path.endswith("apiVersion") else {})})
        for path in FIELDS
        if path.startswith("teachers.0.endpoint.")
    },
}
"""Fields that another field must have a value for."""
IN_PLACE_OF_URI = {f"data.{split}.configMapKeyRef" for split in ("train", "validation", "test")}


def leaves(kind: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Yield the fields that the table names: those that hold values, a list's items as its item 0."""
    for name, declared in kind.model_fields.items():
        path = f"{prefix}{declared.alias or name}"
        annotation = str(declared.annotation)
        models = [one for one in _models(declared.annotation) if one.__name__ != "ConfigMapKeyRef"]
        if not models or path in WHOLE:
            yield path
            continue
        for model in models:
            yield from leaves(model, f"{path}.0." if annotation.startswith("tuple") else f"{path}.")


def _models(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for one in getattr(annotation, "__args__", ()) for model in _models(one)]
