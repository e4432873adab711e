"""Messages of a driver: the progress of its stage, and the result of the attempt."""

from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from kubedistill.chain import ArtifactName
from kubedistill.contract.models import ContractModel, Summary
from kubedistill.stored import read_stored

_Summary = TypeVar("_Summary", bound=Summary)


class StageProgress(ContractModel):
    """The progress of a stage; a driver in a cluster writes it at most every 10 seconds."""

    at: str
    """Time of writing by the driver's clock, RFC 3339; the operator compares it only with that of other reports."""
    state: Literal["Loading", "Working", "Stopping"]
    """With Loading and the unit bytes, the driver reports a download, each time that it has advanced."""
    done: Annotated[int, Field(ge=0)] = 0
    total: Annotated[int, Field(ge=0)] = 0
    unit: str = ""
    rate: float | None = None
    """Units per second."""
    eta_seconds: float | None = None
    gpu_seconds: float = 0.0
    """GPU-seconds of all drivers of the attempt so far."""
    dollars: float = 0.0
    """US dollars that endpoints have charged for the replies to all drivers of the attempt so far."""
    idle_gpu_seconds: float = 0.0
    """The part of them in which nothing was generated or learned for 10 s or longer."""
    gpus: Annotated[int, Field(ge=0)] = 0
    """Number of GPUs that this driver holds; 0 if it does not know."""
    figures: dict[str, float] = {}
    message: Annotated[str, Field(max_length=1024)] = ""


class ArtifactRef(BaseModel):
    """An artifact by key, and whether it is complete in the store."""

    model_config = ConfigDict(frozen=True)

    key: str
    uri: str
    complete: bool


class StageResult(ContractModel):
    """The result of an attempt."""

    driver: str
    outcome: Literal["Succeeded", "Failed", "Stopped"]
    cause: str = "none"
    reason: str = ""
    message: Annotated[str, Field(max_length=4096)] = ""
    started_at: str
    ended_at: str
    gpu_seconds: float = 0.0
    """GPU-seconds of all drivers of the attempt."""
    dollars: float = 0.0
    """US dollars that endpoints have charged for the replies to all drivers of the attempt."""
    idle_gpu_seconds: float = 0.0
    """The part of them in which nothing was generated or learned for 10 s or longer."""
    artifacts: dict[ArtifactName, ArtifactRef] = {}
    summary: dict[str, JsonValue] = {}
    """The most important figures, in the form of its stage's model in SUMMARIES; the artifact has all of them."""

    def read_summary(self, model: type[_Summary]) -> _Summary:
        """Return the summary as its stage's model; raises ValidationError."""
        return read_stored(model, self.summary)
