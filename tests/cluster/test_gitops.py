"""Argo CD on a real API server: no difference to Git that nobody made, actions that do what they say, reverts that
start nothing.
"""

import copy
import json
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from ruamel.yaml import YAML

from support.fake_kuberay.background import playing
from support.kube_api import Api, Manifest, wait_for
from support.lua_interpreter import Interpreter, interpreter
from support.operator_harness import JOBS, LOOK_SECONDS, OperatorHarness, open_harness, small_job

ROOT = Path(__file__).parents[2]
SCRIPTS = ROOT / "deploy" / "argocd"
MANIFESTS = sorted(ROOT.glob("examples/*/job.yaml")) + sorted(ROOT.glob("api/kubedistill/cli/starters/*.yaml"))
APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
TRACKING = {"argocd.argoproj.io/tracking-id": "jobs:kubedistill.io/DistillationJob:ml/a"}
RERUN, CANCEL = "kubedistill.io/rerun", "kubedistill.io/cancel"


@pytest.fixture(scope="module")
def argo() -> Iterator[Interpreter]:
    with interpreter() as running:
        yield running


@pytest.fixture(scope="module")
def harness(
    api: Api, kubeconfig: Path, operator_kubeconfig: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[OperatorHarness]:
    name, folder = f"test-{secrets.token_hex(4)}", tmp_path_factory.mktemp("operator")
    with (
        open_harness(api, operator_kubeconfig, folder, name) as harness,
        playing(kubeconfig, namespace=name, scale=0.02),
    ):
        yield harness


class Git:
    """A manifest in Git, and how Argo CD compares and applies it: as kubectl does, or on the server."""

    def __init__(self, api: Api, namespace: str, manifest: Manifest) -> None:
        self.api, self.namespace = api, namespace
        self.manifest = copy.deepcopy(manifest)
        annotations = self.manifest["metadata"].setdefault("annotations", {})
        self.manifest["metadata"]["annotations"] = annotations | TRACKING

    @property
    def name(self) -> str:
        return str(self.manifest["metadata"]["name"])

    @property
    def live(self) -> Manifest:
        found = self.api.get(JOBS, self.name, namespace=self.namespace)
        assert found is not None
        return found

    def create(self) -> None:
        marked = copy.deepcopy(self.manifest)
        marked["metadata"]["annotations"][APPLIED] = json.dumps(self.manifest)
        self.api.create(marked, namespace=self.namespace)

    def difference(self) -> dict[str, Any]:
        """Return the patch by which Argo CD finds an application out of sync; empty where it is in sync."""
        live = self.live
        applied = json.loads((live["metadata"].get("annotations") or {}).get(APPLIED, "{}"))
        return merge_patch(applied, self.manifest, live)

    def difference_on_the_server(self) -> dict[str, Any]:
        """Return the same with ServerSideDiff: what a dry run of the apply would change."""
        live = self.live
        after = self.api.apply(self.manifest, namespace=self.namespace, manager="argocd-controller", dry_run=True)
        parts = ("spec", "metadata")
        before, after = ({part: without_books(one[part]) for part in parts} for one in (live, after))
        return {} if before == after else {"before": before, "after": after}

    def heal(self) -> dict[str, Any]:
        """selfHeal: apply what Git says, where that is a difference; gives the difference."""
        if patch := self.difference():
            self.api.patch(JOBS, self.name, patch, namespace=self.namespace)
        return patch


def without_books(part: dict[str, Any]) -> dict[str, Any]:
    """Return an object without what the server keeps about who wrote it."""
    return {name: value for name, value in part.items() if name not in ("managedFields", "resourceVersion")}


def merge_patch(applied: Any, wanted: dict[str, Any], live: dict[str, Any]) -> dict[str, Any]:
    """Return a three-way patch: what is wanted and not so, and what was applied once and is wanted no more."""
    patch: dict[str, Any] = {name: None for name in applied if name not in wanted and name in live}
    for name, value in wanted.items():
        there = live.get(name)
        if isinstance(value, dict) and isinstance(there, dict):
            before = applied.get(name)
            inner = merge_patch(before if isinstance(before, dict) else {}, value, there)
            patch |= {name: inner} if inner else {}
        elif value != there:
            patch[name] = value
    return patch


def title(path: Path) -> str:
    return path.parent.name if path.name == "job.yaml" else path.stem


@pytest.mark.parametrize("path", MANIFESTS, ids=title)
def test_an_applied_manifest_is_not_a_difference_to_git(path: Path, api: Api, harness: OperatorHarness) -> None:
    manifest = YAML(typ="safe").load(path.read_text())
    manifest["metadata"] = {"name": f"seen-{secrets.token_hex(3)}"}
    manifest["spec"]["suspend"] = True
    git = Git(api, harness.namespaces[0], manifest)
    git.create()
    assert git.difference() == {}
    assert git.difference_on_the_server() == {}
    api.delete(JOBS, git.name, namespace=harness.namespaces[0])


@pytest.fixture
def finished(api: Api, harness: OperatorHarness) -> Callable[..., Git]:
    """Apply a job of the sort that succeeds, and wait until it has."""

    def apply(name: str, **spec: Any) -> Git:
        git = Git(api, harness.namespaces[0], small_job(name, **spec))
        git.create()
        harness.becomes(name, "Succeeded")
        return git

    return apply


def act(argo: Interpreter, harness: OperatorHarness, git: Git, action: str) -> None:
    """What a click on an action does."""
    live = git.live
    offered = argo.run((SCRIPTS / "actions" / "discovery.lua").read_text(), live)
    assert offered[action]["disabled"] is False
    after = argo.run((SCRIPTS / "actions" / f"{action}.lua").read_text(), live)
    wanted = {
        "metadata": {"annotations": after["metadata"]["annotations"]},
        "spec": {"suspend": after["spec"].get("suspend")},
    }
    was = {"metadata": {"annotations": live["metadata"]["annotations"]}}
    harness.api.patch(JOBS, git.name, merge_patch(was, wanted, live), namespace=git.namespace)


def health(argo: Interpreter, git: Git) -> str:
    return str(argo.run((SCRIPTS / "health.lua").read_text(), git.live)["status"])


def test_argo_cd_sees_no_difference_to_git_during_a_whole_job(
    harness: OperatorHarness, argo: Interpreter, finished: Callable[..., Git]
) -> None:
    git = finished("ok-life")
    assert health(argo, git) == "Healthy"
    assert argo.kstatus(git.live) == "Current"
    assert (git.difference(), git.difference_on_the_server()) == ({}, {})


def test_s9_an_action_runs_again_and_self_heal_leaves_it_alone(
    harness: OperatorHarness, argo: Interpreter, finished: Callable[..., Git]
) -> None:
    git = finished("ok-again")
    act(argo, harness, git, "rerun")
    token = git.live["metadata"]["annotations"][RERUN]
    run = f"rerun-{token}"
    wait_for(lambda: over_with(harness, git.name, run), what="the second run is over", seconds=LOOK_SECONDS)
    assert (git.heal(), git.difference_on_the_server()) == ({}, {}), (
        "an annotation that Git does not have is not a difference"
    )
    quiet(harness, git.name, run=run, starts=2)


@pytest.mark.parametrize("way", ["taken away", "replaced"])
def test_s9_a_rerun_that_is_taken_back_starts_nothing(
    way: str, harness: OperatorHarness, argo: Interpreter, finished: Callable[..., Git]
) -> None:
    git = finished(f"ok-{way.replace(' ', '-')}")
    act(argo, harness, git, "rerun")
    run = f"rerun-{git.live['metadata']['annotations'][RERUN]}"
    wait_for(lambda: over_with(harness, git.name, run), what="the second run is over", seconds=LOOK_SECONDS)
    if way == "replaced":  # Replace=true puts what Git has in the place of what is there
        path = f"/apis/kubedistill.io/v1alpha1/namespaces/{git.namespace}/distillationjobs/{git.name}"
        version = git.live["metadata"]["resourceVersion"]
        body = {**git.manifest, "metadata": {**git.manifest["metadata"], "resourceVersion": version}}
        harness.api.request("put", path, body=body)
    else:
        harness.api.patch(JOBS, git.name, {"metadata": {"annotations": {RERUN: None}}}, namespace=git.namespace)
    assert RERUN not in git.live["metadata"]["annotations"]
    quiet(harness, git.name, run=run, starts=2)


def test_s8_self_heal_takes_a_run_id_back_and_starts_nothing(
    harness: OperatorHarness, finished: Callable[..., Git]
) -> None:
    git = finished("ok-run-id", runID="first")
    harness.api.patch(JOBS, git.name, {"spec": {"runID": "second"}}, namespace=git.namespace)
    wait_for(lambda: over_with(harness, git.name, "second"), what="the second run is over", seconds=LOOK_SECONDS)
    assert git.heal() == {"spec": {"runID": "first"}}
    quiet(harness, git.name, run="second", starts=2)
    assert git.heal() == {}, "and it does so once"


def test_a_run_id_that_git_does_not_set_is_left_alone(harness: OperatorHarness, finished: Callable[..., Git]) -> None:
    git = finished("ok-no-run-id")
    harness.api.patch(JOBS, git.name, {"spec": {"runID": "second"}}, namespace=git.namespace)
    wait_for(lambda: over_with(harness, git.name, "second"), what="the second run is over", seconds=LOOK_SECONDS)
    assert (git.heal(), git.difference_on_the_server()) == ({}, {})
    quiet(harness, git.name, run="second", starts=2)


def test_p1_p2_suspending_by_an_action_holds_where_git_does_not_set_suspend(
    harness: OperatorHarness, argo: Interpreter, api: Api
) -> None:
    git = Git(api, harness.namespaces[0], small_job("slow-held"))
    git.create()
    wait_for(
        lambda: harness.stage(git.name, "Prepare").get("state") == "Running", what="it prepares", seconds=LOOK_SECONDS
    )
    act(argo, harness, git, "suspend")
    assert git.heal() == {}
    harness.becomes(git.name, "Suspended")
    assert (health(argo, git), argo.kstatus(git.live)) == ("Suspended", "Current")
    act(argo, harness, git, "resume")
    wait_for(lambda: harness.stage(git.name, "Prepare").get("attempt") == 2, what="it continues", seconds=LOOK_SECONDS)
    act(argo, harness, git, "cancel")
    harness.becomes(git.name, "Failed")
    assert (health(argo, git), argo.kstatus(git.live)) == ("Degraded", "Failed")
    assert git.heal() == {}


def test_self_heal_takes_suspend_back_where_git_sets_it(harness: OperatorHarness, argo: Interpreter, api: Api) -> None:
    git = Git(api, harness.namespaces[0], small_job("slow-set", suspend=False))
    git.create()
    harness.becomes(git.name, "Preparing")
    act(argo, harness, git, "suspend")
    assert git.heal() == {"spec": {"suspend": False}}


def test_objects_of_the_operator_belong_to_the_job_and_are_not_pruned(harness: OperatorHarness, api: Api) -> None:
    git = Git(api, harness.namespaces[0], small_job("slow-owned"))
    git.create()
    made = wait_for(
        lambda: made if len(made := harness.made(job=git.name)) > 4 else None, what="children", seconds=LOOK_SECONDS
    )
    assert not [one["metadata"]["name"] for one in made if not one["metadata"].get("ownerReferences")]


def test_the_patch_of_argocd_cm_leaves_other_settings_alone(api: Api, namespace: str) -> None:
    before = {"url": "https://argocd.example.com", "resource.customizations.health.batch_Job": "return {}"}
    there = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "argocd-cm"}, "data": before}
    api.create(there, namespace=namespace)
    patch = yaml.safe_load((SCRIPTS / "argocd-cm.yaml").read_text())
    after = api.patch("v1/ConfigMap", "argocd-cm", {"data": patch["data"]}, namespace=namespace)
    assert after["data"] == before | patch["data"]


def over_with(harness: OperatorHarness, name: str, run: str) -> bool:
    status = harness.status(name)
    return (status.get("phase"), (status.get("run") or {}).get("id")) == ("Succeeded", run)


def quiet(harness: OperatorHarness, name: str, *, run: str, starts: int) -> None:
    """Assert that no other run begins."""
    harness.settle()
    assert over_with(harness, name, run)
    assert harness.events(name).count("RunStarted") == starts
