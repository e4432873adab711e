"""What a tenant decides by a job alone, and what it gains by a right of its namespace: T1, T9, T13, D1, D3 and D4.

Rows of docs/security.md, each as a tenant with exactly the rights that it names.
"""

import json
import secrets
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from kubedistill.manifest.settings import Images
from kubedistill_operator import names
from support.fake_kuberay.background import playing
from support.fake_kuberay.scenarios import ANY, OK, START, Scenario, choose, step
from support.forged_configmaps import POOLS
from support.kube_api import Api, Manifest, Refused, wait_for
from support.operator_harness import LOOK_SECONDS, OperatorHarness, open_harness, small_job
from support.tenants import JOB_RIGHTS, Tenants, may, open_tenants

RAYJOBS, BATCH, MAPS, PODS = "ray.io/v1/RayJob", "batch/v1/Job", "v1/ConfigMap", "v1/Pod"
CANARY, BOT = "hf_canary", "admin-bot"
LONG = Scenario(
    "long", "", {("Generate", 1): (*START, step("Result", after=60_000, outcome="Succeeded")), (ANY, 0): OK}
)
"""A first Generate that lasts until tests interrupt it."""


@pytest.fixture(scope="module")
def harness(
    api: Api, kubeconfig: Path, operator_kubeconfig: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[OperatorHarness]:
    """Yield an operator over the tenant's namespace and over somebody else's, in which jobs with the same work run."""
    spaces = [f"test-{secrets.token_hex(4)}" for _ in range(2)]
    folder = tmp_path_factory.mktemp("operator")
    with open_harness(api, operator_kubeconfig, folder, *spaces, pools=POOLS) as harness, ExitStack() as players:
        for space in spaces:
            players.enter_context(playing(kubeconfig, namespace=space, scale=0.02, choose=plays))
        yield harness


@pytest.fixture(scope="module")
def tenants(harness: OperatorHarness, account_kubeconfig: Callable[..., Path]) -> Iterator[Tenants]:
    with open_tenants(harness.api, harness.namespaces[0], account_kubeconfig) as make:
        yield make


@pytest.fixture(scope="module")
def jobs(harness: OperatorHarness, tenants: Tenants) -> dict[str, Manifest]:
    """Return what a tenant has made who may write jobs and nothing else; all of it runs at once."""
    where, elsewhere = harness.namespaces
    make_account(harness, BOT, namespace=where)
    make_account(harness, "their-bot", namespace=elsewhere)
    token = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "hub"}, "stringData": {"HF_TOKEN": CANARY}}
    harness.api.create(token, namespace=where)
    eve = tenants({"distillationjobs.kubedistill.io": "create get patch update"})
    theirs = {"kubedistill.io/job": "theirs", "kubedistill.io/job-uid": "theirs"}
    specs: dict[str, dict[str, Any]] = {
        "ok-own": {"storage": their_folder(elsewhere), "pods": {"envFromSecrets": ["hub"]}},
        "ok-bot": {"pods": {"serviceAccountName": BOT}},
        "ok-their-bot": {"pods": {"serviceAccountName": "their-bot"}},
        "ok-closed": {"teachers": [on_pool("h200")]},
        "ok-labels": {"pods": {"labels": {"kubedistill.io/job": "theirs"}}},
        "long-1": {},
        "long-2": {},
    }
    made = {
        name: eve.create(small_job(name, metadata={"labels": theirs, "annotations": theirs}, **spec), namespace=where)
        for name, spec in specs.items()
    }
    harness.submit("ok-own", namespace=elsewhere, storage=their_folder(elsewhere))
    return made


def make_account(harness: OperatorHarness, name: str, *, namespace: str) -> None:
    harness.api.create({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}}, namespace=namespace)


def their_folder(namespace: str) -> dict[str, str]:
    """Return the folder of another namespace on a volume that both might mount."""
    return {"volumeClaim": "shared", "uri": f"file:///kubedistill/storage/{namespace}"}


def on_pool(pool: str) -> dict[str, Any]:
    return {"name": "main", "model": {"source": "teacher"}, "resources": {"pool": pool}}


def plays(job: str) -> Scenario:
    return LONG if job.startswith("long-") else choose(job)


def pods_of(harness: OperatorHarness, job: str) -> list[Manifest]:
    """Return every pod that was made of a job, by the templates of its children too."""
    found = harness.made(job=job, kinds=(PODS,))
    templates = [one["spec"]["template"] for one in harness.made(job=job, kinds=(BATCH,))]
    for one in harness.made(job=job, kinds=(RAYJOBS,)):
        cluster = one["spec"]["rayClusterSpec"]
        templates += [group["template"] for group in (cluster["headGroupSpec"], *cluster.get("workerGroupSpecs", ()))]
    return [*found, *templates]


def generates(harness: OperatorHarness, job: str) -> str:
    """Return the child of a Generate that has just begun to work."""
    wait_for(lambda: harness.stage(job, "Generate").get("state") == "Running", what=f"{job} generates", seconds=60)
    return str(harness.stage(job, "Generate")["child"])


def restarts(harness: OperatorHarness, job: str) -> dict[str, int]:
    found = harness.stage(job, "Generate").get("restarts") or {}
    return {cause: count for cause, count in found.items() if count}


def test_t1_a_job_gets_images_pools_and_accounts_that_are_for_its_namespace(
    harness: OperatorHarness, tenants: Tenants, jobs: dict[str, Manifest]
) -> None:
    eve, where = tenants({"distillationjobs.kubedistill.io": "create get patch update"}), harness.namespaces[0]
    assert not any(may(eve, ("create", kind), where) for kind in ("pods", "configmaps", "jobs.batch", "secrets"))
    assert "h200" in harness.shows("ok-closed", "Validated", reason="PoolNotAllowed")
    assert harness.made(job="ok-closed") == []
    assert "kubedistill.io/job" in harness.shows("ok-labels", "Validated", reason="InvalidManifest")
    assert harness.made(job="ok-labels") == []
    harness.becomes("ok-own", "Succeeded")
    images = {Images().runtime, Images().runtime_cpu}
    own = names.service_account_name("ok-own", uid=jobs["ok-own"]["metadata"]["uid"])
    for pod in (found := pods_of(harness, "ok-own")):
        assert {one["image"] for one in pod["spec"]["containers"]} <= images
        assert pod["spec"].get("serviceAccountName", own) == own
        assert pod["metadata"]["labels"]["kubedistill.io/job"] == "ok-own"
    assert found
    assert harness.made(job="theirs") == []


def test_t9_an_account_that_a_job_names_is_one_of_its_namespace(
    harness: OperatorHarness, tenants: Tenants, jobs: dict[str, Manifest]
) -> None:
    """Whoever may create jobs acts with every account of the namespace, unless a policy lists them."""
    eve, (where, elsewhere) = tenants(JOB_RIGHTS), harness.namespaces
    assert not any(may(eve, (verb, "serviceaccounts"), where) for verb in ("get", "create", "impersonate"))
    for name in (f"{elsewhere}/their-bot", f"system:serviceaccount:{elsewhere}:their-bot"):
        with pytest.raises(Refused, match=r"spec\.pods\.serviceAccountName"):
            eve.create(small_job("ok-spelled", pods={"serviceAccountName": name}), namespace=where)
    harness.shows("ok-their-bot", "Progressing", reason="ServiceAccountNotFound")
    assert harness.made(job="ok-their-bot", kinds=(PODS,)) == []
    harness.becomes("ok-bot", "Succeeded")
    drivers = [
        one for one in pods_of(harness, "ok-bot") if one["spec"].get("automountServiceAccountToken") is not False
    ]
    assert {one["spec"]["serviceAccountName"] for one in drivers} == {BOT}
    assert harness.made(job="ok-bot", kinds=("v1/ServiceAccount",)) == []


def test_d3_a_store_is_a_folder_of_what_the_namespace_s_own_claim_mounts(
    harness: OperatorHarness, jobs: dict[str, Manifest]
) -> None:
    """Any folder of it: where two claims lead to one volume, its folders are no wall."""
    where, elsewhere = harness.namespaces
    harness.becomes("ok-own", "Succeeded")
    told = [
        json.loads(one["data"]["job.json"])
        for one in harness.api.list(MAPS, namespace=where)
        if "job.json" in one.get("data", {}) and one["metadata"]["labels"]["kubedistill.io/job"] == "ok-own"
    ]
    assert {one["store"] for one in told} == {their_folder(elsewhere)["uri"]}
    volumes = [one for pod in pods_of(harness, "ok-own") for one in pod["spec"]["volumes"]]
    assert {one["persistentVolumeClaim"]["claimName"] for one in volumes if "persistentVolumeClaim" in one} == {
        "shared"
    }
    assert not any({"nfs", "hostPath", "csi"} & one.keys() for one in volumes)
    harness.becomes("ok-own", "Succeeded", namespace=elsewhere)
    status = harness.status("ok-own", namespace=elsewhere)
    assert [one["attempt"] for one in status["stages"]] == [1] * 6, "it has waited for nobody, and used nobody's work"


def test_d4_a_secret_that_a_job_names_reaches_its_pods_and_nothing_else(
    harness: OperatorHarness, tenants: Tenants, jobs: dict[str, Manifest]
) -> None:
    """Whoever may create jobs uses every Secret of the namespace without reading it."""
    eve, where = tenants(JOB_RIGHTS), harness.namespaces[0]
    with pytest.raises(Refused, match="403 Forbidden"):
        eve.get("v1/Secret", "hub", namespace=where)
    with pytest.raises(Refused, match=r"spec\.pods\.envFromSecrets"):
        eve.create(small_job("ok-secret", pods={"envFromSecrets": ["elsewhere/hub"]}), namespace=where)
    harness.becomes("ok-own", "Succeeded")
    used = [
        source
        for pod in pods_of(harness, "ok-own")
        for one in pod["spec"]["containers"]
        for source in one.get("envFrom", ())
    ]
    assert {json.dumps(one) for one in used} == {json.dumps({"secretRef": {"name": "hub"}})}
    assert harness.operator is not None
    everything = [harness.status("ok-own"), *harness.made(), *harness.api.list("v1/Event", namespace=where)]
    assert CANARY not in json.dumps(everything) + harness.operator.log.read_text()


def test_t13_a_tenant_that_may_suspend_children_costs_only_that_job_a_preemption(
    harness: OperatorHarness, tenants: Tenants, jobs: dict[str, Manifest]
) -> None:
    kueue = tenants({"rayjobs.ray.io": "get update patch", "jobs.batch": "get update patch"})
    where, elsewhere = harness.namespaces
    child = generates(harness, "long-1")
    assert not may(kueue, ("patch", "rayjobs.ray.io"), elsewhere)
    kueue.patch(RAYJOBS, child, {"spec": {"suspend": True}}, namespace=where)
    wait_for(lambda: restarts(harness, "long-1") == {"preemption": 1}, what="it is charged", seconds=LOOK_SECONDS)
    harness.becomes("long-1", "Succeeded")
    assert restarts(harness, "long-2") == {}


def test_d1_a_driver_refuses_work_that_was_swapped_and_touches_nothing(
    harness: OperatorHarness, tenants: Tenants, jobs: dict[str, Manifest], tmp_path: Path
) -> None:
    bob, where = tenants({"configmaps": "create delete get"}), harness.namespaces[0]
    child = generates(harness, "long-2")
    (rayjob,) = [one for one in harness.made(job="long-2", kinds=(RAYJOBS,)) if one["metadata"]["name"] == child]
    honest = bob.get(MAPS, child, namespace=where)
    assert honest is not None
    bob.delete(MAPS, child, namespace=where)
    theirs = json.loads(honest["data"]["job.json"]) | {"store": (tmp_path / "theirs").as_uri()}
    kept = {part: honest["metadata"][part] for part in ("name", "labels", "ownerReferences")}
    bob.create({**honest, "metadata": kept, "data": {"job.json": json.dumps(theirs)}}, namespace=where)
    before = bob.get(MAPS, f"{child}-out", namespace=where)
    mounted = tmp_path / "job.json"
    mounted.write_text((bob.get(MAPS, child, namespace=where) or {})["data"]["job.json"])
    told = shlex.split(rayjob["spec"]["entrypoint"])
    sha256 = told[told.index("--job-sha256") + 1]
    command = [sys.executable, "-m", "kubedistill_runtime", "--job", str(mounted), "--job-sha256", sha256]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert (ran.returncode, json.loads(ran.stdout)["event"]) == (2, "failed")
    assert not (tmp_path / "theirs").exists()
    assert (bob.get(MAPS, f"{child}-out", namespace=where) or {})["data"]["owner"] == (before or {})["data"]["owner"]
