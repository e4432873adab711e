"""spec.teachers and spec.student: which models, and where they run."""

import re
from typing import Annotated, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from kubedistill.v1alpha1.base import ONE_LINE, DataKey, HttpUrl, Model, Name, ObjectReference, Uri, Word, cel

EndpointApi = Literal["OpenAI", "AzureOpenAI", "Anthropic"]
_ONE_KIND = "exactly one of model and endpoint must be set"
_NO_RESOURCES = "resources belong to a model that the job serves, not to an endpoint"
_VENDORS: dict[EndpointApi, str] = {"OpenAI": "https://api.openai.com/v1", "Anthropic": "https://api.anthropic.com"}
_AZURE = "url and apiVersion are required with api: AzureOpenAI, and apiVersion belongs to it alone"
_NO_TOKENS = "tokenizer can't be set with api: Anthropic, which gives no tokens"

ScalarText = Annotated[str, Field(min_length=1, max_length=256), ONE_LINE]


def _read_scalar(text: str) -> bool | int | float | str:
    """Return true, false or a number in JSON as such, and anything else as the string that it is."""
    if text in ("true", "false"):
        return text == "true"
    if re.fullmatch(r"-?(0|[1-9][0-9]{0,15})", text):
        return int(text)
    return float(text) if re.fullmatch(r"-?[0-9]{1,16}\.[0-9]{1,16}", text) else text


class TeacherModel(Model):
    """A teacher that this job serves itself, on vLLM."""

    source: Uri
    """Location of the weights: hf://organization/name, or a folder; without a scheme, relative to the data root."""
    revision: Word | None = None
    """Branch, tag or commit of a hub model. Absent: its main branch, resolved once and recorded."""
    max_model_len: Annotated[int | None, Field(ge=16, le=1_048_576)] = None
    """Maximum length of prompt and answer together, in tokens, 16 to 1,048,576. Longer prompts are dropped as TooLong.
    Absent: 4,096, or what the model supports if that is less."""
    dtype: Literal["Auto", "BFloat16", "Float16", "Float32"] = "Auto"
    """Precision of weights and cache. Auto: Float32 on a CPU, the checkpoint's own precision on a GPU."""
    quantization: Annotated[str, Field(min_length=1, max_length=32), ONE_LINE] | None = None
    """vLLM's name of a quantization method. Absent: the checkpoint's own."""
    kv_cache_dtype: Annotated[str, Field(min_length=1, max_length=32), ONE_LINE] | None = None
    """vLLM's name of the precision of the cache, such as fp8. Absent: the model's own. Refused on CPUs."""
    tensor_parallel_size: Annotated[int, Field(ge=1, le=64)] = 1
    """Number of GPUs that share each layer, 1 to 64; keep it within a node."""
    pipeline_parallel_size: Annotated[int, Field(ge=1, le=64)] = 1
    """Number of GPU groups that share the layers in sequence, 1 to 64; they may span nodes."""
    expert_parallel: bool = False
    """Give each GPU some of the experts of a mixture-of-experts model, and not a part of every expert. Ignored on
    CPUs."""
    gpu_memory_utilization: Annotated[float | None, Field(ge=0.1, le=1)] = None
    """Fraction of the memory of each GPU for weights, activations and cache, 0.1 to 1. Absent: vLLM's default. Ignored
    on CPUs."""
    engine_args: Annotated[dict[str, ScalarText], Field(max_length=32)] = Field(default_factory=dict)
    """Further arguments of vLLM for batches, scheduling, cache, compilation and kernels, at most 32, such as
    max_num_seqs: "512". true, false and numbers are read as such. All other arguments are refused by name. Ignored on
    CPUs."""
    trust_remote_code: bool = False
    """Let the checkpoint run its own Python code. Leave it off unless you have read that code."""
    chat_template_kwargs: Annotated[dict[str, ScalarText], Field(max_length=16)] = Field(default_factory=dict)
    """Variables of its chat template, at most 16, such as enable_thinking: "false". true, false and numbers are read as
    such, everything else is a string. A variable that the template does not have is refused."""

    @property
    def template_variables(self) -> dict[str, bool | int | float | str]:
        """The variables of its chat template, with their values as Python has them."""
        return {name: _read_scalar(text) for name, text in self.chat_template_kwargs.items()}

    @property
    def engine_arguments(self) -> dict[str, bool | int | float | str]:
        """The further arguments of vLLM, with their values as Python has them."""
        return {name: _read_scalar(text) for name, text in self.engine_args.items()}

    @property
    def gpus(self) -> int:
        """GPUs that one copy of the teacher uses, if there are any."""
        return self.tensor_parallel_size * self.pipeline_parallel_size


class TeacherResources(Model):
    """Where a teacher runs in a cluster; ignored on one machine."""

    pool: Name | None = None
    """Name of a GPU node pool in the operator's settings."""
    replicas: Annotated[int, Field(ge=1, le=256)] = 1
    """Number of copies of the teacher that share the prompts, 1 to 256."""


class SecretKeyRef(Model):
    """One key of a Secret in the job's namespace."""

    name: ObjectReference
    """Name of the Secret."""
    key: DataKey
    """Key in its data."""


class TokenPrices(Model):
    """What an endpoint charges, in US dollars per million tokens."""

    input: Annotated[float, Field(ge=0, le=1e6)]
    """Price of the tokens of prompts."""
    output: Annotated[float, Field(ge=0, le=1e6)]
    """Price of the tokens of answers."""

    def dollars(self, *, prompt_tokens: float, completion_tokens: float) -> float:
        """Return what so many tokens cost."""
        return (prompt_tokens * self.input + completion_tokens * self.output) / 1e6


class Endpoint(Model):
    """A teacher that somebody else serves, over HTTP."""

    model_config = ConfigDict(
        json_schema_extra=cel(
            (
                "(has(self.api) && self.api == 'AzureOpenAI') ? has(self.url) && has(self.apiVersion) : "
                "!has(self.apiVersion)",
                _AZURE,
            ),
            ("!has(self.tokenizer) || !has(self.api) || self.api != 'Anthropic'", _NO_TOKENS),
        )
    )

    api: EndpointApi = "OpenAI"
    """The protocol. OpenAI: chat completions, as OpenAI, vLLM and most gateways serve them. AzureOpenAI: the same by
    deployment and API version. Anthropic: messages."""
    model: Word
    """Name of the model as the endpoint knows it; with AzureOpenAI, of the deployment."""
    url: HttpUrl | None = None
    """Base URL, such as https://gateway.example.com/v1. Absent: the vendor's own."""
    api_version: Word | None = None
    """Version of Azure's API, such as 2024-10-21."""
    tokenizer: Uri | None = None
    """The model's tokenizer: hf://organization/name, or a folder; without a scheme, relative to the data root. With it,
    tokens and log-probabilities of answers are stored, so CachedLogits is possible if it is the student's tokenizer
    too. Absent: only text is used."""
    secret_key_ref: SecretKeyRef | None = None
    """The API key, for the pods of Generate alone. Absent, or on one machine: the environment variable
    KUBEDISTILL_KEY_<TEACHER>, else OPENAI_API_KEY, AZURE_OPENAI_API_KEY or ANTHROPIC_API_KEY."""
    requests_per_minute: Annotated[int | None, Field(ge=1, le=1_000_000)] = None
    """Maximum number of requests per minute, 1 to 1,000,000. Absent: no limit but maxInFlight."""
    tokens_per_minute: Annotated[int | None, Field(ge=1, le=2**31 - 1)] = None
    """Maximum number of tokens of prompts and answers per minute. Absent: no limit."""
    max_in_flight: Annotated[int, Field(ge=1, le=1024)] = 16
    """Maximum number of requests at once, 1 to 1,024."""
    prices: TokenPrices | None = None
    """What the endpoint charges, for the report and for budget.dollars. Absent: the cost is unknown."""

    @property
    def source(self) -> str:
        """The name of the model, and its API."""
        return f"{self.model} ({self.api})"

    @property
    def address(self) -> str:
        """The base URL, which is the vendor's own if none is set."""
        return self.url or _VENDORS[self.api]

    @model_validator(mode="after")
    def _check_api(self) -> Self:
        is_azure = self.api == "AzureOpenAI"
        if is_azure != (self.api_version is not None) or (is_azure and self.url is None):
            raise ValueError(f"{_AZURE}; Set both, or neither without AzureOpenAI")
        if self.api == "Anthropic" and self.tokenizer is not None:
            raise ValueError(f"{_NO_TOKENS}; Remove tokenizer")
        return self


class Match(Model):
    """The records that a teacher answers."""

    tag: Word
    """A tag of the records."""


class Teacher(Model):
    """One named teacher: a model that this job serves, or an endpoint."""

    model_config = ConfigDict(
        json_schema_extra=cel(
            ("has(self.model) != has(self.endpoint)", _ONE_KIND),
            ("!has(self.endpoint) || !has(self.resources)", _NO_RESOURCES),
        )
    )

    name: Name
    """Name of this teacher, unique in the job."""
    model: TeacherModel | None = None
    """A model that this job serves itself."""
    endpoint: Endpoint | None = None
    """A model that somebody else serves."""
    resources: TeacherResources = TeacherResources()
    """Where a served model runs in a cluster."""
    match: Match | None = None
    """Which records it answers, if there are several teachers. Absent: those that no other teacher's match names."""
    weight: Annotated[int, Field(ge=1, le=1000)] = 1
    """Its share of the records that it could answer, relative to the weights of the other teachers for them, 1 to
    1,000."""

    @property
    def source(self) -> str:
        """The model's location, or its name at the endpoint."""
        if self.endpoint is not None:
            return self.endpoint.source
        assert self.model is not None, "a teacher has a model or an endpoint"
        return self.model.source

    @model_validator(mode="after")
    def _check_kind(self) -> Self:
        if (self.model is None) == (self.endpoint is None):
            raise ValueError(f"{_ONE_KIND}; {'Set' if self.model is None else 'Remove'} one of them")
        if self.endpoint is not None and self.resources != TeacherResources():
            raise ValueError(f"{_NO_RESOURCES}; Remove resources")
        return self


class StudentModel(Model):
    """The checkpoint to train."""

    source: Uri
    """Location of the weights: hf://organization/name, or a folder; without a scheme, relative to the data root."""
    revision: Word | None = None
    """Branch, tag or commit of a hub model. Absent: its main branch, resolved once and recorded."""
    trust_remote_code: bool = False
    """Let the checkpoint run its own Python code. Leave it off unless you have read that code."""


class StudentResources(Model):
    """Where the student is trained."""

    pool: Name | None = None
    """Name of a GPU node pool in the operator's settings; ignored on one machine."""
    workers: Annotated[int, Field(ge=1, le=1024)] = 1
    """Number of training workers, 1 to 1,024. They share the global batch, so results do not depend on their number."""
    gpus_per_worker: Annotated[int, Field(ge=0, le=16)] = 0
    """GPUs per worker. 0 trains on CPU; more than 1 is refused, since a worker uses one."""


class Student(Model):
    """The model to train."""

    model: StudentModel
    """The checkpoint to train; untrained, it is the baseline of the evaluation."""
    resources: StudentResources = StudentResources()
    """Where it is trained."""
