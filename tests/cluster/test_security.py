"""What operator and drivers trust: rows of docs/security.md, each as a tenant with exactly the rights that it names."""

import json
import secrets
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from kubedistill.contract import StageJob
from kubedistill_operator import names
from kubedistill_operator.decisions.run_snapshot import frozen_manifest
from kubedistill_operator.job import parse_job
from support.fake_kuberay.background import playing
from support.fake_kuberay.driver import keys_of
from support.fake_kuberay.scenarios import ANY, OK, START, Scenario, choose, step
from support.forged_configmaps import (
    EVIL,
    POOLS,
    as_0_1_froze_it,
    child_of,
    evil_text,
    honest_run,
    labels_of,
    owner_of,
    plant,
)
from support.kube_api import Api, Manifest, Refused, wait_for
from support.operator_harness import JOBS, LOOK_SECONDS, OperatorHarness, claim, open_harness, small_job
from support.tenants import JOB_RIGHTS, Tenants, may, open_tenants

RBAC = "rbac.authorization.k8s.io"
RAYJOBS, BATCH, MAPS, PODS = "ray.io/v1/RayJob", "batch/v1/Job", "v1/ConfigMap", "v1/Pod"
LONG = Scenario(
    "long",
    "",
    {("Generate", 0): (*START, step("Result", after=900, outcome="Succeeded"), step("Exit", code=0)), (ANY, 0): OK},
)
"""A Generate of 18 s: long enough for another operator to take over."""


@pytest.fixture(scope="module")
def harness(
    api: Api, kubeconfig: Path, operator_kubeconfig: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[OperatorHarness]:
    """Yield an operator over the tenant's namespace and over somebody else's."""
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


def plays(job: str) -> Scenario:
    return LONG if job.startswith("long-") else choose(job)


def remove(harness: OperatorHarness, *maps: str) -> None:
    for name in maps:
        harness.api.delete(MAPS, name, namespace=harness.namespaces[0])


def check_honest(harness: OperatorHarness, job: str) -> None:
    """Nothing that was made of a job is the tenant's choice."""
    made = harness.made(job=job, kinds=(BATCH, RAYJOBS, PODS))
    assert made
    text = json.dumps(made)
    assert [one for one in (EVIL, "h200", "admin-bot") if one in text] == []


def test_t2_status_is_written_by_the_operator_alone(harness: OperatorHarness, tenants: Tenants) -> None:
    eve = tenants({"distillationjobs.kubedistill.io": "create get patch update"})
    where = harness.namespaces[0]
    eve.create(small_job("queued-for-ever-1"), namespace=where)
    harness.becomes("queued-for-ever-1", "Queued")
    forged = {"status": {"run": {"id": "1", "digest": "d", "startedAt": "", "snapshotDigest": "0" * 64}}}
    before = harness.status("queued-for-ever-1")
    with pytest.raises(Refused, match="403 Forbidden"):
        eve.patch(JOBS, "queued-for-ever-1", forged, namespace=where, subresource="status")
    eve.patch(JOBS, "queued-for-ever-1", forged, namespace=where)
    assert harness.status("queued-for-ever-1") == before
    harness.api.delete(JOBS, "queued-for-ever-1", namespace=where)


@dataclass(frozen=True, slots=True)
class Planted:
    """What a tenant put where the operator was about to make something, and what the job showed of it."""

    job: Manifest
    things: tuple[str, ...]
    """As kind/name."""
    shown: str
    made: tuple[Manifest, ...]


@pytest.fixture(scope="module")
def planted(harness: OperatorHarness, tenants: Tenants) -> dict[str, Planted]:
    """Return one job for each row.

    All that was planted is gone again, so that the tests wait for their ends together.
    """
    where = harness.namespaces[0]
    eves = {name: tenants({**JOB_RIGHTS, **RIGHTS[kind]}) for name, kind in PLANTED.items()}
    jobs = {name: create_held(eve, harness, name) for name, eve in eves.items()}
    things = {name: plant_for(harness, eves[name], job, PLANTED[name]) for name, job in jobs.items()}
    for name, eve in eves.items():
        release(eve, harness, name)
    shown = {
        name: harness.shows(name, "Progressing", reason="FrozenRunForged" if PLANTED[name] == "run" else "NameTaken")
        for name in jobs
    }
    kinds = {name: (RAYJOBS,) if PLANTED[name] in ("child", "role") else (BATCH, RAYJOBS, PODS) for name in jobs}
    made = {name: tuple(harness.made(job=name, kinds=kinds[name])) for name in jobs}
    for thing in [one for found in things.values() for one in found]:
        kind, _, name = thing.rpartition("/")
        harness.api.delete(kind, name, namespace=where)
    return {name: Planted(job, things[name], shown[name], made[name]) for name, job in jobs.items()}


PLANTED = {"ok-1": "run", "ok-3": "child", "ok-4": "role", "ok-7": "account"}
"""What is planted for each job."""
RIGHTS = {
    "run": {"configmaps": "create"}, "child": {"configmaps": "create"}, "account": {"serviceaccounts": "create"},
    "role": {f"roles.{RBAC}": "create", "configmaps": "get"},
}  # fmt: skip


def create_held(client: Api, harness: OperatorHarness, name: str) -> Manifest:
    """Return a job that waits for its claim, so that its uid is known before it starts."""
    storage = {"volumeClaim": "missing", "uri": f"file:///kubedistill/storage/{name}"}
    job = client.create(small_job(name, storage=storage), namespace=harness.namespaces[0])
    harness.shows(name, "Validated", reason="ClaimNotFound")
    return job


def release(client: Api, harness: OperatorHarness, name: str) -> None:
    """Name the claim that is there."""
    client.patch(JOBS, name, {"spec": {"storage": {"volumeClaim": "shared"}}}, namespace=harness.namespaces[0])


def plant_for(harness: OperatorHarness, eve: Api, job: Manifest, kind: str) -> tuple[str, ...]:
    """Put something of a kind in the way of a job; gives kind/name of all that was made."""
    where, name = harness.namespaces[0], job["metadata"]["name"]
    if kind == "run":
        job["spec"]["storage"]["volumeClaim"] = "shared"
        old = names.frozen_name(name, uid=job["metadata"]["uid"], run="1")
        text = evil_text(job)
        both = (old, f"{old}-{honest_run(job).snapshot}")
        return tuple(f"{MAPS}/{plant(eve, harness, job, one, **{'run.json': text})}" for one in both)
    if kind == "child":
        told = {"job.json": json.dumps({"spec": {}, "store": "file:///kubedistill/storage/theirs"})}
        return (f"{MAPS}/{plant(eve, harness, job, child_of(job, 'Generate'), **told)}",)
    if kind == "account":
        account = names.service_account_name(name, uid=job["metadata"]["uid"])
        eve.create({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": account}}, namespace=where)
        return (f"v1/ServiceAccount/{account}",)
    metadata = {"name": child_of(job, "Generate"), "labels": labels_of(job)}
    role = {"apiVersion": f"{RBAC}/v1", "kind": "Role", "metadata": metadata}
    secret = {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}
    with pytest.raises(Refused, match="is attempting to grant RBAC permissions not currently held"):
        eve.create(role | {"rules": [secret]}, namespace=where)
    eve.create(role | {"rules": [secret | {"resources": ["configmaps"]}]}, namespace=where)
    return (f"{RBAC}/v1/Role/{metadata['name']}",)


def check_planted(harness: OperatorHarness, planted: Planted) -> None:
    """It was shown by name, nothing was made of it, and the job continued when it was gone."""
    name = planted.job["metadata"]["name"]
    assert planted.things[-1].rpartition("/")[2] in planted.shown
    assert planted.made == ()
    assert harness.tells(name, "Waiting").count("Waiting") == 1
    harness.becomes(name, "Succeeded")
    check_honest(harness, name)


def test_t3_a_run_that_was_planted_before_the_start_is_not_used(
    harness: OperatorHarness, planted: dict[str, Planted]
) -> None:
    found = planted["ok-1"]
    assert harness.status("ok-1")["run"]["snapshotDigest"] == honest_run(found.job).snapshot
    check_planted(harness, found)


def test_t5_work_that_was_planted_for_a_driver_is_given_to_none(
    harness: OperatorHarness, planted: dict[str, Planted]
) -> None:
    check_planted(harness, planted["ok-3"])


def test_t7_a_role_that_was_planted_is_not_used(harness: OperatorHarness, planted: dict[str, Planted]) -> None:
    check_planted(harness, planted["ok-4"])


def test_t8_an_account_that_was_planted_is_not_used(harness: OperatorHarness, planted: dict[str, Planted]) -> None:
    check_planted(harness, planted["ok-7"])


def test_t3_a_run_that_was_swapped_is_not_used_by_the_next_leader(harness: OperatorHarness, tenants: Tenants) -> None:
    """T4 too: one run is swapped, the other is as 0.1 left it, and swapped before it is adopted."""
    where, both = harness.namespaces[0], ("long-1", "long-2")
    eve = tenants({**JOB_RIGHTS, "configmaps": "create"})
    jobs = {name: eve.create(small_job(name), namespace=where) for name in both}
    for name in both:
        wait_for(lambda name=name: harness.stage(name, "Generate").get("state") == "Running", what=name, seconds=60)
    runs = {name: frozen_manifest(parse_job(job), honest_run(job)) for name, job in jobs.items()}
    frozen = {name: run["metadata"]["name"] for name, run in runs.items()}
    with pytest.raises(Refused, match="403 Forbidden"):
        eve.delete(MAPS, frozen["long-1"], namespace=where)
    bob = tenants({"configmaps": "create delete"})
    harness.stop()
    old = as_0_1_froze_it(jobs["long-2"])
    forget = {"status": {"run": {"snapshotDigest": None, "begunAt": None}}}
    harness.api.patch(JOBS, "long-2", forget, namespace=where, subresource="status")
    for name, planted in (("long-1", frozen["long-1"]), ("long-2", old["metadata"]["name"])):
        bob.delete(MAPS, frozen[name], namespace=where)
        plant(bob, harness, jobs[name], planted, **{"run.json": evil_text(jobs[name])})
    harness.start()
    assert frozen["long-1"] in harness.shows("long-1", "Progressing", reason="FrozenRunForged")
    assert old["metadata"]["name"] in harness.shows("long-2", "Progressing", reason="FrozenRunForged")
    for name in both:
        wait_for(lambda name=name: harness.stage(name, "Generate").get("state") == "Succeeded", what=name, seconds=60)
        assert harness.stage(name, "Curate").get("child", "") == "", "a driver's result counts, and nothing is made"
    harness.stop()  # between the two, a run of 0.1 that has no ConfigMap would be frozen again
    remove(harness, frozen["long-1"], old["metadata"]["name"])
    harness.api.create(old, namespace=where)
    harness.start()
    for name in both:
        harness.becomes(name, "Succeeded")
        check_honest(harness, name)
    assert (harness.api.get(MAPS, frozen["long-1"], namespace=where) or {})["data"] == runs["long-1"]["data"]
    assert [harness.events(name).count("SnapshotAdopted") for name in both] == [0, 1]


def forged_result(job: Manifest, owner: str, **changes: Any) -> str:
    """Return a result as the driver of an owner would write it, with keys that another namespace's job has too."""
    spec = job["spec"]
    uri = spec["storage"]["uri"]
    told = StageJob.model_validate_json(
        json.dumps(
            {
                "job": {"namespace": "x", "name": "x"},
                "run": {"id": "1", "digest": "d"},
                "stage": "Prepare",
                "attempt": 1,
                "token": "t",
                "spec": spec,
                "store": uri,
                "dataRoot": uri,
            }
        )
    )
    artifacts = {
        name: {"key": key, "uri": f"{uri}/artifacts/{name}/{key}", "complete": False}
        for name, key in keys_of(told).items()
    }
    values = {
        "contract": 1,
        "driver": owner.rpartition(":")[2],
        "outcome": "Succeeded",
        "message": "forged",
        "gpuSeconds": 9e9,
        "startedAt": "2026-01-01T00:00:00Z",
        "endedAt": "2026-01-01T00:00:00Z",
        "artifacts": artifacts,
    }
    return json.dumps(values | changes)


def test_t6_a_forged_channel_reaches_no_other_namespace(harness: OperatorHarness, tenants: Tenants) -> None:
    eve, (where, elsewhere) = tenants({**JOB_RIGHTS, "configmaps": "get patch"}), harness.namespaces
    storage = {"volumeClaim": "shared", "uri": "file:///kubedistill/storage/both"}
    job = eve.create(small_job("slow-1", storage=storage), namespace=where)
    out = names.out_name(child_of(job, "Prepare"))

    def owner() -> str:
        found = harness.api.get(MAPS, out, namespace=where)
        said = found["data"]["owner"] if found else ""
        return said if ":" in said else ""

    forged = forged_result(job, wait_for(owner, what="its driver has claimed it", seconds=LOOK_SECONDS))
    eve.patch(MAPS, out, {"data": {"result.json": forged}}, namespace=where)
    wait_for(lambda: harness.stage("slow-1", "Prepare").get("state") == "Succeeded", what="it is believed", seconds=60)
    assert harness.status("slow-1")["run"]["artifacts"], "in its own namespace"
    harness.submit("ok-theirs", namespace=elsewhere, storage=storage)
    phases = set()

    def ends() -> bool:
        phases.add(harness.phase("ok-theirs", namespace=elsewhere))
        return "Succeeded" in phases

    wait_for(ends, what="another namespace's job with the same work", seconds=LOOK_SECONDS)
    status = harness.status("ok-theirs", namespace=elsewhere)
    assert not phases & {"Queued", "Failed"}, "it has waited for nobody"
    assert [one["attempt"] for one in status["stages"]] == [1] * 6
    kinds = (MAPS, BATCH, RAYJOBS, PODS)
    assert "slow-1" not in json.dumps([status, *harness.made(namespace=elsewhere, kinds=kinds)])
    harness.api.delete(JOBS, "slow-1", namespace=where)


def test_t12_a_claim_of_another_namespace_is_none(harness: OperatorHarness, tenants: Tenants) -> None:
    eve, (where, elsewhere) = tenants({**JOB_RIGHTS, "persistentvolumeclaims": "create"}), harness.namespaces
    harness.api.create(claim("theirs"), namespace=elsewhere)
    eve.create(small_job("queued-for-ever-8", storage={"volumeClaim": "theirs"}), namespace=where)
    harness.shows("queued-for-ever-8", "Validated", reason="ClaimNotFound")
    harness.api.delete(JOBS, "queued-for-ever-8", namespace=where)


def test_t10_a_job_that_was_planted_before_its_attempt_is_deleted(harness: OperatorHarness, tenants: Tenants) -> None:
    eve, (where, elsewhere) = tenants({**JOB_RIGHTS, "jobs.batch": "create"}), harness.namespaces
    job = create_held(eve, harness, "ok-5")
    labels = labels_of(job, stage="Prepare")
    metadata = {"name": child_of(job, "Prepare"), "labels": labels, "ownerReferences": [owner_of(job)]}
    container = {"name": "driver", "image": EVIL}
    template = {"metadata": {"labels": labels}, "spec": {"restartPolicy": "Never", "containers": [container]}}
    spec = {"suspend": True, "backoffLimit": 0, "template": template}
    made = eve.create({"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": spec}, namespace=where)
    release(eve, harness, "ok-5")
    harness.becomes("ok-5", "Succeeded")
    assert harness.stage("ok-5", "Prepare")["childUID"] != made["metadata"]["uid"]
    check_honest(harness, "ok-5")
    assert EVIL not in json.dumps(harness.made(namespace=elsewhere, kinds=(BATCH, RAYJOBS, PODS)))


def test_t11_pods_with_a_job_s_labels_hold_up_that_job_and_no_other(harness: OperatorHarness, tenants: Tenants) -> None:
    eve, (where, elsewhere) = tenants({**JOB_RIGHTS, "pods": "create"}), harness.namespaces
    job = create_held(eve, harness, "ok-6")
    pod = {"containers": [{"name": "driver", "image": EVIL}], "schedulerName": "nobody"}
    metadata = {"name": "decoy", "labels": labels_of(job, stage="Prepare")}
    eve.create({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": pod}, namespace=where)
    release(eve, harness, "ok-6")
    harness.submit("ok-6", namespace=elsewhere)
    harness.becomes("ok-6", "Succeeded", namespace=elsewhere)
    assert harness.stage("ok-6", "Prepare").get("child", "") == ""
    harness.api.delete(PODS, "decoy", namespace=where)
    harness.becomes("ok-6", "Succeeded")


def test_t18_a_forged_event_changes_the_reason_of_its_job_and_nothing_else(
    harness: OperatorHarness, tenants: Tenants
) -> None:
    eve, (where, elsewhere) = tenants({**JOB_RIGHTS, "events": "create", "jobs.batch": "get list"}), harness.namespaces
    for space in harness.namespaces:
        harness.submit("ok-8", namespace=space, pods={"priorityClassName": "no-such-class"})
    harness.shows("ok-8", "Progressing", reason="PriorityClassNotFound")
    (job,) = eve.list(BATCH, namespace=where, labels={"kubedistill.io/job": "ok-8"})
    event = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": "forged"},
        "type": "Warning",
        "involvedObject": {
            "kind": "Job",
            "namespace": where,
            "name": job["metadata"]["name"],
            "uid": job["metadata"]["uid"],
        },
        "reason": "FailedCreate",
        "message": "exceeded quota: \u001b[2Jcall 555",
        "lastTimestamp": "2099-01-01T00:00:00Z",
    }
    eve.create(event, namespace=where)
    message = harness.shows("ok-8", "Progressing", reason="QuotaExceeded")
    assert message == "exceeded quota: [2Jcall 555"
    assert harness.made(job="ok-8", kinds=(PODS,)) == []
    assert sum((harness.stage("ok-8", "Prepare").get("restarts") or {}).values()) == 0
    said = [one for one in harness.status("ok-8", namespace=elsewhere)["conditions"] if one["type"] == "Progressing"]
    assert [one["reason"] for one in said] == ["PriorityClassNotFound"]
    for space in harness.namespaces:
        harness.api.delete(JOBS, "ok-8", namespace=space)


OF_THE_PLATFORM = {
    "t14 the Lease": ("update", "leases.coordination.k8s.io", "kubedistill-system"),
    "t15 the settings": ("update", "configmaps", "kubedistill-system"),
    "t15 the operator": ("patch", "deployments.apps", "kubedistill-system"),
    "t16 nodes": ("patch", "nodes/status", ""),
    "t17 the resource itself": ("update", "customresourcedefinitions.apiextensions.k8s.io", ""),
    "t18 labels of the namespace": ("patch", "namespaces", "the tenant's own"),
    "t2 status": ("patch", "distillationjobs.kubedistill.io/status", "the tenant's own"),
    "another namespace's jobs": ("create", "distillationjobs.kubedistill.io", "another tenant's"),
}


def test_t14_to_t18_cannot_be_written_with_all_permissions_of_a_namespace(
    harness: OperatorHarness, tenants: Tenants
) -> None:
    eve, (where, elsewhere) = (
        tenants({**JOB_RIGHTS, "configmaps": "*", "pods": "*", "secrets": "*"}),
        harness.namespaces,
    )
    binding = {
        "apiVersion": f"{RBAC}/v1",
        "kind": "RoleBinding",
        "metadata": {"name": "admins"},
        "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": "admin"},
        "subjects": [{"kind": "Group", "name": f"system:serviceaccounts:{where}", "apiGroup": RBAC}],
    }
    harness.api.create(binding, namespace=where)
    wait_for(lambda: may(eve, ("create", "deployments.apps"), where), what="it is an admin of its namespace")
    spaces = {"the tenant's own": where, "another tenant's": elsewhere}
    granted = [
        name
        for name, (verb, resource, space) in OF_THE_PLATFORM.items()
        if may(eve, (verb, resource), spaces.get(space, space))
    ]
    harness.api.delete(f"{RBAC}/v1/RoleBinding", "admins", namespace=where)
    assert granted == []
