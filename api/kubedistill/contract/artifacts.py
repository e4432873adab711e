"""What the store holds of an artifact: its manifest, with the figures that each artifact has of its own."""

from pydantic import ConfigDict

from kubedistill.chain import ArtifactName
from kubedistill.contract.models import StoredModel

SplitCounts = dict[str, int]
"""Records of each split."""


class Manifest(StoredModel):
    """manifest.json: what makes an artifact complete, once all files that it lists are there."""

    name: ArtifactName
    key: str
    files: dict[str, int] = {}
    """Sizes of the artifact's files by their names in the store; version 0.1 listed none."""


class Figures(StoredModel):
    """What a manifest says besides what it is; each artifact has figures of its own."""


class RowsFigures(Figures):
    """The way from records read to the prompts of each split."""

    read: SplitCounts
    held_out: list[str]
    """Splits that were held out of train, since they have no file."""
    dropped: dict[str, SplitCounts]
    """Records left out, by reason and split."""
    counts: SplitCounts
    notes: list[str] = []
    """What a person should know, and what changes nothing."""


class AnswerSplit(StoredModel):
    """The answers to one split."""

    rows: list[tuple[str, int, str]]
    """Record id, number of the sample, and key of the answer in the cache."""
    shards: list[str]
    """The files that hold the answers."""
    asked: int
    ended: int
    """Answers that came to their end by themselves."""


class AnswersFigures(Figures):
    """The teacher's answers to train, as sampled."""

    rows_key: str
    splits: dict[str, AnswerSplit]


class SnakeModel(StoredModel):
    """A stored part whose fields have the same names in JSON as here."""

    model_config = ConfigDict(alias_generator=None)


class ServingFigures(SnakeModel):
    """How fast and how large one model is on one machine; seconds, bytes and answers per hour."""

    latency_seconds: float
    """Median time of one answer with nothing else to do."""
    latency_p95_seconds: float
    throughput_per_hour: float
    """Answers per hour with as much to do as the engine takes."""
    tokens_per_second: float
    memory_bytes: int
    """Weights, and the cache of one longest request."""
    peak_memory_bytes: int
    """Most memory of the engine's process, with all that it had loaded."""
    hardware: str
    """What the engine ran on."""
    versions: dict[str, str]
    latency_quartiles_seconds: tuple[float, float] | None = None
    first_token_seconds: float | None = None
    """Median time to the first token."""
    token_seconds: float | None = None
    """Median time per output token after the first; None where answers have one token."""
    answer_tokens: int | None = None
    """Length of the answer that latency_seconds is of: the median one."""
    pool: str = ""
    gpus: int = 0
    """GPUs that the engine took, where there were any; 0 where that was not written down."""


class JudgeFigures(AnswersFigures):
    """The teacher's greedy answers to validation and test, and its serving figures."""

    serving: ServingFigures


class DatasetFigures(Figures):
    """What was kept of the answers."""

    asked: int
    kept: int
    rejected: dict[str, int]
    """Answers that were not kept, by reason."""
    keep_ratio: float
    """Share of the prompts that keep an answer."""


class SplitSamples(StoredModel):
    """Samples of one split."""

    samples: int
    overlong: int


class SamplesFigures(Figures):
    """The samples of train that the kept answers made, and those of validation."""

    samples: int
    overlong: int
    """Samples that were dropped for their length."""
    without_logprobs: int
    """Samples at which the teacher's distribution is not known."""
    split: int = 0
    """Answers of several turns that became several samples."""
    unspelled: int = 0
    """Answers with the text of a special token that the student's tokenizer cannot encode as text."""
    validation: SplitSamples | None = None


class TrainedFigures(StoredModel):
    """summary.json of a trained student: where training ended."""

    steps: int
    best_step: int
    validation_loss: float | None = None
    """Lowest loss on validation, in nats per scored id; null where nothing was validated."""


class StudentFigures(TrainedFigures, Figures):
    """What the student was trained on, and how that ended."""

    objective: str
    samples: int
    overlong: int
    without_logprobs: int
    workers: int


class ValidationPoint(StoredModel):
    """The loss on validation after a step, in nats per scored id."""

    step: int
    loss: float


class TrainPoint(ValidationPoint):
    """One step of training."""

    learning_rate: float | None = None
    tokens: int | None = None
    """Scored ids of the step."""


class Curve(StoredModel):
    """curve.json: losses by step."""

    train: list[TrainPoint]
    validation: list[ValidationPoint]
    best_step: int = 0


class ExportedFolder(StoredModel):
    """One form of the student, and where it is."""

    format: str
    path: str


class ExportFigures(Figures):
    """Every form in which the student was handed over."""

    exports: list[ExportedFolder]
