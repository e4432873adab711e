"""Events that the runtime sends to the process that started it: one line of JSON each, on standard output."""

from typing import Annotated, Literal

from pydantic import Field, JsonValue, TypeAdapter, ValidationError

from kubedistill.chain import StageName
from kubedistill.contract.driver_messages import StageProgress
from kubedistill.contract.estimates import Estimate
from kubedistill.contract.models import ContractModel, StoredModel
from kubedistill.errors import KubedistillError
from kubedistill.stored import read_stored_line

LocalState = Literal["Running", "Succeeded", "Failed", "Skipped"]


class StageEvent(ContractModel):
    """A stage started, ended, or was skipped because its artifacts already exist."""

    event: Literal["stage"] = "stage"
    stage: StageName
    state: LocalState
    attempt: int | None = None
    """Number of the attempt, from 1; absent if the stage was skipped."""
    summary: dict[str, JsonValue] | None = None
    """The figures of the stage, at its end."""
    message: str = ""
    seconds: float | None = None


class ProgressEvent(ContractModel):
    """The progress of a stage."""

    event: Literal["progress"] = "progress"
    stage: StageName
    progress: StageProgress


class NoteEvent(ContractModel):
    """A note for people."""

    event: Literal["note"] = "note"
    message: str


class FailedEvent(ContractModel):
    """The last event of a run that failed."""

    event: Literal["failed"] = "failed"
    reason: str
    message: str
    exit_code: int

    @classmethod
    def of(cls, error: KubedistillError) -> "FailedEvent":
        """Return an error as the event that the runtime ends with."""
        return cls(reason=error.reason, message=str(error), exit_code=error.exit_code)


class ReportFiles(StoredModel):
    """Paths of the report in its three formats."""

    json_file: Annotated[str, Field(alias="json")]
    md: str
    html: str


class FinishedEvent(ContractModel):
    """The last event of a run that reached its end."""

    event: Literal["finished"] = "finished"
    exit_code: int
    """0, or 3 if the evaluation gate failed."""
    report: ReportFiles
    seconds: float
    exports: list[str]
    """Folders of the exported student; empty if the evaluation gate failed."""


class Piece(StoredModel):
    """A part of a sample's text that is scored or not, as a whole."""

    text: str
    scored: bool
    end: bool
    """Whether it is an end token."""


class PreviewRecord(StoredModel):
    """A training record as the student sees it."""

    id: str
    pieces: list[Piece]
    tokens: int
    overlong: int


class PreviewPrompt(StoredModel):
    """A record as a prompt for the student."""

    id: str
    prompt: str
    references: list[str]


class PreviewEvent(ContractModel):
    """Training records as the student sees them, and a prompt of each other split; the only event of a preview."""

    event: Literal["preview"] = "preview"
    records: list[PreviewRecord]
    asked: dict[str, PreviewPrompt]
    notes: list[str]
    objective: str
    objective_reason: str


class Finding(StoredModel):
    """A problem that would make a run fail."""

    reason: str
    at: str
    message: str

    @classmethod
    def of(cls, error: KubedistillError) -> "Finding":
        """Return an error as a finding."""
        return cls(reason=error.reason, at=error.at, message=str(error))


class ValidatedEvent(ContractModel):
    """All findings of a validation; its only event."""

    event: Literal["validated"] = "validated"
    problems: list[Finding]
    notes: list[str]
    """Notes for people."""
    unchecked: list[str]
    """What could not be checked on this machine, and why."""


class EstimateEvent(ContractModel):
    """The estimate of a job; its only event."""

    event: Literal["estimate"] = "estimate"
    estimate: Estimate


Answer = PreviewEvent | ValidatedEvent | EstimateEvent
LastEvent = FinishedEvent | FailedEvent | Answer
Event = StageEvent | ProgressEvent | NoteEvent | LastEvent
_EVENT: TypeAdapter[Event] = TypeAdapter(Annotated[Event, Field(discriminator="event")])


def read_event(line: str) -> Event | None:
    """Read one line; return None if it is not an event, such as output of a library, or an unknown event."""
    try:
        return read_stored_line(_EVENT, line)
    except ValidationError:
        return None
