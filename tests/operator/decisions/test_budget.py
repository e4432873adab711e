"""Budgets (rows S18, P12 and P13 of docs/behavior.md): a run whose budget is spent is suspended until it is raised."""

from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from kubedistill.chain import CHAIN
from kubedistill.manifest.settings import Pool, Settings
from kubedistill.v1alpha1 import spec_values
from kubedistill_operator.decisions.stopping import STOP_SECONDS
from support.fake_cluster import FakeCluster, begin, reason_of, small_spec, stage_of
from support.messages import CheckMessage

HOUR = 3600.0
PRICED = Settings(pools={"h100": Pool(node_selector={"gpu": "h100"}, gpus_per_node=8, price_per_gpu_hour=4.0)})
STUDENT = {"model": {"source": "student"}, "resources": {"pool": "h100", "gpusPerWorker": 1}}
ENDPOINT = {"name": "big", "endpoint": {"model": "large", "prices": {"input": 1, "output": 2}}}


def work(stage: str = "Train", *, budget: dict[str, float] | None = None, **changes: Any) -> FakeCluster:
    """Return a job whose driver works at a stage, in a pool where a GPU costs $4 per hour."""
    values = {"student": STUDENT, **changes, **({"budget": budget} if budget else {})}
    cluster = FakeCluster(spec=small_spec(**values), settings=PRICED)
    cluster.run_child(begin(cluster, stage))
    cluster.settle()
    return cluster


def spend(cluster: FakeCluster, hours: float, **changes: Any) -> None:
    """The driver reports the GPU-hours that its attempt has used."""
    cluster.now += 10
    cluster.progress(cluster.live, done=10, gpu_seconds=hours * HOUR, gpus=1, **changes)
    cluster.settle()


def edit(cluster: FakeCluster, **changes: Any) -> None:
    """The user edits the spec: a budget of None is removed."""
    values = spec_values(cluster.spec) | changes
    cluster.spec = small_spec(**{name: value for name, value in values.items() if value is not None})
    cluster.generation += 1
    cluster.settle()


def save(cluster: FakeCluster, hours: float, **changes: Any) -> None:
    """The driver saves, reports what it used, and ends."""
    name = cluster.live
    cluster.result(name, outcome="Stopped", cause="none", reason="Stopped", gpu_seconds=hours * HOUR, **changes)
    cluster.end_child(name)
    cluster.settle()


def is_asked_to_stop(cluster: FakeCluster) -> bool:
    return cluster.channels[cluster.live].stop


def test_p12_a_spent_budget_saves_and_suspends_the_run(check_message: CheckMessage) -> None:
    cluster = work(budget={"gpuHours": 2})
    spend(cluster, 1.99)
    assert (is_asked_to_stop(cluster), cluster.status.phase) == (False, "Training")
    spend(cluster, 2)
    assert is_asked_to_stop(cluster)
    save(cluster, 2.01)
    suspended = cluster.status.condition("Suspended")
    assert suspended is not None
    assert (suspended.status, suspended.reason, cluster.status.phase) == ("True", "BudgetSpent", "Suspended")
    check_message(suspended.message, "spec.budget.gpuHours", 2.01, 2)
    assert cluster.status.message == suspended.message
    assert [event.type for event in cluster.events if event.message.startswith("BudgetSpent")] == ["Warning"]
    assert not cluster.spec.suspend
    stage = stage_of(cluster, "Train")
    assert (stage.state, stage.restarts.failure + stage.restarts.infrastructure + stage.restarts.preemption) == (
        "Pending", 0,
    )  # fmt: skip
    cluster.now += 10**6
    cluster.settle()
    assert (cluster.children, cluster.step().status) == ({}, None), "nothing begins, and waiting ends nothing"


@pytest.mark.parametrize("budget", [{"gpuHours": 3}, None], ids=["raised", "removed"])
def test_p13_a_raised_budget_continues_the_run(budget: dict[str, float] | None) -> None:
    cluster = work(budget={"gpuHours": 2})
    spend(cluster, 2)
    save(cluster, 2.01)
    edit(cluster, budget={"gpuHours": 2.005})
    assert cluster.status.phase == "Suspended", "that is spent too"
    edit(cluster, budget=budget)
    assert cluster.status.condition("SpecDrift") is None
    assert reason_of(cluster, "Suspended") == ("False", "Resumed")
    cluster.complete_stage("Prepare")
    stage = stage_of(cluster, "Train")
    assert (stage.state, stage.attempt, stage.gpu_seconds) == ("Starting", 2, 7236.0)
    cluster.run_child(cluster.live)
    spend(cluster, 0.98)
    assert not is_asked_to_stop(cluster)
    spend(cluster, 0.99)
    assert is_asked_to_stop(cluster) == (budget is not None), "what earlier attempts spent counts"


def test_p12_nothing_begins_once_the_budget_is_spent_and_the_result_of_a_stage_counts() -> None:
    cluster = work("Generate", budget={"gpuHours": 2})
    cluster.result(cluster.live, gpu_seconds=2 * HOUR)
    cluster.settle()
    assert stage_of(cluster, "Generate").state == "Succeeded"
    assert (reason_of(cluster, "Suspended"), stage_of(cluster, "Curate").attempt) == (("True", "BudgetSpent"), 0)


def test_p12_a_run_that_spends_its_budget_to_the_end_succeeds() -> None:
    cluster = work("Export", budget={"gpuHours": 2})
    cluster.result(cluster.live, gpu_seconds=2 * HOUR)
    cluster.end_child(cluster.live)
    cluster.settle()
    assert cluster.status.phase == "Succeeded"


def test_p12_suspend_is_shown_first_and_both_must_allow_the_run() -> None:
    cluster = work(budget={"gpuHours": 2})
    edit(cluster, suspend=True)
    save(cluster, 2.5)
    assert reason_of(cluster, "Suspended") == ("True", "AsAsked")
    edit(cluster, suspend=False)
    assert reason_of(cluster, "Suspended") == ("True", "BudgetSpent")
    edit(cluster, suspend=True)
    edit(cluster, budget={"gpuHours": 9})
    assert reason_of(cluster, "Suspended") == ("True", "AsAsked")
    edit(cluster, suspend=False)
    assert cluster.status.phase == "Preparing"
    assert [event.message for event in cluster.events if event.reason == "Resumed"] == ["spec.suspend is false"]


def test_p12_a_driver_that_does_not_leave_has_a_minute() -> None:
    cluster = work(budget={"gpuHours": 2})
    spend(cluster, 2)
    name = cluster.live
    cluster.now += STOP_SECONDS + 1
    cluster.settle()
    assert name not in cluster.children
    cluster.end_child(name)
    cluster.settle()
    assert reason_of(cluster, "Suspended") == ("True", "BudgetSpent")
    assert stage_of(cluster, "Train").gpu_seconds == pytest.approx(2 * HOUR + STOP_SECONDS + 1, abs=1)


def test_p12_a_suspended_run_can_be_cancelled_and_replaced() -> None:
    cluster = work(budget={"gpuHours": 2})
    spend(cluster, 2)
    save(cluster, 2)
    edit(cluster, runID="second")
    assert cluster.status.run is not None
    assert (cluster.status.run.id, cluster.status.phase) == ("second", "Preparing"), "a run has its own budget"
    cluster.run_child(cluster.live)
    spend(cluster, 2)
    save(cluster, 2)
    cluster.annotations["kubedistill.io/cancel"] = "now"
    cluster.settle()
    assert (cluster.status.phase, reason_of(cluster, "Suspended")) == ("Failed", ("False", "Failed"))


def test_p12_dollars_are_those_of_gpus_and_endpoints(check_message: CheckMessage) -> None:
    cluster = work("Generate", budget={"dollars": 10}, teachers=[ENDPOINT])
    spend(cluster, 0, dollars=1.5)
    cluster.result(cluster.live, dollars=2.0)
    cluster.end_child(cluster.live)
    cluster.settle()
    assert stage_of(cluster, "Generate").endpoint_dollars == 2.0
    cluster.complete_stage("Curate")
    cluster.run_child(cluster.live)
    spend(cluster, 1.9)
    assert (is_asked_to_stop(cluster), cluster.status.dollars) == (False, "9.60")
    spend(cluster, 2)
    assert (is_asked_to_stop(cluster), cluster.status.dollars) == (True, "10.00")
    save(cluster, 2.1)
    suspended = cluster.status.condition("Suspended")
    assert suspended is not None
    check_message(suspended.message, "spec.budget.dollars", "10.40", 10)


@pytest.mark.parametrize("drivers", [("d1", "d1"), ("d1", "d2")], ids=["one driver", "a lost driver"])
def test_p12_what_an_endpoint_charged_is_counted_once(drivers: tuple[str, str]) -> None:
    cluster = work("Generate", teachers=[ENDPOINT])
    spend(cluster, 0, dollars=1.5)
    if drivers[1] != drivers[0]:
        cluster.claim(cluster.live, driver=drivers[1])
        cluster.settle()
    spend(cluster, 0, dollars=1.75)
    failed = {"outcome": "Failed", "cause": "failure", "reason": "Trouble", "driver": drivers[1]}
    cluster.result(cluster.live, dollars=2.0, **failed)
    cluster.end_child(cluster.live)
    cluster.settle()
    cluster.now += 60
    cluster.settle()
    cluster.run_child(cluster.live)
    spend(cluster, 0, dollars=0.5)
    stage = stage_of(cluster, "Generate")
    assert (stage.attempt, stage.endpoint_dollars, stage.latest_endpoint_dollars) == (2, 2.5, 0.5)


def test_s18_a_budget_in_dollars_needs_the_prices_of_all_pools_with_gpus(check_message: CheckMessage) -> None:
    pools = {name: pool.model_copy(update={"price_per_gpu_hour": None}) for name, pool in PRICED.pools.items()}
    spec = small_spec(student=STUDENT, budget={"dollars": 10})
    cluster = FakeCluster(spec=spec, settings=PRICED.model_copy(update={"pools": pools}))
    cluster.settle()
    validated = cluster.status.condition("Validated")
    assert validated is not None
    assert (validated.status, validated.reason, cluster.children) == ("False", "InvalidManifest", {})
    check_message(validated.message, "spec.budget.dollars", "h100", "pricePerGpuHour")
    cluster.settings = PRICED
    cluster.settle()
    assert cluster.status.phase == "Preparing"


def test_s18_dollars_that_a_run_cannot_count_suspend_it(check_message: CheckMessage) -> None:
    cluster = work("Generate", teachers=[{"name": "big", "endpoint": {"model": "large"}}])
    assert cluster.status.dollars == ""
    edit(cluster, teachers=[ENDPOINT], budget={"dollars": 10})
    assert reason_of(cluster, "SpecDrift") == ("True", "Edited")
    assert is_asked_to_stop(cluster)
    save(cluster, 0)
    suspended = cluster.status.condition("Suspended")
    assert suspended is not None
    assert (suspended.status, suspended.reason) == ("True", "InvalidManifest")
    check_message(suspended.message, "spec.teachers[0].endpoint.prices", "budget.gpuHours")
    edit(cluster, budget={"gpuHours": 10})
    assert reason_of(cluster, "Suspended") == ("False", "Resumed")


STEPS = st.lists(st.tuples(st.floats(0, 0.7), st.sampled_from([None, 0.5, 1, 2, 4])), min_size=1, max_size=8)


@given(steps=STEPS)
@settings(max_examples=40, deadline=None)
def test_p12_a_driver_is_asked_to_stop_at_the_budget_and_never_below(steps: list[tuple[float, float | None]]) -> None:
    cluster, reported = work(), 0.0
    for more, limit in steps:
        was_suspended = cluster.status.phase == "Suspended"
        edit(cluster, budget=None if limit is None else {"gpuHours": limit})
        if was_suspended:
            assert (cluster.status.phase == "Suspended") == is_spent(cluster, limit)
            if not is_spent(cluster, limit):
                cluster.complete_stage("Prepare")
                cluster.run_child(cluster.live)
                cluster.settle()
            continue
        assert is_asked_to_stop(cluster) == is_spent(cluster, limit)
        if not is_asked_to_stop(cluster):
            reported += more
            spend(cluster, reported)
            assert is_asked_to_stop(cluster) == is_spent(cluster, limit)
        if is_asked_to_stop(cluster):
            save(cluster, reported)
            reported = 0.0


def is_spent(cluster: FakeCluster, limit: float | None) -> bool:
    return limit is not None and stage_of(cluster, "Train").gpu_seconds / HOUR >= limit


def test_every_stage_may_spend_the_budget() -> None:
    for stage in CHAIN:
        cluster = work(stage.name, budget={"gpuHours": 2})
        spend(cluster, 2)
        assert is_asked_to_stop(cluster), stage.name
