"""What a driver is told: one attempt at one stage of a run."""

from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Self, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, JsonValue, ValidationError, model_validator

from kubedistill.chain import ArtifactName, StageName
from kubedistill.contract.models import ContractModel
from kubedistill.manifest.problems import field_path, find_problem
from kubedistill.stored import read_stored
from kubedistill.v1alpha1 import Spec

STAGE_JOB_BYTES = 256 * 1024
CHANNEL_VARIABLE = "KUBEDISTILL_CHANNEL"
"""Environment variable that names the ConfigMap that a driver in a cluster writes; absent on one machine."""


class JobRef(BaseModel):
    """The resource that a stage belongs to."""

    model_config = ConfigDict(frozen=True)

    namespace: str
    name: str
    uid: str = ""

    @property
    def full_name(self) -> str:
        """Namespace and name, as in team-a/support."""
        return f"{self.namespace}/{self.name}"


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


def _without_unknown(keys: object) -> object:
    """The keys of the artifacts that this version knows; no stage of it reads any other."""
    if not isinstance(keys, Mapping):
        return keys
    return {name: key for name, key in keys.items() if name in get_args(ArtifactName)}


class StageJob(ContractModel):
    """Everything a driver needs to run one attempt at one stage; of the contract that its run was frozen with."""

    job: JobRef
    run: RunRef
    stage: StageName
    attempt: Annotated[int, Field(ge=1)]
    token: str
    frozen_spec: Annotated[dict[str, JsonValue], Field(alias="spec")]
    """The spec as JSON values, as it was frozen: no defaults, since they are those of the runtime that reads it."""
    store: str
    """Root of the store, as a URI."""
    data_root: str
    """What paths without a scheme are relative to, as a URI."""
    config_maps: dict[str, str] = {}
    """Folder in which each ConfigMap that the spec names is mounted."""
    artifacts: Annotated[dict[ArtifactName, str], BeforeValidator(_without_unknown)] = {}
    """Key of each artifact, as Prepare computed them; empty for Prepare itself."""
    prices: Prices = Prices()
    date: str | None = None
    """Today, YYYY-MM-DD, to a chat template that asks: the day the job was created, locally of its first run."""
    pools: Pools = Pools()
    """The pools that the prices are of, and that the models are measured in."""

    @cached_property
    def spec(self) -> Spec:
        """The spec as this version understands it."""
        return read_stored(Spec, self.frozen_spec)

    @model_validator(mode="after")
    def _check_spec(self) -> Self:
        try:
            self.spec  # noqa: B018  # read here, so that whatever is read later is valid
        except ValidationError as error:
            found = find_problem(error, model=Spec, place=lambda location: field_path(("spec", *location)))
            raise ValueError(str(found)) from error
        return self
