"""A real Prometheus scrapes a real operator with played jobs: what the chart asks for is there, and goes with them."""

import re
import secrets
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import isnan
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from kubedistill_operator.telemetry.metrics import MOST_SERIES
from support.cluster_setup import OPERATOR_NAMESPACE
from support.fake_kuberay.background import playing
from support.fake_kuberay.scenarios import OK, START, Scenario, choose, step
from support.kube_api import Api, wait_for
from support.monitoring import DASHBOARDS, RULES, read_alerts, read_queries, series_by_metric
from support.operator_process import Replica, replica
from support.prometheus import Prometheus, prometheus, promtool
from support.small_manifests import distillation_job

pytestmark = pytest.mark.timeout(900)  # drivers' words are carried on every 30 s, and every panel needs a few of them
JOBS = "kubedistill.io/v1alpha1/DistillationJob"
CLAIM = {
    "apiVersion": "v1",
    "kind": "PersistentVolumeClaim",
    "metadata": {"name": "shared"},
    "spec": {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "1Gi"}}},
}
FIGURES: dict[str, tuple[str, dict[str, float]]] = {
    "Generate": ("answers", {"tokens": 90.0}),
    "Curate": ("answers", {"kept": 3.0}),
    "Train": ("steps", {"tokens": 640.0, "loss": 0.25, "checkpointAt": time.time()}),
}
"""What a driver that stays at a stage reports repeatedly."""


def staying_at(stage: str) -> Scenario:
    unit, figures = FIGURES[stage]
    says = [
        step("Progress", after=50, done=number, total=9000, unit=unit, gpu_seconds=float(number), figures=figures)
        for number in range(1, 9000)
    ]
    return Scenario(f"at-{stage.lower()}", "A8", {(stage, 0): (*START, *says)})


STAYING = {scenario.name: scenario for scenario in map(staying_at, FIGURES)}
QUEUED = Scenario("queued", "W1", {("Generate", 0): (step("Hold"), step("Admit", when="Suspended", after=400), *OK)})
"""It waits for 8 s, which even a busy operator sees."""
ENDING = {"ok-1": "Succeeded", "queued-1": "Succeeded", "gate-failed-1": "Failed"}
WAITING = {"no-image-cpu-1": "Preparing", "queued-for-ever-1": "Queued"}
LATER = {"ok-2": "Succeeded", "queued-2": "Succeeded"}
"""They end when what ended before them has been scraped: a quantile is one of what increased between two looks."""
EVERY = (*ENDING, *WAITING, *LATER, *STAYING)
TOLD = {
    ("DistillationJobFailed", "gate-failed-1", "EvaluationGate"),
    ("DistillationJobWaitsForPods", "no-image-cpu-1", "ImagePull"),
    ("DistillationJobQueuedTooLong", "queued-for-ever-1", "Pending"),
}
"""The alerts that are on their way."""


@dataclass(frozen=True, slots=True)
class Scene:
    """An operator under way, and the Prometheus that scrapes it."""

    api: Api
    namespace: str
    operator: Replica
    prometheus: Prometheus

    def submit(self, name: str) -> None:
        job = distillation_job(name)
        job["metadata"]["labels"] = {"team": "support"}
        job["spec"]["data"] = {"train": {"uri": "train.jsonl"}}
        # A store of its own, so that nobody waits for another's artifact.
        job["spec"]["storage"] = {"uri": f"file:///kubedistill/storage/{name}", "volumeClaim": "shared"}
        if name.startswith("queued"):
            job["spec"]["queue"] = {"name": "gpus"}
        self.api.apply(job, namespace=self.namespace)

    def wait_for_phases(self, phases: Mapping[str, str]) -> None:
        for name, phase in phases.items():
            wait_for(lambda name=name, phase=phase: self.phase(name) == phase, what=f"{name}: {phase}", seconds=240)  # type: ignore[misc]

    def phase(self, name: str) -> str:
        job = self.api.get(JOBS, name, namespace=self.namespace) or {}
        return str((job.get("status") or {}).get("phase", ""))

    def exposition(self) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.operator.port}/metrics", timeout=10) as answer:
            return str(answer.read().decode())

    def series_of_jobs(self) -> Counter[str]:
        """Return how many series each job has."""
        return Counter(
            sample.labels["name"]
            for family in text_string_to_metric_families(self.exposition())
            for sample in family.samples
            if "name" in sample.labels and family.name.startswith("distillation_")
        )


@pytest.fixture(scope="module")
def scene(
    api: Api, kubeconfig: Path, operator_kubeconfig: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Scene]:
    """Jobs that ended in every way, one in each stage that tells figures, and all of it scraped."""
    folder, namespace = tmp_path_factory.mktemp("metrics"), f"test-{secrets.token_hex(4)}"
    api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
    wait_for(lambda: api.get("v1/ServiceAccount", "default", namespace=namespace), what="the namespace has its account")
    api.apply(CLAIM, namespace=namespace)
    started = replica(
        folder,
        kubeconfig=operator_kubeconfig,
        lease_namespace=OPERATOR_NAMESPACE,
        options=["--alone"],
        watchNamespaces=[namespace],
        storage={"volumeClaim": "shared"},
        propagateLabels=["team"],
    )

    def scenario(job: str) -> Scenario:
        return QUEUED if job in ("queued-1", "queued-2") else STAYING.get(job) or choose(job)

    with started as operator, playing(kubeconfig, namespace=namespace, scale=0.02, choose=scenario):
        wait_for(lambda: operator.probe("/readyz") == 200, what="the operator is ready", seconds=120)
        with prometheus(folder / "prometheus", ports=[operator.port], rules=RULES) as server:
            found = Scene(api, namespace, operator, server)
            for name in (*ENDING, *WAITING, *STAYING):
                found.submit(name)
            found.wait_for_phases(ENDING | WAITING)
            for metric in ("job_queue_wait_seconds_count", "jobs_finished_total"):
                scraped = f"sum(distillation_{metric}) > 0"
                wait_for(lambda scraped=scraped: server.query(scraped), what=scraped)  # type: ignore[misc]
            for name in LATER:
                found.submit(name)
            found.wait_for_phases(LATER)
            for figure in ("samples_kept_total", "tokens_generated_total", "train_loss"):
                seen = f"count_over_time(distillation_job_{figure}[1m]) > 2"
                wait_for(lambda seen=seen: server.query(seen), what=seen, seconds=240)  # type: ignore[misc]
            yield found
    api.delete("v1/Namespace", namespace)


def test_promtool_finds_no_fault_with_the_metrics(scene: Scene) -> None:
    promtool("check", "metrics", given=scene.exposition())


def test_every_target_is_up(scene: Scene) -> None:
    assert scene.prometheus.targets_up()


@pytest.mark.parametrize("metric", [name for name in series_by_metric() if name.startswith("distillation_")])
def test_every_metric_of_jobs_is_there(metric: str, scene: Scene) -> None:
    names = "|".join(sorted(series_by_metric()[metric]))
    assert scene.prometheus.query(f'{{__name__=~"{names}"}}')


QUERIES = [(file.stem, panel, query) for file in DASHBOARDS for panel, query in read_queries(file).items()]


@pytest.mark.parametrize(("dashboard", "panel", "query"), QUERIES, ids=[f"{one[0]}: {one[1]}" for one in QUERIES])
def test_every_panel_shows_something(dashboard: str, panel: str, query: str, scene: Scene) -> None:
    def look() -> bool:
        found = scene.prometheus.query(query)
        return bool(found) and not any(isnan(value) for _, value in found)

    wait_for(look, what=f"{query} gives something, and no series without a value", seconds=90)


def test_every_alert_is_evaluated_and_those_that_should_be_are_on_their_way(scene: Scene) -> None:
    def look() -> dict[str, str]:
        return {one["name"]: one.get("lastError", "") for one in scene.prometheus.rules() if one["health"] != "unknown"}

    wait_for(lambda: look().keys() == read_alerts().keys(), what="all rules were evaluated", seconds=60)
    assert set(look().values()) == {""}

    def told() -> set[tuple[str, ...]]:
        alerts = [one["labels"] for one in scene.prometheus.alerts()]
        return {(one["alertname"], one.get("name", ""), one.get("reason", "")) for one in alerts}

    wait_for(lambda: told() == TOLD, what=f"{TOLD} and no others are told, not {told()}", seconds=60)


def test_no_job_has_more_series_than_it_may(scene: Scene) -> None:
    found = scene.series_of_jobs()
    assert found.keys() == set(EVERY)
    assert all(10 < count <= MOST_SERIES for count in found.values()), found


def test_progress_of_a_driver_costs_no_write_of_status(scene: Scene) -> None:
    """Between two looks the status of a running job stays as it is, though its figures are reported every second."""
    job = scene.api.get(JOBS, "at-train", namespace=scene.namespace)
    assert job is not None
    assert not re.search(r"tokens|checkpointAt|0\.25", str(job["status"]))


def test_of_a_job_that_is_gone_nothing_is_left(scene: Scene) -> None:
    gone = {"at-train", "ok-1"}
    for name in gone:
        scene.api.delete(JOBS, name, namespace=scene.namespace)
    wait_for(lambda: not gone & scene.series_of_jobs().keys(), what="the operator shows them no more", seconds=60)
    assert {"at-generate", "gate-failed-1"} <= scene.series_of_jobs().keys()
    wait_for(lambda: not scene.prometheus.query(f'{{name=~"{"|".join(gone)}"}}'), what="Prometheus neither", seconds=30)
