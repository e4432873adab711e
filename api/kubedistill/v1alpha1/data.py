"""spec.data and spec.generation: from prompts to answers."""

from typing import Annotated, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from kubedistill.v1alpha1.base import DataKey, Fraction, Model, ObjectReference, Uri, cel

_ONE_SOURCE = "exactly one of uri and configMapKeyRef must be set"
Routing = Literal["Weighted", "BestOf"]
FUNCTION = r"^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*:[A-Za-z_][A-Za-z0-9_]*$"
_TARGETS_OF_GIVEN = "targets: All needs answers: Given; a teacher answers every user turn anyway"


class ConfigMapKeyRef(Model):
    """One key of a ConfigMap in the job's namespace."""

    name: ObjectReference
    """Name of the ConfigMap."""
    key: DataKey
    """Key in its data."""


class DataSource(Model):
    """A JSONL or Parquet file of records: `messages` (or `prompt`), and optionally `id`, `tags` and `reference`."""

    model_config = ConfigDict(json_schema_extra=cel(("has(self.uri) != has(self.configMapKeyRef)", _ONE_SOURCE)))

    uri: Uri | None = None
    """Location of the file; a path without a scheme is relative to the data root, and
    hf://datasets/OWNER/NAME[@REVISION]/PATH is a file of a dataset of the hub, whose commit is fixed for the run."""
    config_map_key_ref: ConfigMapKeyRef | None = None
    """Key of a ConfigMap that contains the file; for data under 1 MiB."""

    @model_validator(mode="after")
    def _check_source(self) -> Self:
        if (self.uri is None) == (self.config_map_key_ref is None):
            raise ValueError(f"{_ONE_SOURCE}; Set one of them")
        return self


class TrainData(DataSource):
    """The prompts that the student learns from."""

    model_config = ConfigDict(
        json_schema_extra=cel(
            ("has(self.uri) != has(self.configMapKeyRef)", _ONE_SOURCE),
            (
                "!has(self.targets) || self.targets != 'All' || (has(self.answers) && self.answers == 'Given')",
                _TARGETS_OF_GIVEN,
            ),
        )
    )

    answers: Literal["Teacher", "Given"] = "Teacher"
    """Source of the answers. Teacher: the teacher answers the prompts. Given: the reference, or the final assistant
    turn, is the answer to the last user turn, the assistant turns before it are context, and the teacher is only
    evaluated."""
    targets: Literal["Last", "All"] = "Last"
    """Which assistant turns of a conversation with answers Given are training targets. Last: the answer to the last
    user turn. All: every assistant turn of the record."""

    @model_validator(mode="after")
    def _check_targets(self) -> Self:
        if self.targets == "All" and self.answers != "Given":
            raise ValueError(_TARGETS_OF_GIVEN)
        return self


class Data(Model):
    """Location of the prompts."""

    train: TrainData
    """Prompts that the student learns from."""
    validation: DataSource | None = None
    """Prompts that select the best checkpoint. Absent: held out of train by a seeded hash, about min(10 %, 1,000)."""
    test: DataSource | None = None
    """Prompts for the evaluation. Absent: held out of train by a seeded hash, about min(10 %, 1,000)."""
    redact: Annotated[str | None, Field(max_length=256, pattern=FUNCTION)] = None
    """Function that redacts each text of a record before anything is stored, as module:function; it gets and returns a
    string. The module is a file below the data root, or one of the image. policy.allowDataCode must allow it."""


class Generation(Model):
    """How the teacher answers the training prompts; validation and test are always answered greedily."""

    routing: Routing = "Weighted"
    """Which of several teachers answer a record. Weighted: one of those that match it, by their weights and a hash of
    the prompt. BestOf: all of those; the answers of one teacher are kept, those that match a reference or, without
    references, those that most teachers gave."""
    temperature: Annotated[float | None, Field(ge=0, le=2)] = None
    """Randomness of sampling, 0 to 2. Absent: 0 for label and QA tasks with one sample, else 0.7."""
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Probability mass to sample from, above 0 to 1."""
    max_tokens: Annotated[int, Field(ge=1, le=131_072)] = 1024
    """Maximum length of an answer in tokens, 1 to 131,072; a truncated answer is not used for training."""
    samples_per_prompt: Annotated[int, Field(ge=1, le=64)] = 1
    """Answers for each training prompt, 1 to 64."""
    top_logprobs: Annotated[int | None, Field(ge=0, le=512)] = None
    """Most likely tokens to store per position, 0 to 512. Absent: 32. The sampled token's logprob is always stored."""
    structured_output: bool = False
    """Let the teacher generate only what the task's labels, or its answer of type Text, allow; no distributions are
    stored then. Endpoints of OpenAI and AzureOpenAI support it for a jsonSchema, those of Anthropic not at all."""
    seed: Annotated[int, Field(ge=0, le=2**31 - 1)] = 0
    """Seed for sampling and for hold-outs."""
    min_success_ratio: Fraction = 0.7
    """Minimum share of prompts with an answer, 0 to 1; below it, the stage fails with LowYield."""
