"""The manifest of an artifact in the store, with figures that depend on the artifact."""

from pydantic import ConfigDict

from kubedistill.chain import ArtifactName
from kubedistill.contract.models import StoredModel

SplitCounts = dict[str, int]
"""Number of records by split."""


class Manifest(StoredModel):
    """manifest.json. An artifact is complete if it has a manifest and all files that the manifest lists."""

    name: ArtifactName
    key: str
    files: dict[str, int] = {}
    """Sizes of the artifact's files, by their names in the store; manifests of version 0.1 list none."""


class Figures(StoredModel):
    """The figures in a manifest; each artifact has its own model."""


class RowsFigures(Figures):
    """Numbers of records read, dropped and used, by split."""

    read: SplitCounts
    held_out: list[str]
    """Splits that were held out of train, because they have no file."""
    dropped: dict[str, SplitCounts]
    """Number of dropped records, by reason and split."""
    counts: SplitCounts
    notes: list[str] = []
    """Notes for people, without effect on the run."""


class AnswerSplit(StoredModel):
    """The answers to one split."""

    rows: list[tuple[str, int, str]]
    """Record id, number of the sample, and key of the answer in the cache."""
    shards: list[str]
    """The files that contain the answers."""
    asked: int
    ended: int
    """Number of answers that were not truncated."""
    teachers: list[str] = []
    """Name of the teacher of each row; empty if the job has one."""


class AnswersFigures(Figures):
    """The teacher's sampled answers to the train split."""

    rows_key: str
    splits: dict[str, AnswerSplit]


class SnakeModel(StoredModel):
    """A stored model whose fields have the same names in JSON as in Python."""

    model_config = ConfigDict(alias_generator=None)


class ServingFigures(SnakeModel):
    """Speed and size of one model on one machine, in seconds, bytes and answers per hour."""

    latency_seconds: float
    """Median time of one answer on an idle engine."""
    latency_p95_seconds: float
    throughput_per_hour: float
    """Answers per hour at saturation."""
    tokens_per_second: float
    memory_bytes: int
    """Memory of the weights and of the cache for one request of maximum length."""
    peak_memory_bytes: int
    """Peak memory of the engine's process."""
    hardware: str
    """The hardware of the engine."""
    versions: dict[str, str]
    latency_quartiles_seconds: tuple[float, float] | None = None
    first_token_seconds: float | None = None
    """Median time to the first token."""
    token_seconds: float | None = None
    """Median time per output token after the first; None if answers have one token."""
    answer_tokens: int | None = None
    """Length of the median answer, whose time is latency_seconds."""
    pool: str = ""
    gpus: int = 0
    """Number of GPUs of the engine; 0 without GPUs, or if it was not recorded."""


class EndpointFigures(StoredModel):
    """What is known of a teacher at an endpoint, from its greedy answers to the validation and test splits."""

    endpoint: str
    """Its API and the name of its model."""
    answers: int
    prompt_tokens: int
    """Tokens of all prompts, as the endpoint counts them."""
    completion_tokens: int
    """Tokens of all answers, as the endpoint counts them."""
    sampled: int = 0
    """Number of these replies that were sampled and not greedy, because the model refuses temperature 0."""
    latency_seconds: float | None = None
    """Median time of a request, with others in flight; null if it was not measured."""
    latency_p95_seconds: float | None = None
    models: dict[str, int] = {}
    """Number of answers by the model and system fingerprint that the endpoint names; several are a mixture."""


class TeacherFigures(StoredModel):
    """The figures of a teacher by its kind."""

    serving: ServingFigures | None = None
    """The figures of a served teacher."""
    endpoint: EndpointFigures | None = None
    """The figures of a teacher at an endpoint."""

    @property
    def figures(self) -> ServingFigures | EndpointFigures | None:
        """The figures, whatever the kind; None if the teacher answered nothing."""
        return self.serving or self.endpoint


class JudgeFigures(AnswersFigures, TeacherFigures):
    """The greedy answers to the validation and test splits, and the figures of the only teacher."""

    teachers: dict[str, TeacherFigures] = {}
    """The figures of each of several teachers, by name."""


class TeacherAnswers(StoredModel):
    """Numbers of a teacher's answers to the train split."""

    asked: int
    kept: int


class DatasetFigures(Figures):
    """Numbers of answers that were kept and rejected."""

    asked: int
    kept: int
    rejected: dict[str, int]
    """Number of answers that were not kept, by reason."""
    keep_ratio: float
    """Share of prompts with a kept answer."""
    labels: dict[str, int] = {}
    """Number of kept answers by label; empty for tasks with free text."""
    distinct_pairs: float | None = None
    """Share of different pairs among all pairs of adjacent words in 1,000 kept answers; null for tasks with labels."""
    teachers: dict[str, TeacherAnswers] = {}
    """Numbers of answers by teacher; empty if the job has one."""


class SplitSamples(StoredModel):
    """Samples of one split."""

    samples: int
    overlong: int


class SamplesFigures(Figures):
    """Numbers of samples from the kept answers of train, and of validation."""

    samples: int
    overlong: int
    """Number of samples that were dropped because of their length."""
    without_logprobs: int
    """Number of samples without the teacher's distribution."""
    split: int = 0
    """Number of answers with several turns that became several samples."""
    unspelled: int = 0
    """Number of answers with the text of a special token that the student's tokenizer cannot encode as text."""
    validation: SplitSamples | None = None


class TrainedFigures(StoredModel):
    """summary.json of a trained student: its last and best steps."""

    steps: int
    best_step: int
    validation_loss: float | None = None
    """Lowest validation loss, in nats per scored token; null without validation."""


class StudentFigures(TrainedFigures, Figures):
    """The samples and the objective of a training, and its last and best steps."""

    objective: str
    samples: int
    overlong: int
    without_logprobs: int
    workers: int


class ValidationPoint(StoredModel):
    """The validation loss after a step, in nats per scored token."""

    step: int
    loss: float


class TrainPoint(ValidationPoint):
    """One step of training."""

    learning_rate: float | None = None
    tokens: int | None = None
    """Number of scored tokens in the step."""


class Curve(StoredModel):
    """curve.json: losses by step."""

    train: list[TrainPoint]
    validation: list[ValidationPoint]
    best_step: int = 0


class ExportedFolder(StoredModel):
    """One exported format of the student, and its path."""

    format: str
    path: str


class ExportFigures(Figures):
    """All exported formats of the student."""

    exports: list[ExportedFolder]
