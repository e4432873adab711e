"""A job as it is in a cluster, or on this machine."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from pydantic import ValidationError

from kubedistill.client.html import bar_html, table_html, text_html
from kubedistill.client.request import Values
from kubedistill.contract.stored_status import NOT_UNDERSTOOD, read_status
from kubedistill.errors import EXIT_FAILED, EXIT_GATE, EXIT_SUCCESS, GateMissed, InvalidManifest, JobFailed
from kubedistill.manifest.problems import field_path, find_problem
from kubedistill.report.table import HEADS, percent_text
from kubedistill.runs import requested_run
from kubedistill.stages import TERMINAL, percent_done
from kubedistill.stored import read_stored
from kubedistill.symbols import symbol
from kubedistill.v1alpha1 import API_VERSION, KIND, Condition, DistillationJob, Result, Spec, Status, spec_values


@dataclass(frozen=True, slots=True)
class Job:
    """A DistillationJob at one moment."""

    name: str
    namespace: str
    spec: Spec
    status: Status
    uid: str = ""
    annotations: Mapping[str, str] = field(default_factory=dict, repr=False)
    values: Values = field(default_factory=dict, repr=False)
    """The whole resource as JSON values."""

    @property
    def phase(self) -> str:
        """The phase that the operator reports, even if this version does not know it."""
        stored = self.values.get("status") or {}
        return str(stored.get("phase") or self.status.phase or "Pending")

    @property
    def message(self) -> str:
        """The current message of the operator, or the reason why the operator ignores this job."""
        stalled = self.condition("Stalled")
        return stalled.message if stalled and stalled.reason == NOT_UNDERSTOOD else self.status.message

    @property
    def requested_run(self) -> str | None:
        """The id of a requested run that has not started; None if there is none."""
        return requested_run(run_id=self.spec.run_id, annotations=self.annotations, status=self.status)

    @property
    def is_over(self) -> bool:
        """Whether the run that the spec and annotations request has ended."""
        return self.phase in TERMINAL and self.requested_run is None

    @property
    def exit_code(self) -> int:
        """The exit code of a command that waits for the job: 0, 1, or 3 if the evaluation gate failed."""
        if self.phase == "Succeeded":
            return EXIT_SUCCESS
        return EXIT_GATE if self.failure_reason == GateMissed.reason else EXIT_FAILED

    @property
    def failure_reason(self) -> str:
        """The reason of its failure, in one word; empty if it has not failed."""
        failed = self.condition("Failed")
        return failed.reason if failed is not None and failed.status == "True" else ""

    def condition(self, kind: str) -> Condition | None:
        """Return the condition of a type; None if there is none."""
        return self.status.condition(kind)

    def check_success(self) -> None:
        """Raise JobFailed or GateMissed unless the job has succeeded."""
        if self.phase == "Succeeded":
            return
        kind = GateMissed if self.exit_code == EXIT_GATE else JobFailed
        stage = next((one for one in self.status.stages if one.state == "Failed"), None)
        at = f"{self.namespace}/{self.name}" + (f" {stage.name}" if stage else "")
        reason = "" if kind is GateMissed else f"{self.failure_reason}: "
        raise kind(f"{reason}{self.status.message}", at=at)

    def _repr_html_(self) -> str:
        return _job_html(self)


def read_job(values: Values) -> Job:
    """Read a resource from a server, and ignore fields of newer versions; raises InvalidManifest."""
    metadata = values["metadata"]
    try:
        spec = read_stored(Spec, values.get("spec"))
    except ValidationError as error:
        first = find_problem(error, model=Spec, place=lambda location: field_path(("spec", *location)))
        at = f"{metadata.get('namespace', '')}/{metadata['name']}: {first.at}"
        fix = "Upgrade this kubedistill if it is older than the cluster's"
        raise InvalidManifest(first.problem, at=at, fix=fix) from error
    return Job(
        name=metadata["name"],
        namespace=metadata.get("namespace", ""),
        uid=metadata.get("uid", ""),
        spec=spec,
        status=read_status(values.get("status")).status,
        annotations=metadata.get("annotations") or {},
        values=values,
    )


def manifest_of(job: DistillationJob) -> Values:
    """Return a job as a manifest without defaults."""
    metadata = job.metadata.model_dump(include={"name", *(job.metadata.model_fields_set & {"namespace"})})
    return {"apiVersion": API_VERSION, "kind": KIND, "metadata": metadata, "spec": spec_values(job.spec)}


def name_models(spec: Spec) -> str:
    """Return the sources of teacher and student, as text for people."""
    teachers = " + ".join(teacher.source for teacher in spec.teachers)
    return f"{teachers} → {spec.student.model.source}"


def _job_html(job: Job) -> str:
    """Return the phase of a job, its stages with their progress, and its result, as HTML."""
    rows = [
        (
            symbol(stage.state),
            text_html(stage.name),
            text_html(stage.state),
            bar_html(percent_done(stage)),
            text_html(stage.message),
        )
        for stage in job.status.stages
    ]
    title = f"<b>{text_html(job.namespace)}/{text_html(job.name)}</b> <b>{text_html(job.phase)}</b>"
    message = f"<p>{text_html(job.message)}</p>" if job.message else ""
    table = table_html((), rows, escaped=True)
    models = text_html(name_models(job.spec))
    return f"<div><p>{title}<br>{models}</p>{message}{table}{_result_html(job.status.result)}</div>"


def _result_html(found: Result | None) -> str:
    """Return a table of the accuracies of a job, as HTML."""
    if found is None:
        return ""
    accuracies = (found.teacher_accuracy, found.baseline_accuracy, found.distilled_accuracy)
    return table_html(HEADS[:-1], [("accuracy", *map(percent_text, accuracies))])
