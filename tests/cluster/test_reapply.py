"""GitOps: applying the same again writes nothing, marks of other tools reach no child, and a revert starts nothing."""

import json
import secrets
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from support.fake_kuberay.background import playing
from support.fake_kuberay.scenarios import WORKING, Scenario, choose, step
from support.kube_api import Api, Manifest, wait_for
from support.operator_harness import JOBS, LOOK_SECONDS, OURS, OperatorHarness, open_harness, small_job

APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
MARKS = {
    "labels": {
        "app.kubernetes.io/managed-by": "Helm", "app.kubernetes.io/instance": "argocd-app", "helm.sh/chart": "jobs-1",
        "argocd.argoproj.io/instance": "argocd-app", "team": "support",
    },
    "annotations": {
        "argocd.argoproj.io/tracking-id": "argocd-app:kubedistill.io/DistillationJob:x/y",
        "argocd.argoproj.io/sync-wave": "3", "meta.helm.sh/release-name": "helm-release",
        "meta.helm.sh/release-namespace": "helm-space", "helm.sh/hook": "post-install",
    },
}  # fmt: skip
FOREIGN = ("argocd", "helm", "kubectl", "team", "support")
HOUR = step("Progress", after=5, done=2, total=4, gpu_seconds=3600.0, gpus=2)
SPENDS = Scenario(
    "spends", "P12, P13", {("Generate", 1): (*WORKING, HOUR, step("Progress", when="StopAsked", done=3, total=4))}
)
Apply = Callable[[OperatorHarness, Manifest], object]


def server_side(harness: OperatorHarness, job: Manifest) -> object:
    return harness.api.apply(job, namespace=harness.namespaces[0], manager="argocd-controller")


def client_side(harness: OperatorHarness, job: Manifest) -> object:
    """Return what a client sends that keeps what it applied in an annotation, and can't tell that nothing changed."""
    name, where = job["metadata"]["name"], harness.namespaces[0]
    marked = json.loads(json.dumps(job))
    marked["metadata"].setdefault("annotations", {})[APPLIED] = json.dumps(job, sort_keys=True)
    if harness.job(name) is None:
        return harness.api.create(marked, namespace=where)
    return harness.api.patch(JOBS, name, marked, namespace=where)


def by_kubectl(harness: OperatorHarness, job: Manifest) -> object:
    file = harness.folder / f"{job['metadata']['name']}.json"
    file.write_text(json.dumps(job))
    admin = harness.folder / "admin.kubeconfig"
    command = ["kubectl", "apply", f"--kubeconfig={admin}", f"--namespace={harness.namespaces[0]}", "-f", str(file)]
    return subprocess.run([*command, f"--cache-dir={harness.folder}"], check=True, capture_output=True)


WAYS: dict[str, Apply] = {"server-side": server_side, "client-side": client_side}
if shutil.which("kubectl"):  # a client of the cluster's own is not everywhere; the two above need none
    WAYS["kubectl"] = by_kubectl


@pytest.fixture(scope="module")
def harness(
    api: Api, kubeconfig: Path, operator_kubeconfig: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[OperatorHarness]:
    name, folder = f"test-{secrets.token_hex(4)}", tmp_path_factory.mktemp("operator")
    shutil.copyfile(kubeconfig, folder / "admin.kubeconfig")
    with (
        open_harness(api, operator_kubeconfig, folder, name) as harness,
        playing(kubeconfig, namespace=name, scale=0.02, choose=lambda job: SPENDS if job == "spends" else choose(job)),
    ):
        yield harness


def marked_job(name: str, **spec: Any) -> Manifest:
    """Return a job as Argo CD applies what Helm has rendered."""
    return small_job(name, metadata=json.loads(json.dumps(MARKS)), **spec)


def versions(harness: OperatorHarness, name: str) -> dict[str, str]:
    """Return the resourceVersion of a job and of all that it leads to, and its Events."""
    everything = [harness.job(name) or {}, *harness.made(job=name)]
    found = {f"{one['kind']} {one['metadata']['name']}": one["metadata"]["resourceVersion"] for one in everything}
    return found | {f"Event {number}": reason for number, reason in enumerate(sorted(harness.events(name)))}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("phase", ["Generating", "Succeeded"])
def test_the_same_applied_again_writes_nothing(harness: OperatorHarness, way: str, phase: str) -> None:
    name = f"{'silent' if phase == 'Generating' else 'ok'}-{way}"
    job = marked_job(name)
    WAYS[way](harness, job)
    harness.becomes(name, phase)
    if phase == "Generating":
        wait_for(
            lambda: harness.stage(name, "Generate").get("percent") == 25,
            what="all is said that the driver says",
            seconds=LOOK_SECONDS,
        )
    before = wait_for(lambda: calm(harness, name), what="nothing moves any more", seconds=LOOK_SECONDS)
    for _ in range(2):
        WAYS[way](harness, job)
    harness.settle()
    assert versions(harness, name) == before


def calm(harness: OperatorHarness, name: str) -> dict[str, str] | None:
    """Return what there is, once the operator leaves it as it is."""
    before = versions(harness, name)
    harness.settle()
    return before if versions(harness, name) == before else None


def test_no_mark_of_another_tool_reaches_a_child(harness: OperatorHarness) -> None:
    client_side(harness, marked_job("silent-marked"))
    wait_for(
        lambda: harness.stage("silent-marked", "Generate").get("state") == "Running",
        what="it generates",
        seconds=LOOK_SECONDS,
    )
    made = harness.made(job="silent-marked")
    frozen = [one for one in harness.made(kinds=["v1/ConfigMap"]) if "run.json" in one["data"]]
    assert {one["kind"] for one in made} >= {
        "ConfigMap",
        "ServiceAccount",
        "Role",
        "RoleBinding",
        "Job",
        "RayJob",
        "Pod",
    }
    for one in (*made, *frozen):
        labels, annotations = (one["metadata"].get(part) or {} for part in ("labels", "annotations"))
        said = json.dumps([labels, annotations, templates(one)]).lower()
        assert OURS.items() <= labels.items()
        assert not [mark for mark in FOREIGN if mark in said.replace("kubedistill", "")], one["metadata"]["name"]


def templates(child: Manifest) -> list[Any]:
    """Return the metadata of all pod templates of a child."""
    spec = child.get("spec") or {}
    cluster = spec.get("rayClusterSpec") or {}
    groups = [cluster.get("headGroupSpec") or {}, *(cluster.get("workerGroupSpecs") or ())]
    found = [spec.get("template"), spec.get("submitterPodTemplate"), *(group.get("template") for group in groups)]
    return [one.get("metadata") for one in found if one]


def test_s8_a_revert_of_a_used_run_id_starts_nothing(harness: OperatorHarness) -> None:
    first, second = (marked_job("ok-healed", runID=run) for run in ("first", "second"))
    for job in (first, second):
        server_side(harness, job)
        wait_for(lambda job=job: is_over(harness, job), what=f"{job['spec']['runID']} is over", seconds=LOOK_SECONDS)
    before = children(harness, "ok-healed")
    server_side(harness, first)
    wait_for(lambda: drift(harness, "ok-healed") == ("True", "RunIDReused"), what="it is said that nothing starts")
    harness.settle()
    assert harness.status("ok-healed")["run"]["id"] == "second"
    assert (harness.phase("ok-healed"), children(harness, "ok-healed")) == ("Succeeded", before)
    server_side(harness, second)
    wait_for(lambda: drift(harness, "ok-healed") is None, what="nothing is said any more")
    assert harness.events("ok-healed").count("RunStarted") == 2


def test_a_revert_of_suspend_starts_nothing_that_is_over(harness: OperatorHarness) -> None:
    job = marked_job("ok-suspended")
    server_side(harness, job)
    harness.becomes("ok-suspended", "Succeeded")
    before = (children(harness, "ok-suspended"), harness.status("ok-suspended")["run"])
    for suspend in (True, False, True, False):
        harness.api.patch(JOBS, "ok-suspended", {"spec": {"suspend": suspend}}, namespace=harness.namespaces[0])
        harness.settle()
    assert (children(harness, "ok-suspended"), harness.status("ok-suspended")["run"]) == before
    assert harness.phase("ok-suspended") == "Succeeded"
    assert harness.events("ok-suspended").count("RunStarted") == 1


def test_p1_p2_reverting_suspend_during_a_run_continues_the_same_run(harness: OperatorHarness) -> None:
    job = marked_job("slow-suspended")
    server_side(harness, job)
    harness.becomes("slow-suspended", "Preparing")
    wait_for(
        lambda: harness.stage("slow-suspended", "Prepare").get("state") == "Running",
        what="it prepares",
        seconds=LOOK_SECONDS,
    )
    run = harness.status("slow-suspended")["run"]["id"]
    harness.api.patch(JOBS, "slow-suspended", {"spec": {"suspend": True}}, namespace=harness.namespaces[0])
    harness.becomes("slow-suspended", "Suspended")
    harness.api.patch(JOBS, "slow-suspended", {"spec": {"suspend": False}}, namespace=harness.namespaces[0])
    wait_for(
        lambda: harness.stage("slow-suspended", "Prepare").get("attempt") == 2,
        what="it continues",
        seconds=LOOK_SECONDS,
    )
    assert harness.status("slow-suspended")["run"]["id"] == run
    assert sum((harness.stage("slow-suspended", "Prepare").get("restarts") or {}).values()) == 0
    assert harness.events("slow-suspended").count("RunStarted") == 1


def test_p12_p13_a_run_whose_budget_git_raises_continues_and_succeeds(harness: OperatorHarness) -> None:
    job = marked_job("spends", budget={"gpuHours": 0.5})
    server_side(harness, job)
    harness.becomes("spends", "Suspended")
    assert harness.condition("spends", "Suspended")[:2] == ("True", "BudgetSpent")
    job["spec"]["budget"] = {"gpuHours": 2}
    server_side(harness, job)
    harness.becomes("spends", "Succeeded")
    generate = harness.stage("spends", "Generate")
    assert (generate["attempt"], generate["gpuSeconds"]) == (2, 3600)
    assert drift(harness, "spends") is None


def is_over(harness: OperatorHarness, job: Manifest) -> bool:
    status = harness.status(job["metadata"]["name"])
    return (status.get("phase"), (status.get("run") or {}).get("id")) == ("Succeeded", job["spec"]["runID"])


def drift(harness: OperatorHarness, name: str) -> tuple[str, str] | None:
    found = harness.condition(name, "SpecDrift")
    return found[:2] if found else None


def children(harness: OperatorHarness, name: str) -> set[str]:
    return {one["metadata"]["name"] for one in harness.made(kinds=["batch/v1/Job", "ray.io/v1/RayJob"], job=name)}
