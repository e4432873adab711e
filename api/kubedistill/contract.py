"""The stage contract: what a driver is told, what it says meanwhile, and what it says last.

The operator and the runtime share these models and nothing else. A StageJob is at most 256 KiB, the others 16 KiB;
whatever is larger goes to storage.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from kubedistill.chain import ArtifactName, StageName
from kubedistill.v1alpha1 import Spec

CONTRACT = 1
STAGE_JOB_BYTES = 256 * 1024
MESSAGE_BYTES = 16 * 1024
CHANNEL_VARIABLE = "KUBEDISTILL_CHANNEL"
"""Environment variable that names the ConfigMap that a driver in a cluster writes; absent on one machine."""


class ContractModel(BaseModel):
    """A message between operator and driver; fields of a newer contract are ignored."""

    model_config = ConfigDict(alias_generator=to_camel, validate_by_name=True, extra="ignore", frozen=True)

    contract: int = CONTRACT

    def to_json(self) -> str:
        """Encode without absent fields."""
        return self.model_dump_json(by_alias=True, exclude_none=True)


class JobRef(BaseModel):
    """The resource that a stage belongs to."""

    model_config = ConfigDict(frozen=True)

    namespace: str
    name: str
    uid: str = ""


class RunRef(BaseModel):
    """The execution that a stage belongs to: its id and the digest of its frozen spec."""

    model_config = ConfigDict(frozen=True)

    id: str
    digest: str


class Prices(BaseModel):
    """US dollars per hour of the hardware that serves each model; absent where unknown."""

    model_config = ConfigDict(frozen=True)

    teacher: Annotated[float, Field(ge=0)] | None = None
    student: Annotated[float, Field(ge=0)] | None = None


class Pools(BaseModel):
    """Names of the pools whose hardware serves each model; empty where there is none."""

    model_config = ConfigDict(frozen=True)

    teacher: str = ""
    student: str = ""


class StageJob(ContractModel):
    """Everything a driver needs to run one attempt at one stage."""

    job: JobRef
    run: RunRef
    stage: StageName
    attempt: Annotated[int, Field(ge=1)]
    token: str
    spec: Spec
    store: str
    """Root of the store, as a URI."""
    data_root: str
    """What paths without a scheme are relative to, as a URI."""
    config_maps: dict[str, str] = {}
    """Folder in which each ConfigMap that the spec names is mounted."""
    artifacts: dict[ArtifactName, str] = {}
    """Key of each artifact, as Prepare computed them; empty for Prepare itself."""
    prices: Prices = Prices()
    date: str | None = None
    """Today, YYYY-MM-DD, to a chat template that asks: the day the job was created, locally of its first run."""
    pools: Pools = Pools()
    """The pools that the prices are of, and that the models are measured in."""


class StageProgress(ContractModel):
    """How far a stage is; written at most every 10 seconds in a cluster."""

    at: str
    """Time of writing, RFC 3339."""
    state: Literal["Loading", "Working", "Stopping"]
    done: Annotated[int, Field(ge=0)] = 0
    total: Annotated[int, Field(ge=0)] = 0
    unit: str = ""
    rate: float | None = None
    """Units per second."""
    eta_seconds: float | None = None
    gpu_seconds: float = 0.0
    figures: dict[str, float] = {}
    message: Annotated[str, Field(max_length=1024)] = ""


class ArtifactRef(BaseModel):
    """An artifact by key, and whether the store already holds it whole."""

    model_config = ConfigDict(frozen=True)

    key: str
    uri: str
    complete: bool


class StageResult(ContractModel):
    """How an attempt ended."""

    driver: str
    outcome: Literal["Succeeded", "Failed", "Stopped"]
    cause: str = "none"
    reason: str = ""
    message: Annotated[str, Field(max_length=4096)] = ""
    started_at: str
    ended_at: str
    gpu_seconds: float = 0.0
    artifacts: dict[ArtifactName, ArtifactRef] = {}
    summary: dict[str, Any] = {}
    """A few figures for people and metrics; the artifact has the rest."""
