"""What each stage says of its work when it ends: a few figures for people, status and metrics.

A summary crosses the channel in a result, which leaves out parts that are too large for it, and may be of an older
driver: each field has a default.
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
from kubedistill.contract.models import StoredModel, Summary
from kubedistill.json_values import Json


def _number(value: Json) -> float | None:
    """A figure as a driver said it; None where it is not a number."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


class GateVerdict(StoredModel):
    """Whether the student may be exported, and every limit that it misses."""

    passed: StrictBool
    reasons: list[str] = []
    limits: list[str] | None = None
    """Fields of spec.evaluation.gate that are set; empty where no gate is set, null in older reports."""
    notes: list[str] = []
    """Limits that decided nothing, and why."""


def _verdict(value: Json | GateVerdict, read: ValidatorFunctionWrapHandler) -> GateVerdict | None:
    try:
        verdict: GateVerdict = read(value)
    except ValidationError:  # whoever wrote it harms its own job: no verdict passes no gate
        return None
    return verdict


Figure = Annotated[float | None, BeforeValidator(_number)]


class Headline(Summary):
    """The report in a few figures; fractions are 0 to 1, and null is what is not known."""

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
    gate: Annotated[GateVerdict | None, WrapValidator(_verdict)] = None


class ReportFigures(Headline, Figures):
    """The report in its artifact's manifest."""


class PrepareSummary(Summary):
    """What the input came to, and what was chosen for it."""

    read: SplitCounts = {}
    held_out: list[str] = []
    dropped: dict[str, SplitCounts] = {}
    counts: SplitCounts = {}
    objective: str = ""
    objective_reason: str = ""
    top_logprobs: int = 0
    judged: int = 0
    """Test records that are judged and have a reference."""
    notes: list[str] = []
    report: Headline | None = None
    """That of the report, where it is there already: Evaluate will be skipped."""


class GenerateSummary(Summary):
    """How many answers were generated, and how many the cache had."""

    answers: int = 0
    generated: int = 0
    reused: int = 0
    teacher_tokens: int = 0
    seconds: float = 0.0


class CurateSummary(Summary):
    """The figures of dataset and samples together."""

    asked: int = 0
    kept: int = 0
    rejected: dict[str, int] = {}
    keep_ratio: float = 0.0
    samples: int = 0
    overlong: int = 0
    without_logprobs: int = 0
    split: int = 0
    unspelled: int = 0
    validation: SplitSamples | None = None


class TrainSummary(Summary):
    """The student's figures, and how long they took."""

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
    """The report's headline, and how long it took."""

    seconds: float = 0.0


class ExportSummary(Summary):
    """Every form in which the student was handed over."""

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
