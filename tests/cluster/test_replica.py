"""Replicas of the operator as processes with their own rights only: a job's life, and who leads when one dies."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from support.fake_kuberay.background import playing
from support.kube_api import Api, Manifest, wait_for
from support.operator_process import COMMAND, Replica, replica

JOBS = "kubedistill.io/v1alpha1/DistillationJob"
LEASES = "coordination.k8s.io/v1/Lease"
OPERATOR, SYSTEM = "kubedistill-operator", "kubedistill-system"
RBAC = "rbac.authorization.k8s.io"
SETTINGS: dict[str, Any] = {
    "pools": {"gpu": {"nodeSelector": {"kind": "gpu"}}, "cpu": {"gpusPerNode": 0}},
    "storage": {"volumeClaim": "shared"},
}


@pytest.fixture
def place(api: Api, operator_kubeconfig: Path, namespace: str) -> str:
    """Return a namespace with a claim, in which the operator may hold a Lease of its own."""
    rules = [{"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["get", "create", "update"]}]
    role = {"apiVersion": f"{RBAC}/v1", "kind": "Role", "metadata": {"name": "lease"}, "rules": rules}
    binding = {
        "apiVersion": f"{RBAC}/v1",
        "kind": "RoleBinding",
        "metadata": {"name": "lease"},
        "roleRef": {"apiGroup": RBAC, "kind": "Role", "name": "lease"},
        "subjects": [{"kind": "ServiceAccount", "name": OPERATOR, "namespace": SYSTEM}],
    }
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "shared"},
        "spec": {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "1Gi"}}},
    }
    for manifest in (role, binding, claim):
        api.create(manifest, namespace=namespace)
    return namespace


@pytest.fixture
def start(place: str, operator_kubeconfig: Path, tmp_path: Path) -> Any:
    """Return a function that starts a replica for the namespace."""

    def begin(name: str = "replica", *, kubeconfig: Path = operator_kubeconfig, **given: Any) -> Any:
        settings = SETTINGS | {"watchNamespaces": [place]}
        return replica(tmp_path, kubeconfig=kubeconfig, lease_namespace=place, name=name, **(settings | given))

    return begin


def job(name: str) -> Manifest:
    return {
        "apiVersion": "kubedistill.io/v1alpha1",
        "kind": "DistillationJob",
        "metadata": {"name": name},
        "spec": {
            "task": {"type": "QA"},
            "teachers": [{"name": "main", "model": {"source": "teacher"}, "resources": {"pool": "gpu"}}],
            "student": {"model": {"source": "student"}, "resources": {"pool": "gpu", "gpusPerWorker": 1}},
            "data": {"train": {"uri": "train.jsonl"}},
            "storage": {"volumeClaim": "shared"},
        },
    }


@pytest.fixture
def phase(api: Api, place: str) -> Any:
    """Return a function that gives the phase of a job."""
    return lambda name: ((api.get(JOBS, name, namespace=place) or {}).get("status") or {}).get("phase", "")


@pytest.fixture
def played(kubeconfig: Path, place: str) -> Iterator[None]:
    with playing(kubeconfig, namespace=place):
        yield


def hold_lease(api: Api, identity: str, *, namespace: str) -> None:
    """Leave the Lease as a replica does that died a moment ago."""
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    spec = {
        "holderIdentity": identity,
        "leaseDurationSeconds": 15,
        "acquireTime": now,
        "renewTime": now,
        "leaseTransitions": 0,
    }
    lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": OPERATOR}, "spec": spec}
    api.create(lease, namespace=namespace)


def watch_readiness(operator: Replica, *, until: Callable[[], bool], seconds: float) -> set[int]:
    """Return every answer of /readyz until something is so."""
    seen, end = set(), time.monotonic() + seconds
    while not until():
        assert time.monotonic() < end, (seen, operator.readiness(), operator.log.read_text()[-4000:])
        seen.add(operator.probe("/readyz"))
        time.sleep(0.05)
    return seen


def holder(api: Api, namespace: str) -> str:
    lease = api.get(LEASES, OPERATOR, namespace=namespace)
    return ((lease or {}).get("spec") or {}).get("holderIdentity", "")


def renewal(api: Api, namespace: str) -> str:
    """Return when the Lease was renewed last."""
    return ((api.get(LEASES, OPERATOR, namespace=namespace) or {}).get("spec") or {}).get("renewTime", "")


@pytest.mark.usefixtures("played")
def test_a_job_succeeds_and_its_series_end_when_it_is_deleted(api: Api, place: str, start: Any, phase: Any) -> None:
    with start() as operator:
        wait_for(operator.leads, what="the operator leads", seconds=60)
        wait_for(lambda: operator.probe("/readyz") == 200, what="it watches", seconds=60)
        assert operator.probe("/healthz") == 200
        api.create(job("ok-1"), namespace=place)
        wait_for(lambda: phase("ok-1") in ("Succeeded", "Failed"), what="the job ends", seconds=240)
        assert phase("ok-1") == "Succeeded", (api.get(JOBS, "ok-1", namespace=place), operator.log.read_text()[-4000:])
        mine = ("namespace", place), ("name", "ok-1")
        shown = {name: value for (name, labels), value in operator.metrics().items() if set(mine) <= set(labels)}
        assert shown["distillation_job_progress_ratio"] == 1
        reasons = [
            one["reason"] for one in api.list("v1/Event", namespace=place) if one["involvedObject"]["name"] == "ok-1"
        ]
        assert reasons.count("StageSucceeded") == 6
        assert not [line for line in operator.lines() if line["level"] in ("ERROR", "CRITICAL")], (
            operator.log.read_text()
        )
        api.delete(JOBS, "ok-1", namespace=place)
        wait_for(
            lambda: not [1 for _, labels in operator.metrics() if ("name", "ok-1") in labels], what="its series vanish"
        )
        operator.process.send_signal(signal.SIGTERM)
        assert operator.process.wait(30) == 0
        assert holder(api, place) == "", "the lease is given back"


def test_the_lead_is_handed_over_when_the_leader_is_killed(api: Api, place: str, start: Any, phase: Any) -> None:
    with start("first") as first:
        wait_for(first.leads, what="the first leads", seconds=60)
        with start("second") as second:
            wait_for(lambda: second.probe("/readyz") == 200, what="the second is ready", seconds=60)
            for _ in range(2):
                renewed = renewal(api, place)
                wait_for(lambda renewed=renewed: renewal(api, place) != renewed, what="the lease is renewed")
            assert not second.leads()
            first.process.kill()
            killed = time.monotonic()
            api.create(job("ok-2"), namespace=place)
            wait_for(lambda: phase("ok-2") != "", what="the job is looked at", seconds=60)
            assert time.monotonic() - killed < 30
            assert second.leads()


def test_the_lead_is_handed_over_at_once_when_the_leader_is_told_to_stop(api: Api, place: str, start: Any) -> None:
    with start("first") as first:
        wait_for(first.leads, what="the first leads", seconds=60)
        with start("second") as second:
            wait_for(lambda: second.probe("/readyz") == 200, what="the second is ready", seconds=60)
            first.process.send_signal(signal.SIGTERM)
            told = time.monotonic()
            wait_for(second.leads, what="the second leads", seconds=30)
            assert time.monotonic() - told < 8
            assert first.process.wait(30) == 0


def test_a_replica_that_only_waits_leaves_when_it_is_told_to(start: Any) -> None:
    with start("first") as first:
        wait_for(first.leads, what="the first leads", seconds=60)
        with start("second") as second:
            wait_for(lambda: second.probe("/readyz") == 200, what="the second is ready", seconds=60)
            second.process.send_signal(signal.SIGTERM)
            assert second.process.wait(10) == 0
            assert first.leads()


def test_a_leader_that_sleeps_past_its_lease_ends_when_it_wakes(api: Api, place: str, start: Any, phase: Any) -> None:
    with start("first") as first:
        wait_for(first.leads, what="the first leads", seconds=60)
        with start("second") as second:
            wait_for(lambda: second.probe("/readyz") == 200, what="the second is ready", seconds=60)
            first.process.send_signal(signal.SIGSTOP)
            wait_for(second.leads, what="the second leads", seconds=60)
            api.create(job("ok-3"), namespace=place)
            wait_for(lambda: phase("ok-3") != "", what="the job is looked at", seconds=60)
            held = holder(api, place)
            first.process.send_signal(signal.SIGCONT)
            assert first.process.wait(30) == 1
            assert "the lease is lost" in first.log.read_text()
            assert holder(api, place) == held
            assert second.leads()


def test_a_replica_is_not_ready_for_a_lease_that_a_dead_one_holds(api: Api, place: str, start: Any) -> None:
    hold_lease(api, "another-pod_uid-1_aaaa", namespace=place)
    with start(environment={"POD_UID": "uid-2"}) as operator:
        wait_for(lambda: "Lease" in operator.readiness(), what="it waits for the Lease", seconds=60)
        began = time.monotonic()
        assert watch_readiness(operator, until=operator.leads, seconds=60) == {503}
        assert time.monotonic() - began > 10, "another pod's Lease is waited for"
        wait_for(lambda: operator.probe("/readyz") == 200, what="it watches", seconds=60)


def test_a_replica_takes_the_lease_of_its_own_pods_former_process_at_once(api: Api, place: str, start: Any) -> None:
    hold_lease(api, "pod_uid-1_aaaa", namespace=place)
    with start(environment={"POD_UID": "uid-1"}) as operator:
        wait_for(lambda: operator.probe("/healthz") == 200, what="it answers", seconds=60)
        wait_for(operator.leads, what="it leads", seconds=10)
        assert "_uid-1_" in holder(api, place)


BROKEN = {
    "before it watches": "async def fail(**_): raise KeyError('getpwuid(): uid not found: 65532')",
    "a while later": "import asyncio\nasync def fail(**_): await asyncio.sleep(3); raise KeyError('no start')",
}
"""How kopf may fail as the lead begins."""


@pytest.mark.parametrize("case", BROKEN)
def test_a_replica_that_dies_as_it_takes_the_lead_was_never_ready(case: str, api: Api, place: str, start: Any) -> None:
    program = (
        f"import kopf\n{BROKEN[case]}\nkopf.spawn_tasks = fail\nfrom kubedistill_operator.__main__ import main\nmain()"
    )
    with start(command=[sys.executable, "-c", program], environment={"POD_UID": "uid-1"}) as operator:
        seen = watch_readiness(operator, until=lambda: operator.process.poll() is not None, seconds=90)
        assert operator.process.returncode == 1
        assert holder(api, place), "it had taken the lead"
        assert seen <= {0, 503}


def test_a_replica_that_leads_and_may_not_watch_is_not_ready_and_says_so(
    api: Api, place: str, start: Any, account_kubeconfig: Callable[..., Path]
) -> None:
    """kopf asks again for two minutes before that ends it."""
    rules = [
        {"apiGroups": ["*"], "resources": [name], "verbs": ["*"]}
        for name in ("distillationjobs", "rayjobs", "jobs", "configmaps", "leases")
    ]
    api.create({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "half"}}, namespace=place)
    role = {"apiVersion": f"{RBAC}/v1", "kind": "Role", "metadata": {"name": "half"}, "rules": rules}
    binding = {
        "apiVersion": f"{RBAC}/v1",
        "kind": "RoleBinding",
        "metadata": {"name": "half"},
        "roleRef": {"apiGroup": RBAC, "kind": "Role", "name": "half"},
        "subjects": [{"kind": "ServiceAccount", "name": "half", "namespace": place}],
    }
    for manifest in (role, binding):
        api.create(manifest, namespace=place)
    with start(kubeconfig=account_kubeconfig("half", namespace=place)) as operator:
        missing = f"the watch of /api/v1/namespaces/{place}/pods is not open yet"
        wait_for(lambda: missing in operator.readiness(), what="the others are watched", seconds=60)
        assert operator.leads()
        ends = time.monotonic() + 5
        assert watch_readiness(operator, until=lambda: time.monotonic() > ends, seconds=10) == {503}


def test_a_replica_that_may_not_read_the_lease_says_so(
    api: Api, place: str, start: Any, account_kubeconfig: Callable[..., Path]
) -> None:
    with start(kubeconfig=account_kubeconfig("default", namespace=place)) as operator:
        wait_for(lambda: "leases" in operator.readiness(), what="it says what it may not read", seconds=60)
        assert operator.probe("/readyz") == 503
        assert "403" in operator.readiness()
        assert [line for line in operator.lines() if line["level"] == "WARNING" and "403" in line["message"]]


def test_explain_says_what_would_be_done_and_does_nothing(
    api: Api, place: str, operator_kubeconfig: Path, tmp_path: Path
) -> None:
    api.create(job("ok-4"), namespace=place)
    before = api.get(JOBS, "ok-4", namespace=place)
    config = tmp_path / "settings.yaml"
    config.write_text("storage: {volumeClaim: shared}\npools: {gpu: {nodeSelector: {kind: gpu}}}\n")
    command = [*COMMAND, "explain", f"{place}/ok-4", "--config", str(config), "--kubeconfig", str(operator_kubeconfig)]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr
    assert found.stdout.startswith(f"{place}/ok-4: Pending, generation 1\nbecause: run 1 starts\n")
    assert "  would create ConfigMap ok-4-run-" in found.stdout
    assert "  would write status: " in found.stdout
    assert api.get(JOBS, "ok-4", namespace=place) == before
