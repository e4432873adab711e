"""A job that is deleted leaves nothing in the cluster, and never keeps its namespace, be the operator up or down.

Rows P3 and P10 of docs/behaviour.md.
"""

import secrets
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from cluster_setup import account_kubeconfig
from kube_api import Api, Refused, wait_for
from operator_desk import JOBS, LOOK_SECONDS, Desk, open_desk, small_job
from player.background import playing
from player.scenarios import WORKING, Scenario, choose, step

CRD = "apiextensions.k8s.io/v1/CustomResourceDefinition"
QUIET_SECONDS = 4.0
"""Long enough for an operator to make something that it should not."""
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
def desk(
    api: Api, kubeconfig: Path, operator_kubeconfig: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Desk]:
    names = [f"test-{secrets.token_hex(4)}" for _ in range(3)]
    with ExitStack() as stack:
        desk = stack.enter_context(open_desk(api, operator_kubeconfig, tmp_path_factory.mktemp("operator"), *names))
        for name in names:
            stack.enter_context(playing(kubeconfig, namespace=name, scale=0.02, choose=hold))
        yield desk


@pytest.fixture(params=["up", "down"])
def operator(request: pytest.FixtureRequest, desk: Desk) -> Iterator[str]:
    """Whether the operator is up when something is deleted; it is up again afterwards."""
    if desk.operator is None:
        desk.start()
    yield request.param
    if desk.operator is None:
        desk.start()
        time.sleep(QUIET_SECONDS)
        desk.check()


def work(desk: Desk, *names: str) -> None:
    """Submit jobs, and wait until each has a finished child, a Ray cluster at work, and all that belongs to them."""
    for name in names:
        desk.submit(name)
    for name in names:
        wait_for(
            lambda name=name: desk.stage(name, "Generate").get("state") == "Running",
            what=f"{name} generates",
            seconds=LOOK_SECONDS,
        )
    for name in names:
        made = {one["kind"] for one in desk.made(job=name)}
        assert made >= {"ConfigMap", "ServiceAccount", "Role", "RoleBinding", "Job", "RayJob", "Pod"}, made


def left(desk: Desk, *, namespace: str = "") -> list[str]:
    return [f"{one['kind']} {one['metadata']['name']}" for one in desk.made(namespace=namespace)]


def gone(desk: Desk) -> None:
    """Wait until nothing is left, and see that nothing comes back."""
    wait_for(lambda: not left(desk), what="the garbage collector has taken all", seconds=LOOK_SECONDS)
    time.sleep(QUIET_SECONDS)
    assert left(desk) == []
    assert desk.api.list(JOBS, namespace=desk.namespaces[0]) == []


def test_p3_a_deleted_job_leaves_nothing(desk: Desk, operator: str) -> None:
    ways = {"at-generate-background": "Background", "at-generate-foreground": "Foreground"}
    work(desk, *ways)
    if operator == "down":
        desk.stop()
    for name, propagation in ways.items():
        desk.api.delete(JOBS, name, namespace=desk.namespaces[0], propagation=propagation)
    gone(desk)


FOREIGN = "example.com/block"
HELD = {"at-generate-held": "Background", "at-generate-front": "Foreground"}
ORPHANED = {"at-generate-orphan": (), "at-generate-both": (FOREIGN,)}


def children(desk: Desk, name: str) -> list[str]:
    """What of a job may hold GPUs."""
    return [one["metadata"]["name"] for one in desk.made(job=name) if one["kind"] in ("Job", "RayJob", "Pod")]


def release(desk: Desk, *names: str) -> None:
    """Take the finalizers of others from jobs."""
    for name in names:
        desk.api.patch(JOBS, name, {"metadata": {"finalizers": None}}, namespace=desk.namespaces[0])
        wait_for(lambda name=name: desk.job(name) is None, what=f"{name} is gone")


def test_p3_p10_a_finalizer_holds_a_job_and_no_gpus_and_orphans_go_on(desk: Desk, operator: str) -> None:
    work(desk, *HELD, *ORPHANED)
    for name, finalizers in {**dict.fromkeys(HELD, (FOREIGN,)), **ORPHANED}.items():
        patch = {"metadata": {"finalizers": list(finalizers)}}
        desk.api.patch(JOBS, name, patch, namespace=desk.namespaces[0])
    if operator == "down":
        desk.stop()
    for name, propagation in {**HELD, **dict.fromkeys(ORPHANED, "Orphan")}.items():
        desk.api.delete(JOBS, name, namespace=desk.namespaces[0], propagation=propagation)
    wait_for(lambda: desk.job("at-generate-orphan") is None, what="its children are orphans")
    if operator == "down":
        desk.start()
    for name in HELD:
        desk.becomes(name, "Deleting", seconds=LOOK_SECONDS)
        wait_for(lambda name=name: not children(desk, name), what=f"{name} holds nothing", seconds=2 * LOOK_SECONDS)
        wait_for(lambda name=name: FOREIGN in desk.status(name)["message"], what=f"{name} says why it is still there")
        assert desk.stage(name, "Generate")["state"] == "Pending", "its attempt is accounted for"
    desk.becomes("at-generate-both", "Generating")
    release(desk, *HELD, "at-generate-both")
    time.sleep(QUIET_SECONDS)
    for name in ORPHANED:
        found = desk.made(job=name)
        assert [one for one in found if one["kind"] == "RayJob" and "deletionTimestamp" not in one["metadata"]]
        assert not [one for one in found if "stop" in one.get("data", {})], "nobody asks its driver to leave"
    for one in desk.made():
        desk.api.delete(kind_of(one), one["metadata"]["name"], namespace=desk.namespaces[0])
    gone(desk)


def test_what_an_attempt_was_given_goes_with_its_child_and_no_driver_keeps_a_right(
    desk: Desk, api: Api, tmp_path: Path
) -> None:
    name, namespace = "at-train-alone", desk.namespaces[0]
    desk.submit(name, childRetentionSeconds=0)
    wait_for(lambda: desk.stage(name, "Train").get("state") == "Running", what="it trains", seconds=LOOK_SECONDS)
    train = desk.stage(name, "Train")["child"]

    def given() -> set[tuple[str, str]]:
        found = [one for one in desk.made(job=name) if one["kind"] in ("Role", "RoleBinding") or told(one)]
        return {(one["kind"], one["metadata"]["name"]) for one in found}

    own = {("Role", train), ("RoleBinding", train), ("ConfigMap", train)}
    wait_for(lambda: given() == own, what="only Train's are left", seconds=LOOK_SECONDS)
    (binding,) = [one for one in desk.made(job=name) if one["kind"] == "RoleBinding"]
    account = binding["subjects"][0]["name"]
    with Api(account_kubeconfig(api, account, namespace=namespace, file=tmp_path / "driver")) as driver:
        driver.patch("v1/ConfigMap", f"{train}-out", {"data": {"seen": "yes"}}, namespace=namespace)
        for stage in ("Prepare", "Generate", "Curate"):
            channel = f"{desk.stage(name, stage)['child']}-out"
            assert api.get("v1/ConfigMap", channel, namespace=namespace) is not None, "it stays with the job"
            with pytest.raises(Refused) as refused:
                driver.patch("v1/ConfigMap", channel, {"data": {"owner": "me"}}, namespace=namespace)
            assert refused.value.code == 403
    desk.api.delete(JOBS, name, namespace=namespace)
    gone(desk)


def told(one: dict[str, Any]) -> bool:
    return "job.json" in (one.get("data") or {})


def kind_of(one: dict[str, Any]) -> str:
    return f"{one['apiVersion']}/{one['kind']}"


@pytest.mark.parametrize("propagation", ["Background", "Foreground"])
def test_p3_a_job_that_is_deleted_and_applied_again_at_once_is_a_new_job(desk: Desk, propagation: str) -> None:
    name = f"at-generate-again-{propagation.lower()}"
    work(desk, name)
    old = (desk.job(name) or {})["metadata"]["uid"]
    desk.api.delete(JOBS, name, namespace=desk.namespaces[0], propagation=propagation)
    again(desk, name)
    new = (desk.job(name) or {})["metadata"]["uid"]
    assert new != old
    wait_for(
        lambda: desk.stage(name, "Generate").get("state") == "Running",
        what="the new one generates",
        seconds=LOOK_SECONDS,
    )
    wait_for(lambda: owners(desk, name) == {new}, what="what the old one made has gone", seconds=LOOK_SECONDS)
    assert desk.stage(name, "Generate")["attempt"] == 1
    desk.api.delete(JOBS, name, namespace=desk.namespaces[0])
    gone(desk)


def again(desk: Desk, name: str) -> None:
    """Create a job as soon as its name is free; deleted in the foreground it is there for another moment."""

    def create() -> bool:
        try:
            desk.api.create(small_job(name), namespace=desk.namespaces[0])
        except Refused as error:
            if error.reason != "AlreadyExists":
                raise
            return False
        return True

    wait_for(create, what="the name is free")


def owners(desk: Desk, name: str) -> set[str]:
    """The uids of the jobs that own what is labelled by a job's name."""
    return {one["metadata"]["labels"]["kubedistill.io/job-uid"] for one in desk.made(job=name)}


def test_p3_a_namespace_with_jobs_in_every_phase_is_deleted_without_help(desk: Desk) -> None:
    crd = desk.api.get(CRD, "distillationjobs.kubedistill.io")
    assert crd is not None
    column = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"]["properties"]["phase"]
    held = {"Deleting"}  # whose finalizer holds the namespace too
    assert set(PHASES.values()) == set(column["enum"]) - {""} - held, "no phase is left out"
    spaces = {"up": desk.namespaces[1], "down": desk.namespaces[2]}
    for namespace in spaces.values():
        for name in PHASES:
            desk.submit(name, namespace=namespace, **SPECS.get(name, {}))
    for namespace in spaces.values():
        for name, phase in PHASES.items():
            desk.becomes(name, phase, namespace=namespace, seconds=2 * LOOK_SECONDS)
    vanish(desk, spaces["up"])
    desk.stop()
    vanish(desk, spaces["down"])


def vanish(desk: Desk, namespace: str) -> None:
    desk.api.delete("v1/Namespace", namespace)
    wait_for(lambda: desk.api.get("v1/Namespace", namespace) is None, what=f"{namespace} is gone", seconds=LOOK_SECONDS)
