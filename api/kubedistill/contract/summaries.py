"""Summaries of stages: the most important figures of each stage at its end, for people, status and metrics.

Each field has a default, because a result omits parts of a summary that are too large, and an older driver may have
written it.
"""

import math
from typing import Annotated

from pydantic import BeforeValidator, StrictBool, ValidationError, ValidatorFunctionWrapHandler, WrapValidator

from kubedistill.chain import ArtifactName, StageName
from kubedistill.contract.artifacts import (
    AnswersFigures,
    DatasetFigures,
    ExportedFolder,
    ExportFigures,
    Figures,
    JudgeFigures,
    RowsFigures,
    SamplesFigures,
    SplitCounts,
    SplitSamples,
    StudentFigures,
)
from kubedistill.contract.estimates import Estimate
from kubedistill.contract.models import StoredModel, Summary
from kubedistill.json_values import Json


def _number(value: Json) -> float | None:
    """Return a figure from a driver; None if it is not a number."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


class GateVerdict(StoredModel):
    """Whether the student may be exported, and all limits that it misses."""

    passed: StrictBool
    reasons: list[str] = []
    limits: list[str] | None = None
    """Fields of spec.evaluation.gate that are set; empty if no gate is set, null in older reports."""
    notes: list[str] = []
    """Limits that were not checked, and why."""


def _valid(value: Json | StoredModel, read: ValidatorFunctionWrapHandler) -> StoredModel | None:
    """Read a part of a summary; return None if it is invalid, so that the rest can be read."""
    try:
        part: StoredModel = read(value)
    except ValidationError:  # without a verdict, the job fails, which harms only the job that wrote it
        return None
    return part


Figure = Annotated[float | None, BeforeValidator(_number)]


class Headline(Summary):
    """The most important figures of the report; fractions are 0 to 1, and a value that is not known is null."""

    measure: str = ""
    teacher_accuracy: Figure = None
    baseline_accuracy: Figure = None
    distilled_accuracy: Figure = None
    retention: Figure = None
    gain: Figure = None
    gap_closed: Figure = None
    p_value: Figure = None
    rows: int = 0
    total_rows: int | None = None
    latency_noise: bool = False
    gate: Annotated[GateVerdict | None, WrapValidator(_valid)] = None


class ReportFigures(Headline, Figures):
    """The figures of the report in the manifest of its artifact."""


class PrepareSummary(Summary):
    """The numbers of records, and the objective that was chosen."""

    read: SplitCounts = {}
    held_out: list[str] = []
    dropped: dict[str, SplitCounts] = {}
    counts: SplitCounts = {}
    objective: str = ""
    objective_reason: str = ""
    top_logprobs: int = 0
    judged: int = 0
    """Number of test records that are evaluated and have a reference."""
    models: dict[str, str] = {}
    """Commit of each model of the hub by its name (`model_name`)."""
    notes: list[str] = []
    estimate: Annotated[Estimate | None, WrapValidator(_valid)] = None
    """What the run will take; null if that could not be estimated."""
    report: Headline | None = None
    """The headline of a report that already exists, so that Evaluate will be skipped."""


class GenerateSummary(Summary):
    """Numbers of answers that were generated, and that were in the cache."""

    answers: int = 0
    generated: int = 0
    reused: int = 0
    teacher_tokens: int = 0
    seconds: float = 0.0


class CurateSummary(Summary):
    """The figures of the artifacts dataset and samples."""

    asked: int = 0
    kept: int = 0
    rejected: dict[str, int] = {}
    keep_ratio: float = 0.0
    labels: dict[str, int] = {}
    distinct_pairs: float | None = None
    samples: int = 0
    overlong: int = 0
    without_logprobs: int = 0
    split: int = 0
    unspelled: int = 0
    validation: SplitSamples | None = None


class TrainSummary(Summary):
    """The figures of the student, and the duration."""

    steps: int = 0
    best_step: int = 0
    validation_loss: float | None = None
    objective: str = ""
    samples: int = 0
    overlong: int = 0
    without_logprobs: int = 0
    workers: int = 0
    seconds: float = 0.0


class EvaluateSummary(Headline):
    """The headline of the report, the tokens that the students generated, and the duration."""

    student_tokens: int = 0
    seconds: float = 0.0


class ExportSummary(Summary):
    """All exported formats of the student."""

    exports: list[ExportedFolder] = []


SUMMARIES: dict[StageName, type[Summary]] = {
    "Prepare": PrepareSummary,
    "Generate": GenerateSummary,
    "Curate": CurateSummary,
    "Train": TrainSummary,
    "Evaluate": EvaluateSummary,
    "Export": ExportSummary,
}
FIGURES: dict[ArtifactName, type[Figures]] = {
    "rows": RowsFigures,
    "answers": AnswersFigures,
    "judge": JudgeFigures,
    "dataset": DatasetFigures,
    "samples": SamplesFigures,
    "student": StudentFigures,
    "report": ReportFigures,
    "export": ExportFigures,
}
