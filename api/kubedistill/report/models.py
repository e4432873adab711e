"""The report's schema: what report.json holds. Fractions are 0 to 1; null is what is not known."""

from typing import Literal

from pydantic import JsonValue, SerializerFunctionWrapHandler, model_serializer

from kubedistill.contract.artifacts import Curve, SplitCounts, StudentFigures
from kubedistill.contract.models import StoredModel
from kubedistill.contract.summaries import GateVerdict

SCHEMA_VERSION = 1

Verdict = Literal["better", "worse", "not distinguishable"]
ArmName = Literal["teacher", "baseline", "distilled"]


class Arm(StoredModel):
    """One model on the test records."""

    accuracy: float | None
    """Mean score against the references, of the records that have one; null without references."""
    accuracy_ci95: tuple[float, float] | None = None
    agreement: float | None
    """Mean score against the teacher's answers, of all records; null without records."""
    invalid_rate: float | None
    """Share of answers that are not in the task's form; null without records."""
    metrics: dict[str, float | None]
    """The task's metrics by name, against the references or, without them, the teacher's answers; null where a metric
    can't be computed."""
    parameters: int
    memory_bytes: int
    """Weights, and the cache of one longest request."""
    peak_memory_bytes: int
    latency_seconds: float
    """Median time of one answer with nothing else to do."""
    latency_p95_seconds: float
    first_token_seconds: float | None = None
    """Median time to the first token of an answer."""
    token_seconds: float | None = None
    """Median time per further token."""
    throughput_per_hour: float
    """Answers per hour at saturation."""
    cost_per_thousand: float | None
    """US dollars for 1,000 answers at saturation; null without a price."""
    hardware: str


class Arms(StoredModel):
    """The three models that are compared."""

    teacher: Arm
    baseline: Arm
    """The student before training."""
    distilled: Arm


class Comparison(StoredModel):
    """The distilled student against baseline and teacher."""

    measure: str
    """What the scores are: accuracy, exactMatch, chrf, or agreement with the teacher where there are no references."""
    retention: float | None
    """Distilled score as a share of the teacher's; null where the teacher scores 0."""
    gain: float | None
    """Distilled minus baseline score; null where no record was judged."""
    gap_closed: float | None
    """Gain as a share of teacher minus baseline; null unless the teacher is significantly better."""
    p_value: float | None
    """Of no difference between distilled and baseline; exact McNemar, or paired permutation for graded scores."""
    ci95: tuple[float, float] | None
    """Paired bootstrap interval of the gain."""
    verdict: Verdict
    """Distilled against baseline."""
    rows: int
    """Test records that the scores are of: those with a reference, or all where none has one."""
    total_rows: int | None = None
    """Test records with different prompts; null in older reports."""
    duplicates: int = 0
    """Test records that were left out because an earlier one has the same prompt."""


class LatencyControl(StoredModel):
    """The student before and after training, timed in turn: one architecture, so that its ratio shows the noise."""

    rounds: int
    output_tokens: int
    """Fixed length of each timed answer; the end token is ignored."""
    ratio: float
    """Median over rounds of distilled over baseline time per answer."""
    spread: tuple[float, float]
    """Least and greatest ratio of a round."""
    noise: bool
    """Same architecture and dtype, and one of the two takes more than 15 % longer: latency decides nothing."""


class Reductions(StoredModel):
    """How much less the distilled student takes than the teacher; null where it is not known."""

    latency: float | None
    """Null across different hardware, and where latency is noise."""
    memory: float | None
    cost: float | None
    """Null without prices, and where latency is noise."""


class Example(StoredModel):
    """One test record and what the three models say to it."""

    id: str
    prompt: str
    reference: str | None
    references: list[str] = []
    """All that are equally right, the first one included."""
    teacher: str
    baseline: str
    distilled: str


class Funnel(StoredModel):
    """The way from lines read to answers kept."""

    read: SplitCounts
    held_out: list[str]
    dropped: dict[str, SplitCounts]
    """Records left out, by reason and split."""
    counts: SplitCounts
    asked: int
    kept: int
    rejected: dict[str, int]
    """Answers that were not kept, by reason."""
    keep_ratio: float


class TrainingRecord(StudentFigures):
    """The curve, the objective and why it was chosen."""

    objective_reason: str
    top_logprobs: int
    curve: Curve


class LabelScores(StoredModel):
    """Accuracy on one label."""

    label: str
    rows: int
    """Records that have it among their references."""
    teacher: float
    baseline: float
    distilled: float


class ModelSource(StoredModel):
    """Where a model is from, and the digest of what it is."""

    source: str
    digest: str


class Seeds(StoredModel):
    """What chance began with."""

    generation: int
    training: int


class Provenance(StoredModel):
    """What a report was made from, and with."""

    job: str
    run: str
    spec_digest: str
    at: str
    task: str
    artifacts: dict[str, str]
    """Keys of all artifacts of the run."""
    teacher: ModelSource
    student: ModelSource
    seeds: Seeds
    hardware: str
    versions: dict[str, str]
    unpriced: dict[str, str] = {}
    """Why a price says nothing of teacher or student."""
    untimed: str = ""
    """Why the two students were not timed in turn."""
    made_by: str = ""
    """The run that made it, where that is another one."""

    @model_serializer(mode="wrap")
    def _without_empty(self, serialize: SerializerFunctionWrapHandler) -> dict[str, JsonValue]:
        values: dict[str, JsonValue] = serialize(self)
        return {name: value for name, value in values.items() if value or name not in ("unpriced", "untimed", "madeBy")}


class Report(StoredModel):
    """report.json."""

    schema_version: int = SCHEMA_VERSION
    arms: Arms
    comparison: Comparison
    reductions: Reductions
    latency_control: LatencyControl | None = None
    """Null where the two students were not timed in turn."""
    gate: GateVerdict
    data: Funnel
    training: TrainingRecord
    labels: list[LabelScores]
    """Accuracy per label of the three models, of the records that have the label among their references; empty for
    tasks of free text."""
    examples: list[Example]
    provenance: Provenance
