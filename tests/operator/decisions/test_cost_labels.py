"""Labels of a namespace or a job on its children, pods and metrics: row S15 of docs/behavior.md."""

from typing import Any

import pytest
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families
from pydantic import ValidationError

from kubedistill.manifest.settings import DefaultStorage, Settings
from kubedistill.v1alpha1 import Run, Status
from kubedistill_operator.job import Job
from kubedistill_operator.loop.job_cache import JobCache
from kubedistill_operator.telemetry.metrics import Metrics
from support.child_scenarios import templates
from support.fake_cluster import SETTINGS, FakeCluster, small_spec

TEAM, CENTER = "team", "example.com/cost-center"


@pytest.fixture
def cluster() -> FakeCluster:
    """Return a job in a namespace, both with labels."""
    return FakeCluster(
        spec=small_spec(pods={"labels": {CENTER: "of-the-pods", "own": "x"}}),
        settings=SETTINGS.model_copy(update={"propagate_labels": (TEAM, CENTER)}),
        namespace_labels={CENTER: "4711", "kubernetes.io/metadata.name": "team"},
        labels={TEAM: "support", CENTER: "0815", "argocd.argoproj.io/instance": "x"},
    )


def made(cluster: FakeCluster) -> list[dict[str, Any]]:
    return [one for plan in cluster.settle() for one in plan.create]


def child_of(objects: list[dict[str, Any]]) -> dict[str, Any]:
    return next(one for one in objects if one["kind"] in ("Job", "RayJob"))


@pytest.mark.parametrize("stage", ["Prepare", "Generate"])
def test_s15_child_and_pods_carry_the_labels_and_the_namespaces_come_first(stage: str, cluster: FakeCluster) -> None:
    objects = made(cluster)
    if stage == "Generate":
        name = cluster.live
        cluster.run_child(name)
        cluster.settle()
        cluster.result(name)
        cluster.end_child(name)
        objects = made(cluster)
    child = child_of(objects)
    assert child["kind"] == ("Job" if stage == "Prepare" else "RayJob")
    wanted = {TEAM: "support", CENTER: "4711"}
    for labels in (child["metadata"]["labels"], *(one["metadata"]["labels"] for one in templates(child).values())):
        assert {key: labels[key] for key in wanted} == wanted
        assert "argocd.argoproj.io/instance" not in labels
    assert {one["metadata"]["labels"]["own"] for one in templates(child).values()} == {"x"}
    assert TEAM not in objects[0]["metadata"]["labels"], "ConfigMaps and Roles cost nothing"


def test_s15_a_run_keeps_the_labels_of_its_start(cluster: FakeCluster) -> None:
    cluster.step()
    cluster.labels, cluster.namespace_labels, cluster.settings = {TEAM: "other"}, {}, SETTINGS
    child = child_of(made(cluster))
    assert child["metadata"]["labels"][CENTER] == "4711"
    assert child["metadata"]["labels"][TEAM] == "support"


def test_s15_without_the_setting_nothing_is_propagated(cluster: FakeCluster) -> None:
    cluster.settings = SETTINGS
    assert not {TEAM, CENTER} & child_of(made(cluster))["metadata"]["labels"].keys()


REFUSED = {
    "ours": ("kubedistill.io/job-uid",), "a domain below one of KubeRay's": ("x.ray.io/cluster",),
    "Kueue's, which would queue each pod": ("kueue.x-k8s.io/queue-name",), "the Job controller's": ("job-name",),
    "two that are one to Prometheus": ("a-b", "a.b"), "no label": ("a b",),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_labels_that_others_set_are_refused(case: str) -> None:
    with pytest.raises(ValidationError):
        Settings(propagate_labels=REFUSED[case])


def series(*jobs: Job) -> list[dict[str, str]]:
    cache, metrics = JobCache(DefaultStorage()), Metrics()
    metrics.watch(cache.metrics, depth=lambda: 0, leads=lambda: True)
    for job in jobs:
        cache.update(job)
    text = generate_latest(metrics.registry).decode()
    return [
        dict(one.labels)
        for family in text_string_to_metric_families(text)
        for one in family.samples
        if one.name == "distillation_job_labels"
    ]


def job(name: str, **labels: str) -> Job:
    run = Run(id="1", digest="d", started_at="2026-03-01T12:00:00Z", labels={TEAM: "a"} | labels if labels else {})
    return Job("ns", name, uid=name, spec=small_spec(), status=Status(run=run))


def test_s15_metrics_show_the_labels_for_joins() -> None:
    assert series(job("plain"), job("one", **{CENTER: "4711"}), job("two", other="x")) == [
        {
            "namespace": "ns",
            "name": "one",
            "label_team": "a",
            "label_example_com_cost_center": "4711",
            "label_other": "",
        },
        {"namespace": "ns", "name": "two", "label_team": "a", "label_example_com_cost_center": "", "label_other": "x"},
    ]
