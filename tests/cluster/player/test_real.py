"""In real mode a driver is a process of this machine, with what its pod would give it, and nothing more."""

import contextlib
import json
import uuid
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest

from kubedistill.chain import StageName
from kubedistill.contract import JobRef, RunRef, StageJob
from kubedistill.v1alpha1 import Spec, spec_values
from support.fake_kuberay.actions import CONDITIONS
from support.kube_api import wait_for
from support.small_job import make_job, small_spec

MOUNTS = [
    {"name": "job", "mountPath": "/kubedistill/job", "readOnly": True},
    {"name": "storage", "mountPath": "/kubedistill/storage"},
]
LOOK = """
import json, os, pathlib, signal, sys, time
out, job, code, seconds = sys.argv[1:]
def leave(*_):
    pathlib.Path(out).with_name("terminated").touch()
    sys.exit(0)
signal.signal(signal.SIGTERM, leave)
account = pathlib.Path(os.environ["KUBEDISTILL_SERVICE_ACCOUNT"])
files = {path.name: path.read_text() for path in account.iterdir()}
seen = {"environment": dict(os.environ), "account": files, "job": json.loads(pathlib.Path(job).read_text())}
pathlib.Path(out).write_text(json.dumps(seen))
time.sleep(float(seconds))
sys.exit(int(code))
"""


def pod_of(child: str, **container: Any) -> dict[str, Any]:
    """Return the pod of a driver: its job, its store, its channel."""
    runtime = {
        "name": "driver",
        "image": "nobody/runs:it",
        "command": ["python", "-m", "kubedistill_runtime", "--job"],
        "args": ["/kubedistill/job/job.json"],
        "env": [{"name": "KUBEDISTILL_CHANNEL", "value": f"{child}-out"}],
        "volumeMounts": MOUNTS,
    }
    volumes = [
        {"name": "job", "configMap": {"name": child}},
        {"name": "storage", "persistentVolumeClaim": {"claimName": "shared"}},
    ]
    return {"containers": [{**runtime, **container}], "volumes": volumes}


def looking(*, code: int = 0, seconds: int = 0) -> dict[str, Any]:
    """Return a container that writes down what it sees."""
    arguments = ["/kubedistill/storage/seen.json", "/kubedistill/job/job.json", str(code), str(seconds)]
    return {"command": ["python", "-c", LOOK], "args": arguments}


def told(stage: StageName, *, token: str, keys: dict[Any, str] | None = None) -> StageJob:
    spec = Spec.model_validate_json(json.dumps(small_spec()))
    return StageJob(
        job=JobRef(namespace="default", name="real", uid=str(uuid.uuid4())),
        run=RunRef(id="one", digest="0" * 64),
        stage=stage,
        attempt=1,
        token=token,
        frozen_spec=spec_values(spec),
        store="file:///kubedistill/storage/store",
        data_root="file:///kubedistill/storage/job",
        artifacts=keys or {},
    )


def alive_in(namespace: str) -> list[str]:
    """Return what runs in the folders of a namespace's pods."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):  # it ended while we looked
            if f"/pods/{namespace}/" in process.environ().get("HOME", ""):
                found.append(" ".join(process.cmdline()))
    return found


def test_a_driver_has_what_its_pod_says(make_workplace: Callable[..., Any], tmp_path: Path) -> None:
    claim = tmp_path / "claim"
    workplace = make_workplace(folder=tmp_path / "pods", claims={"shared": claim})
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "hub"}, "stringData": {"HF_TOKEN": "secret"}}
    workplace.api.create(secret, namespace=workplace.namespace)
    name = "looks-curate-1"
    pod = pod_of(name, **looking(), envFrom=[{"secretRef": {"name": "hub"}}])
    child = workplace.child("looks", stage="Curate", told=told("Curate", token=name), pod=pod)
    wait_for(lambda: "Complete" in child.conditions, what="it is complete")
    seen = json.loads((claim / "seen.json").read_text())
    environment = seen["environment"]
    assert environment["KUBEDISTILL_CHANNEL"] == f"{name}-out"
    assert environment["HF_TOKEN"] == "secret"
    server = f"{environment['KUBERNETES_SERVICE_HOST']}:{environment['KUBERNETES_SERVICE_PORT']}"
    assert workplace.api.server.endswith(f"//{server}")
    assert seen["account"].keys() == {"token", "ca.crt", "namespace"}
    assert seen["account"]["namespace"] == workplace.namespace
    assert seen["account"]["ca.crt"].strip() == workplace.api.ca.decode().strip()
    assert seen["job"]["store"] == f"{claim.as_uri()}/store"
    assert seen["job"]["token"] == name


@pytest.mark.parametrize(("code", "condition"), [(0, "Complete"), (1, "Failed"), (75, "Failed")])
def test_an_exit_code_ends_pod_and_job(
    make_workplace: Callable[..., Any], tmp_path: Path, code: int, condition: str
) -> None:
    workplace = make_workplace(folder=tmp_path / "pods", claims={"shared": tmp_path / "claim"})
    name = "ends-curate-1"
    child = workplace.child(
        "ends", stage="Curate", told=told("Curate", token=name), pod=pod_of(name, **looking(code=code))
    )
    wait_for(lambda: condition in child.conditions, what=f"it is {condition}")
    (pod,) = child.pods
    assert pod["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"] == code


def test_a_pod_that_is_deleted_has_time_to_leave(make_workplace: Callable[..., Any], tmp_path: Path) -> None:
    claim = tmp_path / "claim"
    workplace = make_workplace(folder=tmp_path / "pods", claims={"shared": claim})
    name = "leaves-curate-1"
    child = workplace.child(
        "leaves", stage="Curate", told=told("Curate", token=name), pod=pod_of(name, **looking(seconds=600))
    )
    wait_for((claim / "seen.json").is_file, what="it runs")
    child.delete()
    wait_for(lambda: not child.pods, what="its pod is gone")
    assert (claim / "terminated").is_file(), "SIGTERM came before SIGKILL"
    assert not alive_in(workplace.namespace)


@pytest.mark.engine
@pytest.mark.timeout(1200)
def test_a_real_driver_prepares_and_two_generate_as_the_head_is_lost(
    make_workplace: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    claim = tmp_path / "claim"
    # The channel has progress every 10 s, by when so small a job has ended: the head is lost once answers are stored.
    stored = claim / "store" / "rows"
    monkeypatch.setitem(CONDITIONS, "Working", lambda _child: any(stored.glob("*/*.parquet")))
    changed = {"metadata": {"annotations": {"stored": "true"}}}
    make_job(claim / "job")
    workplace = make_workplace(scale=0.05, folder=tmp_path / "pods", claims={"shared": claim})
    keys: dict[Any, str] = {}
    for stage, starts in (("Prepare", "1"), ("Generate", "2")):
        name = f"head-lost-{stage.lower()}-1"
        child = workplace.child("head-lost", stage=stage, told=told(stage, token=name, keys=keys), pod=pod_of(name))
        if stage == "Generate":
            wait_for(lambda: any(stored.glob("*/*.parquet")), what="answers are stored", seconds=500)
            workplace.api.patch("ConfigMap", f"{name}-out", changed, namespace=workplace.namespace)  # it looks now
        wait_for(partial(getattr, child, "result"), what=f"{stage} has a result", seconds=500)
        assert child.result["outcome"] == "Succeeded", child.result
        assert child.channel["owner"] == f"{name}:{child.result['driver']}"
        assert child.channel["starts"] == starts
        keys = keys or {name: one["key"] for name, one in child.result["artifacts"].items()}
    assert child.result["summary"]["reused"] > 0, "the second driver continues where the first was"
    logs = (claim / "store" / "runs" / "default.real" / "one" / "generate-1").glob("*.log")
    assert {path.name for path in logs} == {"driver.log", "driver-2.log"}, "that of the driver that was killed is kept"
    child.becomes(("Complete", "SUCCEEDED"))
    wait_for(lambda: not child.pods, what="its pods are gone", seconds=60)
    assert not alive_in(workplace.namespace), "nothing of a pod outlives it"
