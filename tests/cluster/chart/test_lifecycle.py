"""A release from install to uninstall: what stands, what is taken away, and what jobs notice of it."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from support.chart_release import Release
from support.fake_kuberay.background import playing
from support.helm import HelmFailed
from support.kube_api import Api, Manifest, Refused, wait_for
from support.messages import check_facts
from support.operator_harness import claim, small_job

JOBS, CRDS = "kubedistill.io/v1alpha1/DistillationJob", "apiextensions.k8s.io/v1/CustomResourceDefinition"
OURS = "distillationjobs.kubedistill.io"
LEASES = "coordination.k8s.io/v1/Lease"
ROLES = "rbac.authorization.k8s.io/v1/Role"
NAMESPACED = ("apps/v1/Deployment", "v1/ConfigMap", "v1/ServiceAccount", "v1/Service", ROLES)
SETTINGS: dict[str, Any] = {
    "pools": {"gpu": {"nodeSelector": {"kind": "gpu"}}}, "storage": {"volumeClaim": "shared"},
}  # fmt: skip


def gpu_job(name: str) -> Manifest:
    """Return a job that asks for a pool."""
    teacher = {"name": "main", "model": {"source": "teacher"}, "resources": {"pool": "gpu"}}
    return small_job(name, teachers=[teacher], student={"model": {"source": "student"}, "resources": {"pool": "gpu"}})


def status_of(api: Api, name: str, *, namespace: str) -> Manifest:
    return (api.get(JOBS, name, namespace=namespace) or {}).get("status") or {}


def phase_of(api: Api, name: str, *, namespace: str) -> str:
    return str(status_of(api, name, namespace=namespace).get("phase", ""))


def left_of(release: Release) -> list[str]:
    """Return what Helm has of a release in its namespace."""
    labels = {"app.kubernetes.io/managed-by": "Helm", "app.kubernetes.io/instance": release.name}
    return [
        f"{kind} {one['metadata']['name']}"
        for kind in NAMESPACED
        for one in release.api.list(kind, namespace=release.namespace, labels=labels)
    ]


@pytest.fixture
def release(new_release: Callable[..., Release]) -> Release:
    return new_release()


@pytest.fixture
def place(api: Api, namespace: str) -> str:
    """Return a namespace with a claim."""
    api.create(claim("shared"), namespace=namespace)
    return namespace


@pytest.fixture
def played(kubeconfig: Path, place: str) -> Iterator[None]:
    with playing(kubeconfig, namespace=place, scale=0.02):
        yield


def test_install_says_what_to_do_next(release: Release, place: str) -> None:
    said = release.install({"watchNamespaces": [place]})
    assert f"kubectl --namespace {release.namespace} rollout status deployment/{release.operator}\n" in said
    assert f"kubectl apply --namespace {place} -f job.yaml\n" in said
    assert "Jobs can't ask for GPUs yet" in said
    assert "Jobs must name their storage" in said
    assert "KubeRay" not in said, "its CRDs are there"
    quiet = release.upgrade(SETTINGS)
    assert "GPUs yet" not in quiet
    assert "must name" not in quiet
    assert "watches all namespaces" in quiet


def test_upgrade_leaves_jobs_in_flight_alone(
    api: Api, release: Release, place: str, kubeconfig: Path, tmp_path: Path
) -> None:
    settings = {**SETTINGS, "watchNamespaces": [place]}
    release.install(settings)
    api.create(gpu_job("ok-1"), namespace=place)
    with playing(kubeconfig, namespace=place, scale=0.2):
        with release.replica(tmp_path, name="before"):
            wait_for(lambda: phase_of(api, "ok-1", namespace=place) == "Generating", what="it generates", seconds=240)
            release.upgrade({**settings, "pools": {"gpu": {"nodeSelector": {"kind": "new"}}}, "resyncSeconds": 60})
            assert release.deployment()["metadata"]["generation"] > 1, "a Deployment controller would roll it"
        with release.replica(tmp_path, name="after"):
            wait_for(
                lambda: phase_of(api, "ok-1", namespace=place) in ("Succeeded", "Failed"), what="it ends", seconds=300
            )
    status = status_of(api, "ok-1", namespace=place)
    assert status["phase"] == "Succeeded", status
    assert [stage["attempt"] for stage in status["stages"]] == [1] * len(status["stages"]), "nothing ran twice"
    frozen = [one for one in api.list("v1/ConfigMap", namespace=place) if "-run-" in one["metadata"]["name"]]
    assert '"kind":"gpu"' in str(frozen[0]["data"]).replace(" ", ""), "the run keeps the pools that it began with"


def test_uninstall_leaves_the_kind_and_the_jobs(api: Api, release: Release, place: str) -> None:
    release.install({"watchNamespaces": [place]}, "--take-ownership", crds={"install": True})
    crd = api.get(CRDS, OURS)
    assert crd
    assert crd["metadata"]["annotations"]["meta.helm.sh/release-name"] == release.name
    api.create(gpu_job("stays"), namespace=place)
    said = release.uninstall()
    assert f"[CustomResourceDefinition] {OURS}" in said
    assert left_of(release) == []
    assert api.get(ROLES, f"{release.namespace}.team-kubedistill-operator", namespace=place) is None
    after = api.get(CRDS, OURS)
    assert after
    assert after["metadata"]["uid"] == crd["metadata"]["uid"]
    assert api.get(JOBS, "stays", namespace=place)


def test_two_releases_do_not_clash(
    api: Api, new_release: Callable[..., Release], new_namespace: Callable[[], str], kubeconfig: Path, tmp_path: Path
) -> None:
    """Two in one namespace and one of the same name in another, each for a team: each does its own team's jobs."""
    one = new_release("one")
    releases = [one, new_release("two", namespace=one.namespace), new_release("one")]
    teams = [new_namespace() for _ in releases]
    for release, team in zip(releases, teams, strict=True):
        release.install(
            {**SETTINGS, "watchNamespaces": [team]},
            networkPolicy={"enabled": True, "jobNamespaces": [team], "kuberayNamespaces": ["kuberay"]},
        )
        api.create(claim("shared"), namespace=team)
        api.create(gpu_job("ok-1"), namespace=team)
    first, second, third = (tmp_path / str(index) for index in range(3))
    for folder in (first, second, third):
        folder.mkdir()
    with releases[0].replica(first) as a, releases[1].replica(second) as b, releases[2].replica(third) as c:
        for replica in (a, b, c):
            wait_for(replica.leads, what="each leads", seconds=120)
        for team in teams:
            wait_for(lambda team=team: phase_of(api, "ok-1", namespace=team), what="its job is seen", seconds=120)
        for replica, team in zip((a, b, c), teams, strict=True):
            seen = {dict(labels)["namespace"] for name, labels in replica.metrics() if name == "distillation_job_info"}
            assert seen == {team}
    leases = [one["metadata"]["name"] for one in api.list(LEASES, namespace=one.namespace)]
    assert sorted(leases) == ["one-kubedistill-operator", "two-kubedistill-operator"]


def test_a_second_release_is_told_that_the_kind_is_there(new_release: Callable[..., Release]) -> None:
    first, second = new_release("first"), new_release("second")
    first.install({}, "--take-ownership", crds={"install": True})
    with pytest.raises(HelmFailed) as caught:
        second.install({}, crds={"install": True})
    assert f'CustomResourceDefinition "{OURS}" in namespace "" exists and cannot be imported' in str(caught.value)
    assert 'current value is "first"' in str(caught.value)
    second.install({})


def test_wrong_settings_change_no_running_release(release: Release) -> None:
    release.install({})
    before = release.deployment()
    with pytest.raises(HelmFailed, match=r"at '/settings/resyncSeconds': minimum: got 0, want 1"):
        release.upgrade({"resyncSeconds": 0})
    assert release.deployment()["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"]


def test_an_upgrade_without_news_writes_nothing(release: Release) -> None:
    release.install(SETTINGS)
    before = release.deployment()
    release.upgrade(SETTINGS)
    assert release.deployment()["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"]


@pytest.mark.parametrize("healthy", [True, False])
def test_helm_test_asks_a_replica_whether_it_is_ready(
    api: Api, release: Release, place: str, tmp_path: Path, healthy: bool
) -> None:
    release.install({"watchNamespaces": [place]})
    if healthy:
        with release.replica(tmp_path) as replica:
            wait_for(lambda: replica.probe("/readyz") == 200, what="it is ready", seconds=60)
            code, said = helm_test(api, release)
    else:
        code, said = helm_test(api, release)
    assert (code, "Succeeded" in said) == ((0, True) if healthy else (1, False)), said
    assert f"TEST SUITE:     {release.name}-kubedistill-test" in said


def helm_test(api: Api, release: Release) -> tuple[int, str]:
    """Run `helm test`, and its pod's command here, as a node would."""
    name = f"{release.name}-kubedistill-test"
    running = release.helm.start("test", release.name, "--namespace", release.namespace, "--timeout", "120s")
    pod = wait_for(lambda: api.get("v1/Pod", name, namespace=release.namespace), what="the test's pod is there")
    (container,) = pod["spec"]["containers"]
    *program, url = [*container["command"], *container["args"]]
    assert url == f"http://{release.operator}.{release.namespace}:{release.port}/readyz"
    here = [sys.executable, *program[1:], f"http://127.0.0.1:{release.port}/readyz"]
    done = subprocess.run(here, capture_output=True, check=False)
    ended = {"status": {"phase": "Failed" if done.returncode else "Succeeded"}}
    api.patch("v1/Pod", name, ended, namespace=release.namespace, subresource="status")
    said, _ = running.communicate(timeout=120)
    return running.returncode, said


def test_a_replica_answers_its_probes_and_holds_the_lease_of_its_release(
    release: Release, place: str, tmp_path: Path
) -> None:
    release.install({"watchNamespaces": [place]}, replicas=2)
    (container,) = release.deployment()["spec"]["template"]["spec"]["containers"]
    paths = [container[probe]["httpGet"]["path"] for probe in ("livenessProbe", "readinessProbe")]
    with release.replica(tmp_path) as replica:
        wait_for(replica.leads, what="it leads", seconds=120)
        wait_for(lambda: {replica.probe(path) for path in paths} == {200}, what="it is live and ready", seconds=60)
        lease = release.api.get(LEASES, release.operator, namespace=release.namespace)
        assert lease
        assert lease["spec"]["holderIdentity"]
    given_back = release.api.get(LEASES, release.operator, namespace=release.namespace)
    assert given_back
    assert not given_back["spec"].get("holderIdentity")


def test_account_policy_limits_which_accounts_a_job_may_name(
    api: Api, new_release: Callable[..., Release], place: str, namespace: str
) -> None:
    release = new_release()
    policy = {"enabled": True, "allowed": ["bucket-reader"]}
    release.install({"watchNamespaces": [place]}, serviceAccountPolicy=policy)

    def job(name: str, account: str | None) -> Manifest:
        made = gpu_job(name)
        if account:
            made["spec"]["pods"] = {"serviceAccountName": account}
        return made

    def refused() -> str:
        try:
            api.create(job("theirs", "admin"), namespace=place, dry_run=True)
        except Refused as error:
            return str(error)
        return ""

    # The server notices a new policy some moments later.
    said = wait_for(refused, what="the policy is in force", seconds=60)
    check_facts(said, "spec.pods.serviceAccountName", "admin", "bucket-reader")
    api.create(job("own", None), namespace=place)
    api.create(job("allowed", "bucket-reader"), namespace=place)
    with pytest.raises(Refused, match=r"spec\.pods\.serviceAccountName"):
        api.patch(JOBS, "allowed", {"spec": {"pods": {"serviceAccountName": "admin"}}}, namespace=place)
    release.upgrade({"watchNamespaces": [place]}, serviceAccountPolicy={"enabled": True, "allowed": ["other"]})
    wait_for(
        lambda: not _may_create(api, job("new", "bucket-reader"), place), what="the new list is in force", seconds=60
    )
    suspended = api.patch(JOBS, "allowed", {"spec": {"suspend": True}}, namespace=place)
    assert suspended["spec"]["suspend"] is True, "a job that was let in may still be suspended"


def test_account_policy_ends_at_the_watched_namespaces(
    api: Api, new_release: Callable[..., Release], new_namespace: Callable[[], str]
) -> None:
    mine, theirs = new_namespace(), new_namespace()
    new_release().install({"watchNamespaces": [mine]}, serviceAccountPolicy={"enabled": True})
    job = gpu_job("named")
    job["spec"]["pods"] = {"serviceAccountName": "any"}
    wait_for(lambda: not _may_create(api, job, mine), what="the policy is in force", seconds=60)
    assert _may_create(api, job, theirs)


def _may_create(api: Api, job: Manifest, namespace: str) -> bool:
    try:
        api.create(job, namespace=namespace, dry_run=True)
    except Refused:
        return False
    return True
