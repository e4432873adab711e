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
    status: Literal["True", "False", "Unknown"]
    reason: Annotated[str, Field(max_length=1024)]
    message: Annotated[str, Field(max_length=32768)] = ""
    last_transition_time: Short = ""
    observed_generation: Natural = 0


class StageStatus(Model):
    """How far one stage is."""

    name: Literal["Prepare", "Generate", "Curate", "Train", "Evaluate", "Export"]
    state: Literal["Pending", "Running", "Succeeded", "Failed", "Skipped"] = "Pending"
    attempt: Natural = 0
    percent: Annotated[int, Field(ge=0, le=100)] = 0
    message: Text = ""


class Result(Model):
    """The figures that people look for first; fractions are 0 to 1."""

    teacher_accuracy: float | None = None
    baseline_accuracy: float | None = None
    distilled_accuracy: float | None = None
    retention: float | None = None
    gain: float | None = None
    gap_closed: float | None = None


class Status(Model):
    """What is known of the job; written by the operator alone."""

    model_config = ConfigDict(extra="ignore")

    observed_generation: Natural = 0
    phase: Phase | None = None
    """Where the job is, for people."""
    stage: Short = ""
    progress: Short = ""
    attempt: Natural = 0
    message: Text = ""
    conditions: Annotated[tuple[Condition, ...], Field(max_length=32, json_schema_extra=keyed_by("type"))] = ()
    """Facts about the job, for machines."""
    stages: Annotated[tuple[StageStatus, ...], Field(max_length=8, json_schema_extra=keyed_by("name"))] = ()
    result: Result | None = None
