"""A job that is deleted leaves nothing in the cluster, and never keeps its namespace, be the operator up or down.

Rows P3 and P10 of docs/behavior.md.
"""

import secrets
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from support.cluster_setup import account_kubeconfig
from support.fake_kuberay.background import playing
from support.fake_kuberay.scenarios import WORKING, Scenario, choose, step
from support.kube_api import Api, Refused, wait_for
from support.operator_harness import JOBS, LOOK_SECONDS, OperatorHarness, open_harness, small_job

CRD = "apiextensions.k8s.io/v1/CustomResourceDefinition"
PHASES = {
    "pending": "Pending", "queued-for-ever-1": "Queued", "at-prepare": "Preparing", "at-generate": "Generating",
    "at-curate": "Curating", "at-train": "Training", "at-evaluate": "Evaluating", "at-export": "Exporting",
    "ok-1": "Succeeded", "user-error-1": "Failed", "suspended": "Suspended",
}  # fmt: skip
SPECS = {
    "pending": {"student": {"model": {"source": "student"}, "resources": {"pool": "none"}}},
    "queued-for-ever-1": {"queue": {"name": "research"}},
    "suspended": {"suspend": True},
}


def hold(job: str) -> Scenario:
    """`at-STAGE…`: the driver of that stage works until it is asked to leave; any other name as always."""
    if not job.startswith("at-"):
        return choose(job)
    works = (*WORKING, step("Progress", after=10**6, done=2, total=4))
    return Scenario(job, "P3", {(job.split("-")[1].title(), 0): works})


@pytest.fixture(scope="module")
def harness(
    api: Api, kubeconfig: Path, operator_kubeconfig: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[OperatorHarness]:
    names = [f"test-{secrets.token_hex(4)}" for _ in range(3)]
    with ExitStack() as stack:
        harness = stack.enter_context(
            open_harness(api, operator_kubeconfig, tmp_path_factory.mktemp("operator"), *names)
        )
        for name in names:
            stack.enter_context(playing(kubeconfig, namespace=name, scale=0.02, choose=hold))
        yield harness


@pytest.fixture(params=["up", "down"])
def operator(request: pytest.FixtureRequest, harness: OperatorHarness) -> Iterator[str]:
    """Yield whether the operator is up when something is deleted; it is up again afterwards."""
    if harness.operator is None:
        harness.start()
    yield request.param
    if harness.operator is None:
        harness.start()
        harness.settle()
        harness.check()


def work(harness: OperatorHarness, *names: str) -> None:
    """Submit jobs, and wait until each has a finished child, a running Ray cluster, and all that belongs to them."""
    for name in names:
        harness.submit(name)
    for name in names:
        wait_for(
            lambda name=name: harness.stage(name, "Generate").get("state") == "Running",
            what=f"{name} generates",
            seconds=LOOK_SECONDS,
        )
    for name in names:
        made = {one["kind"] for one in harness.made(job=name)}
        assert made >= {"ConfigMap", "ServiceAccount", "Role", "RoleBinding", "Job", "RayJob", "Pod"}, made


def left(harness: OperatorHarness, *, namespace: str = "") -> list[str]:
    return [f"{one['kind']} {one['metadata']['name']}" for one in harness.made(namespace=namespace)]


def gone(harness: OperatorHarness) -> None:
    """Wait until nothing is left, and see that nothing comes back."""
    wait_for(lambda: not left(harness), what="the garbage collector has taken all", seconds=LOOK_SECONDS)
    if harness.operator is not None:
        harness.settle()
    assert left(harness) == []
    assert harness.api.list(JOBS, namespace=harness.namespaces[0]) == []


def test_p3_a_deleted_job_leaves_nothing(harness: OperatorHarness, operator: str) -> None:
    ways = {"at-generate-background": "Background", "at-generate-foreground": "Foreground"}
    work(harness, *ways)
    if operator == "down":
        harness.stop()
    for name, propagation in ways.items():
        harness.api.delete(JOBS, name, namespace=harness.namespaces[0], propagation=propagation)
    gone(harness)


FOREIGN = "example.com/block"
HELD = {"at-generate-held": "Background", "at-generate-front": "Foreground"}
ORPHANED = {"at-generate-orphan": (), "at-generate-both": (FOREIGN,)}


def children(harness: OperatorHarness, name: str) -> list[str]:
    """Return what of a job may hold GPUs."""
    return [one["metadata"]["name"] for one in harness.made(job=name) if one["kind"] in ("Job", "RayJob", "Pod")]


def release(harness: OperatorHarness, *names: str) -> None:
    """Take the finalizers of others from jobs."""
    for name in names:
        harness.api.patch(JOBS, name, {"metadata": {"finalizers": None}}, namespace=harness.namespaces[0])
        wait_for(lambda name=name: harness.job(name) is None, what=f"{name} is gone")


def test_p3_p10_a_finalizer_holds_a_job_and_no_gpus_and_orphans_continue(
    harness: OperatorHarness, operator: str
) -> None:
    work(harness, *HELD, *ORPHANED)
    for name, finalizers in {**dict.fromkeys(HELD, (FOREIGN,)), **ORPHANED}.items():
        patch = {"metadata": {"finalizers": list(finalizers)}}
        harness.api.patch(JOBS, name, patch, namespace=harness.namespaces[0])
    if operator == "down":
        harness.stop()
    for name, propagation in {**HELD, **dict.fromkeys(ORPHANED, "Orphan")}.items():
        harness.api.delete(JOBS, name, namespace=harness.namespaces[0], propagation=propagation)
    wait_for(lambda: harness.job("at-generate-orphan") is None, what="its children are orphans")
    if operator == "down":
        harness.start()
    for name in HELD:
        harness.becomes(name, "Deleting", seconds=LOOK_SECONDS)
        wait_for(lambda name=name: not children(harness, name), what=f"{name} holds nothing", seconds=2 * LOOK_SECONDS)
        wait_for(
            lambda name=name: FOREIGN in harness.status(name)["message"], what=f"{name} says why it is still there"
        )
        assert harness.stage(name, "Generate")["state"] == "Pending", "its attempt is accounted for"
    harness.becomes("at-generate-both", "Generating")
    release(harness, *HELD, "at-generate-both")
    harness.settle()
    for name in ORPHANED:
        found = harness.made(job=name)
        assert [one for one in found if one["kind"] == "RayJob" and "deletionTimestamp" not in one["metadata"]]
        assert not [one for one in found if "stop" in one.get("data", {})], "nobody asks its driver to leave"
    for one in harness.made():
        harness.api.delete(kind_of(one), one["metadata"]["name"], namespace=harness.namespaces[0])
    gone(harness)


def test_permissions_of_an_attempt_are_deleted_with_its_child(
    harness: OperatorHarness, api: Api, tmp_path: Path
) -> None:
    name, namespace = "at-train-alone", harness.namespaces[0]
    harness.submit(name, childRetentionSeconds=0)
    wait_for(lambda: harness.stage(name, "Train").get("state") == "Running", what="it trains", seconds=LOOK_SECONDS)
    train = harness.stage(name, "Train")["child"]

    def given() -> set[tuple[str, str]]:
        found = [one for one in harness.made(job=name) if one["kind"] in ("Role", "RoleBinding") or told(one)]
        return {(one["kind"], one["metadata"]["name"]) for one in found}

    own = {("Role", train), ("RoleBinding", train), ("ConfigMap", train)}
    wait_for(lambda: given() == own, what="only Train's are left", seconds=LOOK_SECONDS)
    (binding,) = [one for one in harness.made(job=name) if one["kind"] == "RoleBinding"]
    account = binding["subjects"][0]["name"]
    with Api(account_kubeconfig(api, account, namespace=namespace, file=tmp_path / "driver")) as driver:
        driver.patch("v1/ConfigMap", f"{train}-out", {"data": {"seen": "yes"}}, namespace=namespace)
        for stage in ("Prepare", "Generate", "Curate"):
            channel = f"{harness.stage(name, stage)['child']}-out"
            assert api.get("v1/ConfigMap", channel, namespace=namespace) is not None, "it stays with the job"
            with pytest.raises(Refused) as refused:
                driver.patch("v1/ConfigMap", channel, {"data": {"owner": "me"}}, namespace=namespace)
            assert refused.value.code == 403
    harness.api.delete(JOBS, name, namespace=namespace)
    gone(harness)


def told(one: dict[str, Any]) -> bool:
    return "job.json" in (one.get("data") or {})


def kind_of(one: dict[str, Any]) -> str:
    return f"{one['apiVersion']}/{one['kind']}"


@pytest.mark.parametrize("propagation", ["Background", "Foreground"])
def test_p3_a_job_that_is_deleted_and_applied_again_at_once_is_a_new_job(
    harness: OperatorHarness, propagation: str
) -> None:
    name = f"at-generate-again-{propagation.lower()}"
    work(harness, name)
    old = (harness.job(name) or {})["metadata"]["uid"]
    harness.api.delete(JOBS, name, namespace=harness.namespaces[0], propagation=propagation)
    again(harness, name)
    new = (harness.job(name) or {})["metadata"]["uid"]
    assert new != old
    wait_for(
        lambda: harness.stage(name, "Generate").get("state") == "Running",
        what="the new one generates",
        seconds=LOOK_SECONDS,
    )
    wait_for(lambda: owners(harness, name) == {new}, what="what the old one made has gone", seconds=LOOK_SECONDS)
    assert harness.stage(name, "Generate")["attempt"] == 1
    harness.api.delete(JOBS, name, namespace=harness.namespaces[0])
    gone(harness)


def again(harness: OperatorHarness, name: str) -> None:
    """Create a job as soon as its name is free; deleted in the foreground it is there for another moment."""

    def create() -> bool:
        try:
            harness.api.create(small_job(name), namespace=harness.namespaces[0])
        except Refused as error:
            if error.reason != "AlreadyExists":
                raise
            return False
        return True

    wait_for(create, what="the name is free")


def owners(harness: OperatorHarness, name: str) -> set[str]:
    """Return the uids of the jobs that own what is labeled with a job's name."""
    return {one["metadata"]["labels"]["kubedistill.io/job-uid"] for one in harness.made(job=name)}


def test_p3_a_namespace_with_jobs_in_every_phase_is_deleted_without_help(harness: OperatorHarness) -> None:
    crd = harness.api.get(CRD, "distillationjobs.kubedistill.io")
    assert crd is not None
    column = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"]["properties"]["phase"]
    held = {"Deleting"}  # whose finalizer holds the namespace too
    assert set(PHASES.values()) == set(column["enum"]) - {""} - held, "no phase is left out"
    spaces = {"up": harness.namespaces[1], "down": harness.namespaces[2]}
    for namespace in spaces.values():
        for name in PHASES:
            harness.submit(name, namespace=namespace, **SPECS.get(name, {}))
    for namespace in spaces.values():
        for name, phase in PHASES.items():
            harness.becomes(name, phase, namespace=namespace, seconds=2 * LOOK_SECONDS)
    vanish(harness, spaces["up"])
    harness.stop()
    vanish(harness, spaces["down"])


def vanish(harness: OperatorHarness, namespace: str) -> None:
    harness.api.delete("v1/Namespace", namespace)
    wait_for(
        lambda: harness.api.get("v1/Namespace", namespace) is None, what=f"{namespace} is gone", seconds=LOOK_SECONDS
    )
