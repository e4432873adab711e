"""status: what a person and a machine can see of a job."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from kubedistill.chain import ArtifactName, StageName
from kubedistill.v1alpha1.base import Model, keyed_by

Phase = Literal[
    "Pending", "Queued", "Preparing", "Generating", "Curating", "Training", "Evaluating", "Exporting",
    "Succeeded", "Failed", "Suspended", "Deleting",
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


class Restarts(Model):
    """Attempts at a stage, and drivers within one, that ended before it did, by what is to blame."""

    failure: Natural = 0
    """Our code or yours."""
    infrastructure: Natural = 0
    """A lost node, head, store or endpoint."""
    preemption: Natural = 0
    """A node or a quota that was taken back."""


class StageStatus(Model):
    """How far one stage is."""

    name: StageName
    """Name of the stage; each is there once."""
    state: Literal["Pending", "Starting", "Running", "Stopping", "Succeeded", "Failed", "Skipped"] = "Pending"
    """Where the stage is. Skipped: all that it makes was there already."""
    attempt: Natural = 0
    """Number of the latest try, from 1; 0 before the first."""
    child: Short = ""
    """Name of its RayJob or Job."""
    child_uid: Annotated[str, Field(alias="childUID", max_length=64)] = ""
    """UID of it, once it was seen."""
    job_digest: Annotated[str, Field(max_length=64)] = ""
    """The sha256 of what the driver of the latest try is told."""
    started_at: Short = ""
    """When the latest try was decided on, RFC 3339."""
    ended_at: Short = ""
    """When it ended, RFC 3339."""
    progressed_at: Short = ""
    """When it last said that work was done, RFC 3339."""
    percent: Annotated[int, Field(ge=0, le=100)] = 0
    """How much of the work is done, 0 to 100."""
    eta_seconds: Annotated[float, Field(ge=0)] | None = None
    """Seconds that the rest will take at this rate."""
    gpu_seconds: Annotated[float, Field(ge=0)] = 0.0
    """GPU-seconds of all tries, the latest one as far as its driver has said."""
    latest_gpu_seconds: Annotated[float, Field(ge=0)] | None = None
    """Those of the latest try, which are in gpuSeconds already; absent until its driver says any."""
    starts: Natural = 0
    """Drivers that claimed the latest try; over 1, a head was lost and its driver started again."""
    restarts: Restarts = Restarts()
    """Tries that ended before the stage did."""
    reason: Short = ""
    """Why it waits or ended, in one word."""
    message: Text = ""
    """What it does now, or why it ended."""


class ArtifactStatus(Model):
    """One artifact of the run."""

    name: ArtifactName
    """Name of the artifact; each is there once."""
    key: Annotated[str, Field(max_length=64)]
    """Digest of all that determines it."""
    complete: bool = False
    """Whether the store holds it whole."""
    uri: Annotated[str, Field(max_length=1024)] = ""
    """Where the store holds it."""


class Run(Model):
    """The execution that this status speaks of."""

    id: Short
    """Its name: spec.runID, or the token of a rerun."""
    digest: Annotated[str, Field(max_length=64)]
    """Digest of the spec as it was frozen, without defaults."""
    snapshot_digest: Annotated[str, Field(max_length=64)] = ""
    """The sha256 of run.json in the ConfigMap that holds the frozen run; other bytes are not used."""
    started_at: Short
    """When it was frozen, RFC 3339."""
    begun_at: Short = ""
    """When a child of it was first seen, RFC 3339; until then it takes over changed settings."""
    active_seconds: Annotated[float, Field(ge=0)] = 0.0
    """Seconds with an admitted child, all tries together."""
    counted_at: Short = ""
    """Until when those seconds are counted, RFC 3339."""
    rewound: bool = False
    """Whether an artifact had vanished and was made again; that happens once."""
    artifacts: Annotated[tuple[ArtifactStatus, ...], Field(max_length=16, json_schema_extra=keyed_by("name"))] = ()
    """Its artifacts, once Prepare has named them."""


class RunRecord(Model):
    """A run that is over."""

    id: Short
    """Its name; it never starts again."""
    outcome: Literal["Succeeded", "Failed", "Superseded"]
    """How it ended."""
    ended_at: Short = ""
    """When it ended, RFC 3339."""


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
    gate_passed: bool | None = None
    """Whether the student may be exported."""


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
    attempt: Natural | None = None
    """Number of its latest try; absent when no stage is at work."""
    message: Text = ""
    """What goes on, in a sentence."""
    conditions: Annotated[tuple[Condition, ...], Field(max_length=32, json_schema_extra=keyed_by("type"))] = ()
    """Facts about the job, for machines."""
    stages: Annotated[tuple[StageStatus, ...], Field(max_length=8, json_schema_extra=keyed_by("name"))] = ()
    """How far each stage is."""
    run: Run | None = None
    """The execution that all this is about."""
    run_history: Annotated[tuple[RunRecord, ...], Field(max_length=20, json_schema_extra=keyed_by("id"))] = ()
    """Earlier runs, the latest last, at most 20."""
    handled_requests: Annotated[tuple[Short, ...], Field(max_length=16)] = ()
    """Tokens of the annotations rerun and cancel that were acted on, the latest 8."""
    eta: Short = ""
    """Time left of the stage at work, for people."""
    gpu_hours: Short = ""
    """GPU-hours of the run so far, for people."""
    result: Result | None = None
    """What came out."""

    def __str__(self) -> str:
        return self.phase or "Pending"
