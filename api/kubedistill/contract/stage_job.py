"""The job of a driver: one attempt at one stage of a run."""

from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Self, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, JsonValue, ValidationError, model_validator

from kubedistill.chain import ArtifactName, StageName
from kubedistill.contract.hardware import Hardware
from kubedistill.contract.models import ContractModel
from kubedistill.contract.store_names import attempt_folder, run_folder
from kubedistill.manifest.problems import field_path, find_problem
from kubedistill.stored import read_stored
from kubedistill.v1alpha1 import Spec

STAGE_JOB_BYTES = 256 * 1024
CHANNEL_VARIABLE = "KUBEDISTILL_CHANNEL"
"""Environment variable with the name of the ConfigMap that a driver in a cluster writes; absent on one machine."""


def key_variable(teacher: str) -> str:
    """Return the environment variable with the API key of a teacher's endpoint."""
    return f"KUBEDISTILL_KEY_{teacher.upper().replace('-', '_')}"


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
    """Price of the hardware that serves each model, in US dollars per hour; absent if unknown."""

    model_config = ConfigDict(frozen=True)

    teacher: Annotated[float, Field(ge=0)] | None = None
    """Of the only teacher."""
    student: Annotated[float, Field(ge=0)] | None = None
    teachers: dict[str, Annotated[float, Field(ge=0)]] | None = None
    """Of each of several teachers, by name, as far as known."""

    def of_teacher(self, name: str) -> float | None:
        """Return the price of a teacher, which may be the only one."""
        return self.teacher if self.teachers is None else self.teachers.get(name)


class Pools(BaseModel):
    """Names of the pools that serve each model; empty if there is none."""

    model_config = ConfigDict(frozen=True)

    teacher: str = ""
    student: str = ""


def _without_unknown(keys: object) -> object:
    """Return the keys of the artifacts that this version knows, because its stages read no others."""
    if not isinstance(keys, Mapping):
        return keys
    return {name: key for name, key in keys.items() if name in get_args(ArtifactName)}


class StageJob(ContractModel):
    """Everything that a driver needs for one attempt at one stage, in the contract version of its frozen run."""

    job: JobRef
    run: RunRef
    stage: StageName
    attempt: Annotated[int, Field(ge=1)]
    token: str
    frozen_spec: Annotated[dict[str, JsonValue], Field(alias="spec")]
    """The frozen spec as JSON values, without defaults, because the runtime that reads it has its own."""
    store: str
    """Root of the store, as a URI."""
    data_root: str
    """The folder to which paths without a scheme are relative, as a URI."""
    config_maps: dict[str, str] = {}
    """Folder where each ConfigMap in the spec is mounted."""
    artifacts: Annotated[dict[ArtifactName, str], BeforeValidator(_without_unknown)] = {}
    """Key of each artifact, as Prepare computed them; empty for Prepare itself."""
    models: dict[str, str] = {}
    """Commit of each model of the hub by its name (`model_name`), as the run's first Prepare found it."""
    prices: Prices = Prices()
    date: str | None = None
    """Date for chat templates, YYYY-MM-DD: the day on which the job was created, or on one machine first ran."""
    pools: Pools = Pools()
    """The pools of the prices, in which the models are measured."""
    hardware: dict[StageName, Hardware] = {}
    """Hardware of the stages that serve or train models; a stage that is absent runs on CPUs."""

    def hardware_of(self, stage: StageName) -> Hardware:
        """Return the hardware that a stage runs on."""
        return self.hardware.get(stage, Hardware())

    def hourly_price(self, stage: StageName) -> float | None:
        """Return the US dollars per hour of all hardware that serves or trains a stage's models; None if not known."""
        gpus = self.hardware_of(stage).gpus
        if stage in ("Train", "Evaluate"):
            return None if self.prices.student is None else self.prices.student * max(1, gpus)
        for teacher in self.spec.teachers if stage == "Generate" else ():
            price = self.prices.of_teacher(teacher.name)
            if teacher.model is not None and price is not None:
                return price / teacher.model.gpus * gpus if gpus else price
        return None

    @property
    def run_folder(self) -> str:
        """The folder of the run's report and attempts in the store."""
        return run_folder(self.job.name, namespace=self.job.namespace, run=self.run.id)

    @property
    def attempt_folder(self) -> str:
        """The folder of the attempt's messages and logs in the store."""
        place = {"namespace": self.job.namespace, "run": self.run.id}
        return attempt_folder(self.job.name, **place, stage=self.stage, attempt=self.attempt)

    @cached_property
    def spec(self) -> Spec:
        """The spec as a model of this version."""
        return read_stored(Spec, self.frozen_spec)

    @model_validator(mode="after")
    def _check_spec(self) -> Self:
        """Check that the frozen spec is valid in this version."""
        try:
            self.spec  # noqa: B018  # validate the spec now, since it is computed on first use
        except ValidationError as error:
            found = find_problem(error, model=Spec, place=lambda location: field_path(("spec", *location)))
            raise ValueError(str(found)) from error
        return self
