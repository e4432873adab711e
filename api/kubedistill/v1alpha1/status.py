"""status: the state of a job, for people and for machines."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from kubedistill.chain import ArtifactName, StageName, StagePhase
from kubedistill.v1alpha1.base import Model, keyed_by

Phase = Literal["Pending", "Queued", StagePhase, "Succeeded", "Failed", "Suspended", "Deleting"]
Text = Annotated[str, Field(max_length=1024)]
Short = Annotated[str, Field(max_length=253)]
Natural = Annotated[int, Field(ge=0)]
Count = Annotated[int, Field(ge=0, le=2**53)]
Amount = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Condition(Model):
    """One condition of the job, for machines."""

    type: Annotated[str, Field(max_length=316)]
    """Type of the condition, such as Complete; each occurs once."""
    status: Literal["True", "False", "Unknown"]
    """Whether the condition holds."""
    reason: Annotated[str, Field(max_length=1024)]
    """Reason, as one word for machines."""
    message: Annotated[str, Field(max_length=32768)] = ""
    """Reason, as a sentence for people."""
    last_transition_time: Short = ""
    """When the status last changed, RFC 3339."""
    observed_generation: Natural = 0
    """Generation of the spec for which the condition was determined."""


class Restarts(Model):
    """Attempts at a stage, and drivers within an attempt, that ended before the stage did, by cause."""

    failure: Natural = 0
    """Ended because of code: kubedistill's, a model's or a library's."""
    infrastructure: Natural = 0
    """Ended because a node, the Ray head, the store, the hub, the engine or the API server was lost."""
    preemption: Natural = 0
    """Ended because a node or a quota was taken away."""


class StageStatus(Model):
    """State of one stage."""

    name: StageName
    """Name of the stage; each occurs once."""
    state: Literal["Pending", "Starting", "Running", "Stopping", "Succeeded", "Failed", "Skipped"] = "Pending"
    """State of the stage. Skipped: everything that it creates existed already."""
    attempt: Natural = 0
    """Number of the latest attempt, from 1; 0 before the first."""
    child: Short = ""
    """Name of its RayJob or Job."""
    child_uid: Annotated[str, Field(alias="childUID", max_length=64)] = ""
    """UID of the child, once it was observed."""
    pool: Short = ""
    """Pool whose GPUs the latest attempt holds or held; empty without GPUs."""
    gpus: Natural | None = None
    """GPUs that it holds or held; absent without GPUs."""
    job_digest: Annotated[str, Field(max_length=64)] = ""
    """The sha256 of the work of the latest attempt's driver."""
    started_at: Short = ""
    """When the operator decided on the latest attempt, RFC 3339."""
    ended_at: Short = ""
    """When it ended, RFC 3339."""
    progressed_at: Short = ""
    """When the operator saw the latest report of work, RFC 3339."""
    downloaded_at: Short = ""
    """When the operator saw the latest report of a download that has advanced, RFC 3339."""
    reported_at: Short = ""
    """When the operator saw the latest report of any kind, RFC 3339."""
    report_stamp: Short = ""
    """Time in that report by the driver's clock, which may be wrong; it only distinguishes reports."""
    percent: Annotated[int, Field(ge=0, le=100)] = 0
    """Percentage of the work that is done, 0 to 100."""
    eta_seconds: Annotated[float, Field(ge=0)] | None = None
    """Estimated seconds for the rest of the work."""
    gpu_seconds: Annotated[float, Field(ge=0)] = 0.0
    """GPU-seconds of all attempts; for the latest one, as far as its driver has reported."""
    latest_gpu_seconds: Annotated[float, Field(ge=0)] | None = None
    """GPU-seconds of the latest attempt, included in gpuSeconds; absent until its driver reports them."""
    endpoint_dollars: Annotated[float, Field(ge=0)] | None = None
    """US dollars that endpoints have charged in all attempts; for the latest one, as far as its driver has reported.
    Absent until one has charged."""
    latest_endpoint_dollars: Annotated[float, Field(ge=0)] | None = None
    """US dollars of the latest attempt, included in endpointDollars; absent until its driver reports them."""
    idle_gpu_seconds: Annotated[float, Field(ge=0)] | None = None
    """GPU-seconds, among gpuSeconds, in which nothing was generated or learned for 10 s or longer."""
    latest_idle_gpu_seconds: Annotated[float, Field(ge=0)] | None = None
    """Those of the latest attempt, included in idleGpuSeconds; absent until its driver reports them."""
    starts: Natural = 0
    """Drivers that claimed the latest attempt; above 1, a head was lost and its driver was started again."""
    restarts: Restarts = Restarts()
    """Attempts that ended before the stage did."""
    reason: Short = ""
    """Reason why it waits or ended, as one word."""
    message: Text = ""
    """What it is doing, or why it ended."""


class ArtifactStatus(Model):
    """One artifact of the run."""

    name: ArtifactName
    """Name of the artifact; each occurs once."""
    key: Annotated[str, Field(max_length=64)]
    """Digest of everything that determines the artifact."""
    complete: bool = False
    """Whether the artifact is complete in the store."""
    uri: Annotated[str, Field(max_length=1024)] = ""
    """Location of the artifact in the store."""


class ModelStatus(Model):
    """One model of the hub."""

    name: Annotated[str, Field(max_length=1024)]
    """Its source, and its revision after @ if the spec names one; each occurs once."""
    commit: Annotated[str, Field(pattern=r"^[0-9a-f]{40}$", max_length=40)]
    """The commit that all stages of the run use."""


class Run(Model):
    """The run that this status describes."""

    id: Short
    """Name of the run: spec.runID, or the token of a rerun."""
    digest: Annotated[str, Field(max_length=64)]
    """Digest of the spec as it was frozen, without defaults."""
    snapshot_digest: Annotated[str, Field(max_length=64)] = ""
    """The sha256 of run.json in the ConfigMap of the frozen run; other bytes are not used."""
    started_at: Short
    """When the run was frozen, RFC 3339."""
    begun_at: Short = ""
    """When a child of the run was first observed, RFC 3339; until then, the run uses changed settings."""
    active_seconds: Annotated[float, Field(ge=0)] = 0.0
    """Seconds with an admitted child, over all attempts."""
    counted_at: Short = ""
    """Time up to which activeSeconds is counted, RFC 3339."""
    rebuilt: bool = False
    """Whether a missing artifact was created again; this happens once per run."""
    artifacts: Annotated[tuple[ArtifactStatus, ...], Field(max_length=16, json_schema_extra=keyed_by("name"))] = ()
    """Artifacts of the run, once Prepare has named them."""
    models: Annotated[tuple[ModelStatus, ...], Field(max_length=32, json_schema_extra=keyed_by("name"))] = ()
    """Models of the hub, once Prepare has found their commits; a new run finds them again."""
    labels: Annotated[dict[str, Annotated[str, Field(max_length=63)]], Field(max_length=16)] | None = None
    """Labels of the namespace or job at the start of the run, which its children, pods and metrics have."""


class RunRecord(Model):
    """A run that has ended."""

    id: Short
    """Name of the run; it never starts again."""
    outcome: Literal["Succeeded", "Failed", "Superseded"]
    """Outcome of the run."""
    ended_at: Short = ""
    """When it ended, RFC 3339."""


class Result(Model):
    """The main figures of the result; fractions are 0 to 1."""

    teacher_accuracy: float | None = None
    """Accuracy of the teacher on the test records; absent without references."""
    baseline_accuracy: float | None = None
    """Accuracy of the student before training."""
    distilled_accuracy: float | None = None
    """Accuracy of the student after training."""
    retention: float | None = None
    """Distilled accuracy as a share of the teacher's."""
    gain: float | None = None
    """Distilled minus baseline accuracy."""
    gap_closed: float | None = None
    """Gain as a share of the gap between teacher and baseline; absent unless the teacher is significantly better."""
    gate_passed: bool | None = None
    """Whether the student may be exported."""


class EstimatedStage(Model):
    """What one stage was estimated to take; a figure that is not known is absent."""

    name: StageName
    """Name of the stage; each occurs once."""
    tokens: Count = 0
    """Tokens that models generate or learn."""
    seconds: Amount | None = None
    """Time that the stage takes."""
    gpu_hours: Amount | None = None
    """GPUs that it holds, times hours."""
    dollars: Amount | None = None
    """Price of the hardware for this time, or of an endpoint's tokens, in US dollars."""
    reused: bool = False
    """Whether the store has its artifacts already, so that it will not run."""


class EstimateStatus(Model):
    """What the run was estimated to take, by Prepare; a figure that is not known is absent."""

    tokens: Count = 0
    """Sum of the stages."""
    seconds: Amount | None = None
    """Sum of the stages."""
    gpu_hours: Amount | None = None
    """Sum of the stages."""
    dollars: Amount | None = None
    """Sum of the stages, in US dollars."""
    disk_bytes: Count = 0
    """Bytes that the run writes to the store."""
    download_bytes: Count = 0
    """Bytes of weights that each node that loads them downloads."""
    stages: Annotated[tuple[EstimatedStage, ...], Field(max_length=8, json_schema_extra=keyed_by("name"))] = ()
    """The stages that serve or train models."""
    assumptions: Annotated[tuple[Text, ...], Field(max_length=32)] = ()
    """What was assumed."""


class Status(Model):
    """State of the job; only the operator writes it."""

    model_config = ConfigDict(extra="ignore")

    observed_generation: Natural = 0
    """Generation of the spec that this status describes."""
    phase: Phase | None = None
    """Phase of the job, for people."""
    stage: Short = ""
    """The current stage."""
    progress: Short = ""
    """Progress of that stage, such as 53%."""
    attempt: Natural | None = None
    """Number of its latest attempt; absent if there is no current stage."""
    message: Text = ""
    """What the job is doing, as a sentence."""
    conditions: Annotated[tuple[Condition, ...], Field(max_length=32, json_schema_extra=keyed_by("type"))] = ()
    """Conditions of the job, for machines."""
    stages: Annotated[tuple[StageStatus, ...], Field(max_length=8, json_schema_extra=keyed_by("name"))] = ()
    """State of each stage."""
    run: Run | None = None
    """The current run."""
    run_history: Annotated[tuple[RunRecord, ...], Field(max_length=20, json_schema_extra=keyed_by("id"))] = ()
    """Earlier runs, the latest last, at most 20."""
    handled_requests: Annotated[tuple[Short, ...], Field(max_length=16)] = ()
    """Tokens of the annotations rerun and cancel that were processed, the latest 8."""
    eta: Short = ""
    """Remaining time of the current stage, for people."""
    gpu_hours: Short = ""
    """GPU-hours of the run so far, for people."""
    dollars: Short = ""
    """US dollars of the run so far, for people; empty unless all its GPUs and endpoints have prices."""
    estimate: EstimateStatus | None = None
    """What the run was estimated to take when its latest Prepare ended; absent if that could not be estimated."""
    result: Result | None = None
    """Result of the run."""

    def condition(self, kind: str) -> Condition | None:
        """Return the condition of a type; None if there is none."""
        return next((one for one in self.conditions if one.type == kind), None)

    def __str__(self) -> str:
        return self.phase or "Pending"
