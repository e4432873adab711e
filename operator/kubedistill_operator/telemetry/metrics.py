"""Metrics of the reconcile loop, under controller-runtime's names, and of every job, computed at each scrape.

The series of a job, at most 26, are created from the cache when Prometheus asks, and end with the job; a driver's
figures are shown while it runs. Counters and histograms have labels for namespace and strategy, never for the job.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, get_args

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from kubedistill.manifest.settings import metric_label
from kubedistill.stages import TERMINAL, WORKING
from kubedistill.v1alpha1.status import Phase, StageStatus, Status
from kubedistill_operator.clock import seconds_of
from kubedistill_operator.job import Job, Key
from kubedistill_operator.status import increase
from kubedistill_operator.telemetry.driver_metrics import DriverMetrics
from kubedistill_operator.telemetry.job_metrics import JobMetrics

MOST_SERIES: Final = 27
RESULTS: Final = ("success", "requeue", "requeue_after", "error")
_CONTROLLER = {"controller": "distillationjob"}
_QUEUE = {"name": "distillationjob"}
_FAST = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_LONG = (1, *(2.5 * 2**n for n in range(19)))
"""1 s to 7.6 days."""
_JOB: Final = ("namespace", "name")
_STAGE: Final = (*_JOB, "stage")
_KIND: Final = ("namespace", "strategy", "stage", "result")
JOB_PREFIX: Final = "distillation_job_"


Jobs = Callable[[], Iterable[tuple[Key, JobMetrics, DriverMetrics | None]]]
"""Returns the key of every job, its metrics, and those of its driver while it runs."""


@dataclass(slots=True)
class Metrics:
    """What the operator measures of itself; every instance has its own registry."""

    registry: CollectorRegistry = field(default_factory=CollectorRegistry)
    reconciles: Counter = field(init=False)
    errors: Counter = field(init=False)
    seconds: Histogram = field(init=False)
    workers: Gauge = field(init=False)
    most_workers: Gauge = field(init=False)
    waited: Histogram = field(init=False)
    retries: Counter = field(init=False)
    requests: Counter = field(init=False)
    finished: Counter = field(init=False)
    queue_wait: Histogram = field(init=False)
    stage_seconds: Histogram = field(init=False)
    job_seconds: Histogram = field(init=False)

    def __post_init__(self) -> None:
        # They would double our series, and Prometheus treats each as a separate metric.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        counter, histogram = self._counter, self._histogram
        self.reconciles = counter("controller_runtime_reconcile", "Reconciles by result", ("controller", "result"))
        self.errors = counter("controller_runtime_reconcile_errors", "Reconciles that failed", ("controller",))
        self.seconds = histogram(
            "controller_runtime_reconcile_time_seconds", "Seconds of a reconcile", ("controller",), _FAST
        )
        self.workers = self._gauge("controller_runtime_active_workers", "Active workers", ("controller",))
        self.most_workers = self._gauge(
            "controller_runtime_max_concurrent_reconciles", "Number of workers", ("controller",)
        )
        self.waited = histogram("workqueue_queue_duration_seconds", "Seconds that a key waits", ("name",), _FAST)
        self.retries = counter("workqueue_retries", "Keys that were retried", ("name",))
        self.requests = counter("rest_client_requests", "Requests to the API server", ("code", "method", "host"))
        self.finished = counter("distillation_jobs_finished", "Finished runs", ("namespace", "strategy", "result"))
        self.queue_wait = histogram(
            "distillation_job_queue_wait_seconds", "Seconds in a queue before an attempt", ("namespace",), _LONG
        )
        self.stage_seconds = histogram("distillation_job_stage_duration_seconds", "Seconds of an attempt", _KIND, _LONG)
        self.job_seconds = histogram(
            "distillation_job_duration_seconds", "Seconds of a run", ("namespace", "strategy", "result"), _LONG
        )
        self._begin_at_zero()

    def _begin_at_zero(self) -> None:
        """Create counters at 0: Prometheus sees no increase in a counter that begins at 1."""
        for result in RESULTS:
            self.reconciles.labels(**_CONTROLLER, result=result)
        self.errors.labels(**_CONTROLLER)
        self.retries.labels(**_QUEUE)

    def watch(self, jobs: Jobs, *, depth: Callable[[], int], leads: Callable[[], bool]) -> None:
        """Show the metrics of all jobs, of the queue and of the lease."""
        self.registry.register(JobCollector(jobs))
        self._gauge("workqueue_depth", "Waiting keys", ("name",)).labels(**_QUEUE).set_function(depth)
        leader = self._gauge("leader_election_master_status", "Whether this replica leads", ("name",))
        leader.labels(name="kubedistill-operator").set_function(leads)

    def count_reconcile(self, result: str, seconds: float) -> None:
        """Count one reconcile, by one of RESULTS."""
        self.reconciles.labels(**_CONTROLLER, result=result).inc()
        self.seconds.labels(**_CONTROLLER).observe(seconds)
        if result == "error":
            self.errors.labels(**_CONTROLLER).inc()
            self.retries.labels(**_QUEUE).inc()

    def count_wait(self, seconds: float) -> None:
        """Count the seconds that a key waited for a worker."""
        self.waited.labels(**_QUEUE).observe(seconds)

    def count_worker(self, change: int) -> None:
        """Count a worker that begins (1) or ends (-1) a reconcile."""
        self.workers.labels(**_CONTROLLER).inc(change)

    def set_workers(self, workers: int) -> None:
        """Set the number of workers."""
        self.most_workers.labels(**_CONTROLLER).set(workers)

    def count_request(self, method: str, code: str, *, host: str) -> None:
        """Count a request to the API server."""
        self.requests.labels(code=code, method=method, host=host).inc()

    def count_change(self, job: Job, after: Status) -> None:
        """Count the attempts, waits and runs that a newly written status has ended."""
        strategy = job.spec.training.objective.type if job.spec else ""
        before = {stage.name: stage for stage in job.status.stages}
        for stage in after.stages:
            old = before.get(stage.name)
            if old is not None and _has_ended(old, stage):
                labels = {"namespace": job.namespace, "strategy": strategy, "stage": stage.name}
                seconds = _between(stage.started_at, stage.ended_at)
                self.stage_seconds.labels(**labels, result=_result(stage)).observe(seconds)
        for result in TERMINAL:  # from the start of a run, so that its end is an increase
            self.finished.labels(namespace=job.namespace, strategy=strategy, result=result)
        if (waited := _queue_wait(job.status, after)) is not None:
            self.queue_wait.labels(namespace=job.namespace).observe(waited)
        if after.phase in TERMINAL and job.status.phase != after.phase and after.run is not None:
            labels = {"namespace": job.namespace, "strategy": strategy, "result": after.phase}
            self.finished.labels(**labels).inc()
            ended = max((stage.ended_at for stage in after.stages), default="")
            self.job_seconds.labels(**labels).observe(_between(after.run.started_at, ended))

    def _counter(self, name: str, text: str, labels: Sequence[str]) -> Counter:
        return Counter(name, text, labels, registry=self.registry)

    def _gauge(self, name: str, text: str, labels: Sequence[str]) -> Gauge:
        return Gauge(name, text, labels, registry=self.registry)

    def _histogram(self, name: str, text: str, labels: Sequence[str], buckets: Sequence[float]) -> Histogram:
        return Histogram(name, text, labels, registry=self.registry, buckets=buckets)


@dataclass(frozen=True, slots=True, eq=False)
class JobCollector:
    """The series of all jobs, created when Prometheus asks."""

    jobs: Jobs

    def describe(self) -> Iterable[Metric]:
        """Return nothing: the series depend on the jobs."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Yield all series of all jobs, family by family."""
        families, labels = _families(), {}
        for key, job_metrics, driver_metrics in self.jobs():
            _add(families, list(key), job_metrics, driver_metrics)
            labels[key] = job_metrics.labels
        families["labels"] = _labels_family(labels)
        yield from families.values()


JOB_GAUGES: Final = {
    "info": ("Properties of a job", (*_JOB, "strategy", "queue", "student", "teacher_kind")),
    "labels": ("Labels that settings.propagateLabels names", _JOB),
    "status_phase": ("Phase of a job", (*_JOB, "phase")),
    "status_condition": ("Why a job is not in its desired state", (*_JOB, "condition", "status", "reason")),
    "created_timestamp_seconds": ("When a job was created", _JOB),
    "start_timestamp_seconds": ("When its run started", _JOB),
    "completion_timestamp_seconds": ("When its run ended", _JOB),
    "last_progress_timestamp_seconds": ("When the operator last saw a report of work by its driver", _JOB),
    "progress_ratio": ("Share of the chain that is done", _JOB),
    "stage_progress_ratio": ("Share of the current stage that is done", _STAGE),
    "train_loss": ("Loss of the latest training step, in nats per token", _STAGE),
    "checkpoint_timestamp_seconds": ("When the operator saw that the current training was saved", _STAGE),
}  # fmt: skip
JOB_COUNTERS: Final = {
    "restarts": ("Attempts, and drivers within one, that ended before their stage did", (*_JOB, "cause")),
    "gpu_seconds": ("GPU-seconds of the run", _JOB),
    "idle_gpu_seconds": ("Those of them in which nothing was generated or learned for 10 s or longer", _JOB),
    "samples_generated": ("Answers of the current stage", _STAGE),
    "tokens_generated": ("Tokens of those answers", _STAGE),
    "samples_kept": ("Answers that Curate kept", _STAGE),
    "tokens_trained": ("Tokens that the student was trained on", _STAGE),
}


def _families() -> dict[str, Metric]:
    kinds = ((GaugeMetricFamily, JOB_GAUGES), (CounterMetricFamily, JOB_COUNTERS))
    return {
        name: kind(f"{JOB_PREFIX}{name}", text, labels=labels)
        for kind, families in kinds
        for name, (text, labels) in families.items()
    }


def _labels_family(jobs: Mapping[Key, Mapping[str, str]]) -> Metric:
    """Return the labels of jobs that have some; each series has the names of all, with empty values for absent ones."""
    keys = sorted({key for labels in jobs.values() for key in labels})
    text, names = JOB_GAUGES["labels"]
    family = GaugeMetricFamily(f"{JOB_PREFIX}labels", text, labels=[*names, *map(metric_label, keys)])
    for job, labels in jobs.items():
        if labels:
            family.add_metric([*job, *(labels.get(key, "") for key in keys)], 1)
    return family


def _add(families: dict[str, Metric], job: list[str], job_metrics: JobMetrics, work: DriverMetrics | None) -> None:
    """Add the series of one job, at most MOST_SERIES."""

    def add(family: str, value: float | None, *labels: str) -> None:
        if value is not None:
            families[family].add_metric([*job, *labels], value)  # type: ignore[attr-defined]

    add("info", 1, job_metrics.strategy, job_metrics.queue, job_metrics.student, job_metrics.teacher_kind)
    for phase in get_args(Phase):
        add("status_phase", float(job_metrics.phase == phase), phase)
    for condition in job_metrics.conditions:
        add("status_condition", 1, *condition)
    add("created_timestamp_seconds", job_metrics.created)
    add("start_timestamp_seconds", job_metrics.started)
    add("completion_timestamp_seconds", job_metrics.completed)
    add("last_progress_timestamp_seconds", job_metrics.progressed)
    add("progress_ratio", job_metrics.ratio)
    if job_metrics.stage:
        add("stage_progress_ratio", job_metrics.stage_ratio, job_metrics.stage)
    for cause, count in job_metrics.restarts.items():
        add("restarts", count, cause)
    uncounted = increase(job_metrics.latest_gpu_seconds, work.gpu_seconds) if work else 0.0
    add("gpu_seconds", job_metrics.gpu_seconds + uncounted)
    uncounted = increase(job_metrics.latest_idle_gpu_seconds, work.idle_gpu_seconds) if work else 0.0
    add("idle_gpu_seconds", job_metrics.idle_gpu_seconds + uncounted)
    for family, value in work.values.items() if work else ():
        add(family, value, job_metrics.stage)


def _has_ended(before: StageStatus, after: StageStatus) -> bool:
    """Return whether an attempt has ended with this change: it succeeded, failed or stops for a retry."""
    ended = ("Succeeded", "Failed", "Stopping")
    return before.state in WORKING and after.state in ended and after.attempt == before.attempt


def _result(stage: StageStatus) -> str:
    return stage.state if stage.state == "Succeeded" else "Failed" if stage.state == "Failed" else "Restarted"


def _queue_wait(before: Status, after: Status) -> float | None:
    """Return the seconds since QuotaReserved became False, when it becomes True."""
    old, new = before.condition("QuotaReserved"), after.condition("QuotaReserved")
    if old is None or new is None or (old.status, new.status) != ("False", "True"):
        return None
    return _between(old.last_transition_time, new.last_transition_time)


def _between(begin: str, end: str) -> float:
    begun, ended = seconds_of(begin), seconds_of(end)
    return max(0.0, ended - begun) if begun is not None and ended is not None else 0.0
