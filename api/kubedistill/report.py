"""The report's schema: what report.json holds. Fractions are 0 to 1; null is what is not known."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

SCHEMA_VERSION = 1

Verdict = Literal["better", "worse", "not distinguishable"]
ArmName = Literal["teacher", "baseline", "distilled"]


class ReportModel(BaseModel):
    """One object of the report."""

    model_config = ConfigDict(
        alias_generator=to_camel, validate_by_name=True, frozen=True, use_attribute_docstrings=True
    )


class Arm(ReportModel):
    """One model on the test records."""

    accuracy: float | None
    """Mean score against the references; null without references."""
    accuracy_ci95: tuple[float, float] | None = None
    agreement: float
    """Mean score against the teacher's answers."""
    invalid_rate: float
    """Share of answers that are not in the task's form."""
    metrics: dict[str, float]
    """The task's metrics by name, against the references or, without them, the teacher's answers."""
    parameters: int
    memory_bytes: int
    """Weights, and the cache of one longest request."""
    peak_memory_bytes: int
    latency_seconds: float
    """Median time of one answer with nothing else to do."""
    latency_p95_seconds: float
    first_token_seconds: float | None = None
    """Time to the first token."""
    token_seconds: float | None = None
    """Time per output token after the first."""
    throughput_per_hour: float
    """Answers per hour at saturation."""
    cost_per_thousand: float | None
    """US dollars for 1,000 answers at saturation; null without a price."""
    hardware: str


class Arms(ReportModel):
    """The three models that are compared."""

    teacher: Arm
    baseline: Arm
    """The student before training."""
    distilled: Arm


class Comparison(ReportModel):
    """The distilled student against baseline and teacher."""

    measure: str
    """What the scores are: accuracy, exactMatch, chrf, or agreement with the teacher where there are no references."""
    retention: float | None
    """Distilled score as a share of the teacher's."""
    gain: float
    """Distilled minus baseline score."""
    gap_closed: float | None
    """Gain as a share of teacher minus baseline; null unless the teacher is significantly better."""
    p_value: float
    """Of no difference between distilled and baseline; exact McNemar, or paired permutation for graded scores."""
    ci95: tuple[float, float]
    """Paired bootstrap interval of the gain."""
    verdict: Verdict
    """Distilled against baseline."""
    rows: int


class Reductions(ReportModel):
    """How much less the distilled student takes than the teacher; null across different hardware or without prices."""

    latency: float | None
    memory: float | None
    cost: float | None


class LatencyControl(ReportModel):
    """Both students timed in turn in one engine: two of one architecture take the same time, or it is noise."""

    rounds: int
    output_tokens: int
    """Fixed length of each timed answer; the end token is ignored."""
    ratio: float
    """Median over the rounds of distilled / baseline time per answer."""
    spread: tuple[float, float]
    """Least and greatest ratio of a round."""
    noise: bool
    """Same architecture and dtype, and the ratio is more than 15 % from 1: latency decides nothing."""


class GateVerdict(ReportModel):
    """Whether the student may be exported, and every limit that it misses."""

    passed: bool
    reasons: list[str]


class Example(ReportModel):
    """One test record and what the three models say to it."""

    id: str
    prompt: str
    reference: str | None
    teacher: str
    baseline: str
    distilled: str


class Report(ReportModel):
    """report.json."""

    schema_version: int = SCHEMA_VERSION
    arms: Arms
    comparison: Comparison
    reductions: Reductions
    gate: GateVerdict
    latency_control: LatencyControl | None = None
    """Null where the students could not be timed in turn."""
    data: dict[str, Any]
    """The funnel from lines read to answers kept."""
    training: dict[str, Any]
    """The curve, the objective and why it was chosen."""
    labels: list[dict[str, Any]]
    """Accuracy per label of the three models; empty for tasks of free text."""
    examples: list[Example]
    provenance: dict[str, Any]
    """What this was made from, and with."""
