"""The schema of report.json. Fractions are 0 to 1; a value that is not known is null."""

from typing import Literal

from pydantic import JsonValue, SerializerFunctionWrapHandler, model_serializer

from kubedistill.contract.artifacts import Curve, SplitCounts, StudentFigures
from kubedistill.contract.models import StoredModel
from kubedistill.contract.summaries import GateVerdict
from kubedistill.report.usage import StageUsage

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
    """Share of answers in an invalid form for the task; null without records."""
    metrics: dict[str, float | None]
    """The task's metrics by name, against the references or, without them, the teacher's answers; null if a metric
    can't be computed."""
    parameters: int | None
    """Number of parameters; this, memory and throughput are null for an endpoint."""
    memory_bytes: int | None
    """Memory of the weights and of the cache for one request of maximum length."""
    peak_memory_bytes: int | None
    latency_seconds: float | None
    """Median time of one answer on an idle engine; for an endpoint, of a request with others in flight."""
    latency_p95_seconds: float | None
    first_token_seconds: float | None = None
    """Median time to the first token of an answer."""
    token_seconds: float | None = None
    """Median time per token after the first."""
    throughput_per_hour: float | None
    """Answers per hour at saturation."""
    cost_per_thousand: float | None
    """Cost of 1,000 answers at saturation in US dollars; null without a price."""
    hardware: str


class Arms(StoredModel):
    """The three models that are compared."""

    teacher: Arm
    baseline: Arm
    """The student before training."""
    distilled: Arm


class Comparison(StoredModel):
    """The distilled student compared with baseline and teacher."""

    measure: str
    """Metric of the scores: the task's headline metric, or agreement with the teacher if there are no references."""
    retention: float | None
    """Distilled score as a share of the teacher's; null if the teacher scores 0."""
    gain: float | None
    """Distilled minus baseline score; null if no record was evaluated."""
    gap_closed: float | None
    """Gain as a share of teacher minus baseline; null unless the teacher is significantly better."""
    p_value: float | None
    """p-value of no difference between distilled and baseline: exact McNemar test, or for graded scores a paired
    permutation test."""
    ci95: tuple[float, float] | None
    """Paired bootstrap interval of the gain."""
    verdict: Verdict
    """Distilled compared with baseline."""
    rows: int
    """Number of test records in the scores: those with a reference, or all if none has one."""
    total_rows: int | None = None
    """Number of test records with different prompts; null in older reports."""
    duplicates: int = 0
    """Number of test records that were left out because an earlier one has the same prompt."""


class LatencyControl(StoredModel):
    """The student before and after training, timed in turn. Both have one architecture: the ratio shows the noise."""

    rounds: int
    output_tokens: int
    """Fixed length of each timed answer; the end token is ignored."""
    ratio: float
    """Time per answer of the distilled student divided by that of the baseline; median of all rounds."""
    spread: tuple[float, float]
    """Minimum and maximum ratio of a round."""
    noise: bool
    """Whether one of two students of the same architecture and dtype takes more than 15 % longer, so that no limit on
    latency is checked."""


class Reductions(StoredModel):
    """Reduction from teacher to distilled student; null if it is not known."""

    latency: float | None
    """Null for different hardware, and if latency is noise."""
    memory: float | None
    cost: float | None
    """Null without prices, and if latency is noise."""


class Example(StoredModel):
    """One test record and the answers of the three models."""

    id: str
    prompt: str
    reference: str | None
    references: list[str] = []
    """All references that are equally correct, including the first one."""
    teacher: str
    baseline: str
    distilled: str


class Funnel(StoredModel):
    """Numbers of records and answers, from lines read to answers kept."""

    read: SplitCounts
    held_out: list[str]
    dropped: dict[str, SplitCounts]
    """Records left out, by reason and split."""
    counts: SplitCounts
    asked: int
    kept: int
    rejected: dict[str, int]
    """Answers that were not kept, by reason. The first reason counts, so each number is the cost of one filter."""
    keep_ratio: float
    labels: dict[str, int] = {}
    """Kept answers by label; empty for tasks with free text."""
    distinct_pairs: float | None = None
    """Share of different pairs among all pairs of adjacent words in 1,000 kept answers; null for tasks with labels."""


class TrainingRecord(StudentFigures):
    """The training curve, and the objective with the reason for its choice."""

    objective_reason: str
    top_logprobs: int
    curve: Curve


class LabelScores(StoredModel):
    """Accuracy on one label."""

    label: str
    rows: int
    """Number of records that have it among their references."""
    teacher: float
    baseline: float
    distilled: float


class TeacherScores(StoredModel):
    """One of several teachers."""

    name: str
    source: str
    digest: str
    asked: int
    """Number of its answers to training records."""
    kept: int
    """Those that the student learned from."""
    share: float | None
    """Its share of all answers to training records; null if there are none."""
    tested: int
    """Number of test records that it answered; the accuracy is that on those with a reference."""
    accuracy: float | None
    latency_seconds: float | None
    cost_per_thousand: float | None
    """Cost of 1,000 answers in US dollars; null without a price."""
    hardware: str


class ModelSource(StoredModel):
    """The source of a model, and the digest of its content."""

    source: str
    digest: str


class Seeds(StoredModel):
    """The seeds of the random numbers."""

    generation: int
    training: int


class Provenance(StoredModel):
    """The inputs and the software that a report was created from."""

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
    """Why teacher or student has no price."""
    untimed: str = ""
    """Why the two students were not timed in turn."""
    sampled_answers: int = 0
    """Number of the teacher's greedy answers that were sampled, because its endpoint refuses temperature 0."""
    served_defaults: list[str] = []
    """How servers run the exported student by default, where that is not how it was evaluated."""
    made_by: str = ""
    """The run that created it, if that is another run."""

    @model_serializer(mode="wrap")
    def _without_empty(self, serialize: SerializerFunctionWrapHandler) -> dict[str, JsonValue]:
        values: dict[str, JsonValue] = serialize(self)
        optional = ("unpriced", "untimed", "sampledAnswers", "madeBy")
        return {name: value for name, value in values.items() if value or name not in optional}


class Report(StoredModel):
    """report.json."""

    schema_version: int = SCHEMA_VERSION
    arms: Arms
    comparison: Comparison
    reductions: Reductions
    latency_control: LatencyControl | None = None
    """Null if the two students were not timed in turn."""
    gate: GateVerdict
    data: Funnel
    training: TrainingRecord
    labels: list[LabelScores]
    """Accuracy of the three models by label, on the records that have the label among their references; empty for tasks
    with free text."""
    examples: list[Example]
    provenance: Provenance
    teachers: list[TeacherScores] = []
    """Each of several teachers; empty if there is one, which is an arm."""
    usage: list[StageUsage] = []
    """What each stage took in the run that the report is for; empty in the artifact, which several runs may share."""
