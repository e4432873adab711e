"""status: what a person and a machine can see of a job."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from kubedistill.v1alpha1.base import Model, keyed_by

Phase = Literal[
    "Pending", "Queued", "Preparing", "Generating", "Curating", "Training", "Evaluating", "Exporting",
    "Succeeded", "Failed", "Suspended",
]  # fmt: skip
Text = Annotated[str, Field(max_length=1024)]
Short = Annotated[str, Field(max_length=253)]
Natural = Annotated[int, Field(ge=0)]


class Condition(Model):
    """One fact about the job, for machines."""

    type: Annotated[str, Field(max_length=316)]
    """What is asked, such as Complete; each is there once."""
    status: Literal["True", "False", "Unknown"]
    """Whether it is so."""
    reason: Annotated[str, Field(max_length=1024)]
    """Why, in one word for machines."""
    message: Annotated[str, Field(max_length=32768)] = ""
    """Why, in a sentence for people."""
    last_transition_time: Short = ""
    """When the status last changed, RFC 3339."""
    observed_generation: Natural = 0
    """Generation of the spec that this was found of."""


class StageStatus(Model):
    """How far one stage is."""

    name: Literal["Prepare", "Generate", "Curate", "Train", "Evaluate", "Export"]
    """Name of the stage; each is there once."""
    state: Literal["Pending", "Running", "Succeeded", "Failed", "Skipped"] = "Pending"
    """Where the stage is. Skipped: all that it makes was there already."""
    attempt: Natural = 0
    """Number of the latest try, from 1; 0 before the first."""
    percent: Annotated[int, Field(ge=0, le=100)] = 0
    """How much of the work is done, 0 to 100."""
    message: Text = ""
    """What it does now, or why it ended."""


class Result(Model):
    """The figures that people look for first; fractions are 0 to 1."""

    teacher_accuracy: float | None = None
    """Accuracy of the teacher on test; absent without references."""
    baseline_accuracy: float | None = None
    """Accuracy of the student before training."""
    distilled_accuracy: float | None = None
    """Accuracy of the student after training."""
    retention: float | None = None
    """Distilled accuracy as a share of the teacher's."""
    gain: float | None = None
    """Distilled minus baseline accuracy."""
    gap_closed: float | None = None
    """Gain as a share of teacher minus baseline; absent unless the teacher is significantly better."""


class Status(Model):
    """What is known of the job; written by the operator alone."""

    model_config = ConfigDict(extra="ignore")

    observed_generation: Natural = 0
    """Generation of the spec that this status speaks of."""
    phase: Phase | None = None
    """Where the job is, for people."""
    stage: Short = ""
    """The stage that is at work."""
    progress: Short = ""
    """How far that stage is, such as 640/1200 rows."""
    attempt: Natural = 0
    """Number of its latest try."""
    message: Text = ""
    """What goes on, in a sentence."""
    conditions: Annotated[tuple[Condition, ...], Field(max_length=32, json_schema_extra=keyed_by("type"))] = ()
    """Facts about the job, for machines."""
    stages: Annotated[tuple[StageStatus, ...], Field(max_length=8, json_schema_extra=keyed_by("name"))] = ()
    """How far each stage is."""
    result: Result | None = None
    """What came out."""
