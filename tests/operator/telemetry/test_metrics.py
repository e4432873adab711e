"""Metrics: the exposition parses, a job has 27 series at most, and leaves none behind."""

from collections import Counter
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from kubedistill.chain import STAGES
from kubedistill.contract import StageProgress
from kubedistill.manifest.settings import DefaultStorage
from kubedistill.v1alpha1 import Condition, Restarts, StageStatus, Status
from kubedistill.v1alpha1.status import Phase
from kubedistill_operator.job import Job
from kubedistill_operator.loop.job_cache import JobCache
from kubedistill_operator.observed import Channel
from kubedistill_operator.telemetry.driver_metrics import DriverMetrics, read_driver_metrics
from kubedistill_operator.telemetry.metrics import MOST_SERIES, Metrics
from support.operator_objects import RUN, with_status

Object = dict[str, Any]


@pytest.fixture
def cache() -> JobCache:
    return JobCache(DefaultStorage())


@pytest.fixture
def metrics(cache: JobCache) -> Metrics:
    found = Metrics()
    found.watch(cache.metrics, depth=lambda: 3, leads=lambda: True)
    return found


def scrape(metrics: Metrics) -> list[Sample]:
    """Return what Prometheus would read."""
    text = generate_latest(metrics.registry).decode()
    return [sample for family in text_string_to_metric_families(text) for sample in family.samples]


def value(metrics: Metrics, series: str, /, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(series, labels)


def busy(resource: Object, *, name: str = "support", **changes: Any) -> Job:
    """Return a job of which everything is known."""
    resource["metadata"]["name"] = name
    resource["spec"]["queue"] = {"name": "gpu"}
    stage = StageStatus(
        name="Train",
        state="Running",
        attempt=2,
        percent=50,
        progressed_at="2026-03-01T13:00:00Z",
        gpu_seconds=7.5,
        latest_gpu_seconds=1.5,
        idle_gpu_seconds=3.0,
        latest_idle_gpu_seconds=1.0,
        started_at="2026-03-01T12:00:00Z",
        restarts=Restarts(infrastructure=1),
    )
    conditions = tuple(
        Condition(type=kind, status="True", reason="R") for kind in ("Validated", "Progressing", "SpecDrift")
    )
    values = {"phase": "Training", "run": RUN, "stages": (stage,), "conditions": conditions, **changes}
    return with_status(resource, Status(**values))


def test_a_job_is_shown_as_it_is(metrics: Metrics, cache: JobCache, resource: Object) -> None:
    cache.update(busy(resource))
    job = {"namespace": "team-a", "name": "support"}
    prefix = "distillation_job"
    assert (
        value(metrics, f"{prefix}_info", **job, strategy="Auto", queue="gpu", student="student", teacher_kind="Model")
        == 1
    )
    assert {phase: value(metrics, f"{prefix}_status_phase", **job, phase=phase) for phase in get_args(Phase)} == {
        phase: float(phase == "Training") for phase in get_args(Phase)
    }
    assert value(metrics, f"{prefix}_status_condition", **job, condition="SpecDrift", status="True", reason="R") == 1
    assert value(metrics, f"{prefix}_stage_progress_ratio", **job, stage="Train") == 0.5
    assert value(metrics, f"{prefix}_progress_ratio", **job) == 0.5
    assert value(metrics, f"{prefix}_start_timestamp_seconds", **job) == 1772366400
    assert value(metrics, f"{prefix}_last_progress_timestamp_seconds", **job) == 1772370000
    assert value(metrics, f"{prefix}_restarts_total", **job, cause="infrastructure") == 1
    assert value(metrics, f"{prefix}_gpu_seconds_total", **job) == 7.5
    assert value(metrics, f"{prefix}_completion_timestamp_seconds", **job) is None


def test_what_a_driver_says_is_shown_next_to_it(metrics: Metrics, cache: JobCache, resource: Object) -> None:
    cache.update(busy(resource))
    values = {"train_loss": 0.25, "tokens_trained": 640.0, "checkpoint_timestamp_seconds": 1772370000.0}
    cache.set_driver_metrics(("team-a", "support"), DriverMetrics("Train", 2, 4.0, values, 2.5))
    job, prefix = {"namespace": "team-a", "name": "support"}, "distillation_job"
    assert value(metrics, f"{prefix}_train_loss", **job, stage="Train") == 0.25
    assert value(metrics, f"{prefix}_tokens_trained_total", **job, stage="Train") == 640
    assert value(metrics, f"{prefix}_checkpoint_timestamp_seconds", **job, stage="Train") == 1772370000
    assert value(metrics, f"{prefix}_gpu_seconds_total", **job) == 10.0, "what is counted of it is in it once"
    assert value(metrics, f"{prefix}_idle_gpu_seconds_total", **job) == 4.5


def test_a10_the_gpu_seconds_of_a_second_driver_of_0_1_come_on_top(
    metrics: Metrics, cache: JobCache, resource: Object
) -> None:
    cache.update(busy(resource))
    cache.set_driver_metrics(("team-a", "support"), DriverMetrics("Train", 2, gpu_seconds=0.5))
    assert value(metrics, "distillation_job_gpu_seconds_total", namespace="team-a", name="support") == 8.0


TRUTHS = st.sampled_from(("True", "False", "Unknown"))
STATES = st.sampled_from(get_args(StageStatus.model_fields["state"].annotation))
CONDITIONS = st.sets(st.sampled_from(("Validated", "QuotaReserved", "Progressing", "SpecDrift", "Complete", "Failed")))


@given(st.data())
def test_no_job_has_more_series_than_it_may(data: st.DataObject) -> None:
    cache, metrics = JobCache(DefaultStorage()), Metrics()
    metrics.watch(cache.metrics, depth=lambda: 0, leads=lambda: False)
    before = len(scrape(metrics))
    stage = StageStatus(
        name=data.draw(st.sampled_from(list(STAGES))),
        state=data.draw(STATES),
        attempt=2,
        progressed_at="2026-03-01T13:00:00Z",
        ended_at="2026-03-01T14:00:00Z",
    )
    conditions = tuple(
        Condition(type=kind, status=data.draw(TRUTHS), reason="R", last_transition_time="2026-03-01T14:00:00Z")
        for kind in data.draw(CONDITIONS)
    )
    phase = data.draw(st.sampled_from(get_args(Phase)))
    status = Status(phase=phase, run=RUN, stages=(stage,), conditions=conditions)
    cache.update(with_status(small_job(), status))
    figures = {"answers": 1.0, "tokens": 1.0, "kept": 1.0, "loss": 1.0, "checkpointAt": 1.0, "other": 1.0}
    progress = StageProgress(at="2026-03-01T13:00:00Z", state="Working", figures=figures, gpu_seconds=1.0)
    channel = Channel("o", progress=progress)
    cache.set_driver_metrics(("team-a", "support"), read_driver_metrics(status, channel, seen_since=as_reported))
    found = [one for one in scrape(metrics) if one.labels.get("name") == "support"]
    assert 10 < len(found) <= MOST_SERIES
    assert len(scrape(metrics)) == before + len(found)


def as_reported(_name: str, reported: float) -> float:
    return reported


def small_job(*, student: str = "student", queue: str = "gpu") -> Object:
    return {
        "metadata": {"name": "support", "namespace": "team-a", "uid": "u"},
        "spec": {
            "task": {"type": "QA"},
            "teachers": [{"name": "main", "model": {"source": "t"}}],
            "student": {"model": {"source": student}},
            "data": {"train": {"uri": "x"}},
            "queue": {"name": queue},
        },
    }


def test_a_job_that_is_gone_leaves_no_series(metrics: Metrics, cache: JobCache, resource: Object) -> None:
    before = scrape(metrics)
    for name in ("one", "two"):
        cache.update(busy(resource, name=name))
    cache.remove(("team-a", "one"))
    names = {one.labels["name"] for one in scrape(metrics) if one.name == "distillation_job_info"}
    assert names == {"two"}
    cache.remove(("team-a", "two"))
    assert scrape(metrics) == before


NAMES = st.text(max_size=20)


@given(queue=NAMES, student=NAMES, phase=st.sampled_from(get_args(Phase)))
def test_the_exposition_parses_for_any_strings_in_a_job(queue: str, student: str, phase: str) -> None:
    cache, metrics = JobCache(DefaultStorage()), Metrics()
    metrics.watch(cache.metrics, depth=lambda: 0, leads=lambda: False)
    cache.update(with_status(small_job(student=student, queue=queue), Status(phase=phase)))
    found = scrape(metrics)
    counts = Counter((one.name, tuple(sorted(one.labels.items()))) for one in found)
    assert max(counts.values()) == 1, "no series is there twice"


def test_the_loop_is_shown_under_the_names_that_boards_know(metrics: Metrics) -> None:
    metrics.set_workers(16)
    metrics.count_worker(1)
    metrics.count_reconcile("success", 0.02)
    metrics.count_reconcile("error", 0.5)
    metrics.count_wait(0.3)
    metrics.count_request("GET", "200", host="api:6443")
    controller = {"controller": "distillationjob"}
    assert value(metrics, "controller_runtime_reconcile_total", **controller, result="success") == 1
    assert value(metrics, "controller_runtime_reconcile_errors_total", **controller) == 1
    assert value(metrics, "controller_runtime_reconcile_time_seconds_count", **controller) == 2
    assert value(metrics, "controller_runtime_active_workers", **controller) == 1
    assert value(metrics, "controller_runtime_max_concurrent_reconciles", **controller) == 16
    assert value(metrics, "workqueue_depth", name="distillationjob") == 3
    assert value(metrics, "workqueue_retries_total", name="distillationjob") == 1
    assert value(metrics, "workqueue_queue_duration_seconds_count", name="distillationjob") == 1
    assert value(metrics, "leader_election_master_status", name="kubedistill-operator") == 1
    assert value(metrics, "rest_client_requests_total", code="200", method="GET", host="api:6443") == 1


def test_counters_are_there_before_there_is_anything_to_count(metrics: Metrics, resource: Object) -> None:
    controller = {"controller": "distillationjob"}
    assert value(metrics, "controller_runtime_reconcile_errors_total", **controller) == 0
    assert value(metrics, "controller_runtime_reconcile_total", **controller, result="error") == 0
    assert value(metrics, "workqueue_retries_total", name="distillationjob") == 0
    job = busy(resource)
    metrics.count_change(job, job.status.model_copy(update={"message": "on its way"}))
    for result in ("Succeeded", "Failed"):
        labels = {"namespace": "team-a", "strategy": "Auto", "result": result}
        assert value(metrics, "distillation_jobs_finished_total", **labels) == 0


def test_a_stage_that_ends_is_counted_once(metrics: Metrics, resource: Object) -> None:
    job = busy(resource)
    done = job.status.stages[0].model_copy(update={"state": "Succeeded", "ended_at": "2026-03-01T12:10:00Z"})
    after = job.status.model_copy(update={"stages": (done,)})
    metrics.count_change(job, after)
    labels = {"namespace": "team-a", "strategy": "Auto", "stage": "Train", "result": "Succeeded"}
    assert value(metrics, "distillation_job_stage_duration_seconds_count", **labels) == 1
    assert value(metrics, "distillation_job_stage_duration_seconds_sum", **labels) == 600
    metrics.count_change(with_status(resource, after), after)
    assert value(metrics, "distillation_job_stage_duration_seconds_count", **labels) == 1


def test_an_attempt_that_makes_way_for_the_next_is_counted_as_restarted(metrics: Metrics, resource: Object) -> None:
    job = busy(resource)
    stopping = job.status.stages[0].model_copy(update={"state": "Stopping", "ended_at": "2026-03-01T12:10:00Z"})
    metrics.count_change(job, job.status.model_copy(update={"stages": (stopping,)}))
    labels = {"namespace": "team-a", "strategy": "Auto", "stage": "Train", "result": "Restarted"}
    assert value(metrics, "distillation_job_stage_duration_seconds_count", **labels) == 1


@pytest.mark.parametrize("phase", ["Succeeded", "Failed"])
def test_a_run_that_ends_is_counted_once(phase: str, metrics: Metrics, resource: Object) -> None:
    job = busy(resource)
    done = job.status.stages[0].model_copy(update={"state": "Succeeded", "ended_at": "2026-03-01T13:00:00Z"})
    after = job.status.model_copy(update={"stages": (done,), "phase": phase})
    metrics.count_change(job, after)
    metrics.count_change(with_status(resource, after), after.model_copy(update={"message": "later"}))
    labels = {"namespace": "team-a", "strategy": "Auto", "result": phase}
    assert value(metrics, "distillation_jobs_finished_total", **labels) == 1
    assert value(metrics, "distillation_job_duration_seconds_sum", **labels) == 3600


def test_the_wait_in_a_queue_is_measured(metrics: Metrics, resource: Object) -> None:
    def quota(status: str, at: str) -> tuple[Condition, ...]:
        return (Condition(type="QuotaReserved", status=status, reason="R", last_transition_time=at),)

    job = busy(resource, conditions=quota("False", "2026-03-01T12:00:00Z"))
    metrics.count_change(job, job.status.model_copy(update={"message": "still waiting"}))
    admitted = job.status.model_copy(update={"conditions": quota("True", "2026-03-01T12:05:00Z")})
    metrics.count_change(job, admitted)
    assert value(metrics, "distillation_job_queue_wait_seconds_count", namespace="team-a") == 1
    assert value(metrics, "distillation_job_queue_wait_seconds_sum", namespace="team-a") == 300


def test_nothing_is_shown_that_has_no_use(metrics: Metrics, cache: JobCache, resource: Object) -> None:
    metrics.count_wait(1)
    cache.update(busy(resource))
    assert not [one.name for one in scrape(metrics) if one.name.endswith("_created")]


def test_two_operators_in_one_process_count_apart() -> None:
    one, other = Metrics(), Metrics()
    one.count_wait(1)
    assert value(other, "workqueue_queue_duration_seconds_count", name="distillationjob") is None
