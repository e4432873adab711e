"""The part of the spec that says how a job is run in a cluster; on one machine it is ignored."""

from typing import Annotated

from pydantic import Field

from kubedistill.v1alpha1.base import DOMAIN, SOME_LINES, Model, Name

Quantity = Annotated[str, Field(min_length=1, max_length=32, pattern=r"^[0-9]+(\.[0-9]+)?(m|k|M|G|T|Ki|Mi|Gi|Ti)?$")]
ObjectName = Annotated[str, Field(min_length=1, max_length=253, pattern=f"^{DOMAIN}$")]
LabelledName = Annotated[str, Field(min_length=1, max_length=63, pattern=f"^{DOMAIN}$")]
"""Name of an object that others name in a label."""
LabelValue = Annotated[str, Field(max_length=63, pattern=r"^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$")]
AnnotationValue = Annotated[str, Field(max_length=4096), SOME_LINES]
Seconds = Annotated[int, Field(ge=1, le=2**31 - 1)]


class Queue(Model):
    """The Kueue queue that admits every child of the job."""

    name: LabelledName
    """Name of a LocalQueue in the job's namespace."""
    priority_class: LabelledName | None = None
    """Name of a WorkloadPriorityClass."""


class Retry(Model):
    """How many attempts at a stage may fail, by cause, before the job does."""

    max_failures: Annotated[int, Field(ge=0, le=100)] = 2
    """Attempts that our code or yours may fail, 0 to 100."""
    max_infrastructure_failures: Annotated[int, Field(ge=0, le=100)] = 3
    """Attempts that a lost node, head, store or endpoint may cost, 0 to 100."""
    max_preemptions: Annotated[int, Field(ge=0, le=10_000)] = 10
    """Attempts that a preemption may cost, 0 to 10,000."""


class Pods(Model):
    """What the pods of a job carry besides what they need."""

    service_account_name: ObjectName | None = None
    """ServiceAccount of the drivers, for workload identity. Absent: one that the operator makes for the job."""
    image_pull_secrets: Annotated[tuple[ObjectName, ...], Field(max_length=16)] = ()
    """Secrets that pull the images."""
    env_from_secrets: Annotated[tuple[ObjectName, ...], Field(max_length=16)] = ()
    """Secrets whose keys become environment variables, such as HF_TOKEN."""
    labels: Annotated[dict[str, LabelValue], Field(max_length=32)] = Field(default_factory=dict)
    """Labels of every pod."""
    annotations: Annotated[dict[str, AnnotationValue], Field(max_length=32)] = Field(default_factory=dict)
    """Annotations of every pod."""
    priority_class_name: ObjectName | None = None
    """PriorityClass of every pod."""


class StageResources(Model):
    """Where one stage runs, if not where it would."""

    pool: Name | None = None
    """Name of a pool in the operator's settings."""
    cpu: Quantity | None = None
    """Processor cores of its driver, such as 4 or 500m."""
    memory: Quantity | None = None
    """Main memory of its driver, such as 16Gi."""


class StageOverrides(Model):
    """Where stages run, if not where they would."""

    prepare: StageResources = StageResources()
    """Prepare, on CPU."""
    generate: StageResources = StageResources()
    """Generate, on the teacher's pool."""
    curate: StageResources = StageResources()
    """Curate, on CPU."""
    train: StageResources = StageResources()
    """Train, on the student's pool."""
    evaluate: StageResources = StageResources()
    """Evaluate, on the student's pool."""
    export: StageResources = StageResources()
    """Export, on CPU."""
