"""The fields of the spec, and for each the artifacts whose key it changes: the specification of keys as a table."""

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

# Every field of the spec, a value other than its default, and the artifacts whose key it changes.
FIELDS: dict[str, tuple[Any, set[str]]] = {
    "task.type": ("NLI", ALL),
    "task.labels": (["yes", "no", "perhaps"], ALL),
    "task.systemPrompt": ("Be brief.", ALL),
    "teachers.0.name": ("other", NOTHING),
    "teachers.0.model.source": ("../{root}/teacher", NOTHING),
    "teachers.0.model.revision": ("main", NOTHING),
    "teachers.0.model.maxModelLen": (48, ALL),
    "teachers.0.model.dtype": ("BFloat16", ALL),
    "teachers.0.model.quantization": ("fp8", ALL),
    "teachers.0.model.tensorParallelSize": (2, NOTHING),
    "teachers.0.model.pipelineParallelSize": (2, NOTHING),
    "teachers.0.model.trustRemoteCode": (True, ALL),
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
    "data.train.answers": ("Given", ANSWERS),
    "data.validation.uri": ("../{root}/data/validation.jsonl", NOTHING),
    "data.validation.configMapKeyRef": (None, NOTHING),
    "data.test.uri": ("../{root}/data/test.jsonl", NOTHING),
    "data.test.configMapKeyRef": (None, NOTHING),
    "generation.temperature": (1.0, ANSWERS),
    "generation.topP": (0.9, ANSWERS),
    "generation.maxTokens": (8, ANSWERED),
    "generation.samplesPerPrompt": (2, ANSWERS),
    "generation.topLogprobs": (8, ANSWERED),
    "generation.seed": (1, ANSWERS),
    "generation.minSuccessRatio": (0.5, ANSWERS),
    "curation.minKeepRatio": (0.5, DATASET),
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
    "training.precision": ("FP32", STUDENT),
    "training.seed": (1, STUDENT),
    "training.validation.everySteps": (5, STUDENT),
    "training.validation.patience": (1, STUDENT),
    "training.validation.keepBest": (False, STUDENT),
    "training.checkpoint.everyMinutes": (1, NOTHING),
    "training.checkpoint.keepLast": (5, NOTHING),
    "evaluation.sampleLimit": (4, REPORT),
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
    "runID": ("second", NOTHING),
    "suspend": (True, NOTHING),
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
WHOLE = {"export", "queue", "retry", "pods", "stages"}
"""Edited as a whole, since all of their fields change the same keys."""
ONE_LEGAL_VALUE = {"training.objective.temperature"}
IN_PLACE_OF_URI = {f"data.{split}.configMapKeyRef" for split in ("train", "validation", "test")}


def leaves(kind: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """The fields that the table names: those that hold values, a list's items as its item 0."""
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
