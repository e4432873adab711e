"""The Python client on a real API server, with an operator that has its own rights and played children."""

import asyncio
import contextlib
import io
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from kubedistill import AsyncClient, Client, DistillationJob, distillation_job
from kubedistill.errors import GateMissed, JobFailed, NoSuchJob, NotAllowed, Rejected, WaitTimeout
from support.kube_api import Api
from support.messages import check_facts
from support.played_cluster import played_cluster, with_namespace
from support.small_manifests import distillation_job as manifest_of

DOCUMENT = Path(__file__).parents[2] / "docs" / "python.md"
SECONDS = 240


@pytest.fixture
def config(kubeconfig: Path, namespace: str, tmp_path: Path) -> Path:
    """Return a kubeconfig whose context has the test's namespace."""
    return with_namespace(kubeconfig, namespace, folder=tmp_path)


@pytest.fixture
def client(config: Path) -> Iterator[Client]:
    with Client(kubeconfig=config) as found:
        yield found


@pytest.fixture
def carried_out(
    api: Api, kubeconfig: Path, operator_kubeconfig: Path, namespace: str, tmp_path: Path
) -> Iterator[None]:
    """The jobs of the namespace are carried out."""
    with played_cluster(
        api, kubeconfig=kubeconfig, operator_kubeconfig=operator_kubeconfig, namespace=namespace, folder=tmp_path
    ):
        yield


def job(name: str, **spec: Any) -> DistillationJob:
    return distillation_job(
        name=name,
        teacher_model="./teacher",
        student_model="./student",
        training_data="train.jsonl",
        task_type="qa",
        **spec,
    )


@pytest.mark.usefixtures("carried_out")
def test_a_job_is_submitted_streamed_judged_and_run_again(client: Client, namespace: str) -> None:
    assert client.jobs.submit(job("ok-1")).change == "created"
    assert client.jobs.submit(job("ok-1")).change == "unchanged"
    seen = list(client.jobs.stream("ok-1", timeout=SECONDS))
    phases = list(dict.fromkeys(one.phase for one in seen))
    assert phases[-1] == "Succeeded"
    assert "Training" in phases
    assert str(client.jobs.status("ok-1")) == "Succeeded"
    assert client.jobs.wait("ok-1", timeout=SECONDS).is_over

    distilled = client.models.evaluate("ok-1", metrics=["accuracy"])
    baseline = client.models.evaluate("ok-1/baseline", metrics=["accuracy"])
    assert (baseline.accuracy, distilled.accuracy) == (0.3, 0.84)
    compared = client.models.compare("ok-1")
    assert compared.improvement == pytest.approx(0.54)
    assert "accuracy    90.0%   30.0%      84.0%" in str(compared)

    again = client.jobs.rerun("ok-1")
    assert (again.phase, again.is_over) == ("Succeeded", False)
    ended = client.jobs.wait("ok-1", timeout=SECONDS)
    assert ended.status.run is not None
    assert ended.status.run.id == again.requested_run
    assert [one.id for one in ended.status.run_history] == ["1"]
    assert [one.name for one in client.jobs.list()] == ["ok-1"]
    reasons = [one["reason"] for one in client.jobs.events("ok-1")]
    assert reasons.count("StageSucceeded") >= 6
    client.jobs.delete("ok-1")
    with pytest.raises(NoSuchJob) as missing:
        client.jobs.get("ok-1")
    check_facts(missing.value, "ok-1", namespace)


@pytest.mark.usefixtures("carried_out")
def test_many_jobs_are_waited_for_at_once(config: Path) -> None:
    async def main() -> list[Any]:
        async with AsyncClient(kubeconfig=config) as client:
            names = ("ok-2", "gate-failed-2", "user-error-2")
            for epochs, name in enumerate(names, 1):  # each its own work, or one would have the report of another
                await client.jobs.create_or_update(job(name, training={"epochs": epochs}))
            waits = [client.jobs.wait(name, timeout=SECONDS) for name in names]
            ends = await asyncio.gather(*waits, return_exceptions=True)
            phases = [one.phase async for one in client.jobs.stream("ok-2", timeout=SECONDS)]
            accuracy = (await client.models.evaluate("ok-2", metrics=["accuracy"])).accuracy
            return [*ends, phases, accuracy]

    succeeded, gate, failed, phases, accuracy = asyncio.run(main())
    assert succeeded.phase == "Succeeded"
    assert isinstance(gate, GateMissed)
    check_facts(gate, 0.05, "minGain", 0.1)
    assert isinstance(failed, JobFailed)
    assert "Prepare: InvalidData: train.jsonl:3: no prompt" in str(failed)
    assert (phases, accuracy) == (["Succeeded"], 0.84)


def test_a_refusal_of_the_server_names_its_field(config: Path, client: Client) -> None:
    wrong = manifest_of("support")
    wrong["spec"]["training"]["epochs"] = 0
    wrong["spec"]["data"]["validation"] = {}
    with pytest.raises(Rejected) as caught:
        client.jobs.submit(wrong)
    assert caught.value.at == "spec.training.epochs"
    check_facts(caught.value, 1)
    with pytest.raises(Rejected, match="spce"):
        client.jobs.submit(manifest_of("support") | {"spce": {}})

    async def submit() -> None:
        async with AsyncClient(kubeconfig=config) as client:
            await client.jobs.submit(wrong)

    with pytest.raises(Rejected, match=r"spec\.training\.epochs"):
        asyncio.run(submit())


def test_waiting_ends_in_time_and_with_the_job(client: Client, config: Path) -> None:
    client.jobs.create_or_update(job("support"))
    with pytest.raises(WaitTimeout) as ended:
        client.jobs.wait("support", timeout=2)
    check_facts(ended.value, "support", "Pending", 2)

    async def main() -> None:
        async with AsyncClient(kubeconfig=config) as client:
            with pytest.raises(WaitTimeout) as ended:
                await client.jobs.wait("support", timeout=2)
            check_facts(ended.value, "support", "Pending", 2)
            waiting = asyncio.create_task(client.jobs.wait("support"))
            await asyncio.sleep(1)
            await client.jobs.delete("support")
            with pytest.raises(NoSuchJob):
                await waiting

    asyncio.run(main())


def test_an_account_that_may_only_read_can_only_read(
    api: Api, namespace: str, account_kubeconfig: Callable[..., Path], client: Client
) -> None:
    client.jobs.create_or_update(job("support"))
    group = "rbac.authorization.k8s.io"
    rules = [{"apiGroups": ["kubedistill.io"], "resources": ["distillationjobs"], "verbs": ["get", "list", "watch"]}]
    role = {"apiVersion": f"{group}/v1", "kind": "Role", "metadata": {"name": "look"}, "rules": rules}
    binding = {
        "apiVersion": f"{group}/v1",
        "kind": "RoleBinding",
        "metadata": {"name": "look"},
        "roleRef": {"apiGroup": group, "kind": "Role", "name": "look"},
        "subjects": [{"kind": "ServiceAccount", "name": "guest", "namespace": namespace}],
    }
    guest = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "guest"}}
    for manifest in (guest, role, binding):
        api.create(manifest, namespace=namespace)
    with Client(kubeconfig=account_kubeconfig("guest", namespace=namespace), namespace=namespace) as looking:
        assert looking.jobs.get("support").name == "support"
        for forbidden in (looking.jobs.suspend, looking.jobs.rerun, looking.jobs.delete, looking.jobs.events):
            with pytest.raises(NotAllowed):
                forbidden("support")


@pytest.mark.usefixtures("carried_out")
def test_every_snippet_of_the_document_runs(config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tickets = manifest_of("tickets")
    tickets["spec"]["data"] = {"train": {"uri": "train.jsonl"}}
    (tmp_path / "job.yaml").write_text(yaml.safe_dump(tickets))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(os.environ, "KUBECONFIG", str(config))
    blocks = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), flags=re.DOTALL)
    snippets = [block for block in blocks if "Client.local" not in block]  # tests/e2e/test_local_client.py runs that
    names: dict[str, Any] = {}
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        for snippet in snippets:
            exec(compile(snippet, str(DOCUMENT), "exec"), names)
    names["ml_client"].close()
    lines = said.getvalue().splitlines()
    assert lines[:3] == ["Pending", "accuracy 30.0% before, 84.0% after", "improvement +54.0%"]
    assert "tickets created" in lines
    assert lines[-1] == "Succeeded"
