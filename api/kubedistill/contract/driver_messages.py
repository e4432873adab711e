"""What a driver says: how far its stage is, and last how the attempt ended."""

from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from kubedistill.chain import ArtifactName
from kubedistill.contract.models import ContractModel, Summary
from kubedistill.stored import read_stored

_Summary = TypeVar("_Summary", bound=Summary)


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
    """Of all drivers of the attempt until now."""
    gpus: Annotated[int, Field(ge=0)] = 0
    """GPUs that are held for this driver; 0 where it does not know."""
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
    """Of all drivers of the attempt."""
    artifacts: dict[ArtifactName, ArtifactRef] = {}
    summary: dict[str, JsonValue] = {}
    """A few figures for people and metrics, those of its stage's model in SUMMARIES; the artifact has the rest."""

    def read_summary(self, model: type[_Summary]) -> _Summary:
        """Return the summary as its stage's model. Raises ValidationError."""
        return read_stored(model, self.summary)
