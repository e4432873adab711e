"""Several drivers of one attempt, as real processes: one reports, the others exit with 75.

Rows A2 and A10 of docs/behavior.md. Nobody plays the pods: the test is the kubelet.
"""

import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from kubedistill.chain import STAGES, StageName
from kubedistill.contract import ArtifactRef, StageJob, StageResult
from kubedistill.errors import EXIT_CLAIM_LOST, EXIT_SUCCESS
from kubedistill_operator.names import service_account_name
from support.account_rights import rights
from support.kube_api import Api, Refused, wait_for
from support.operator_harness import OperatorHarness, open_harness
from support.small_job import make_job

MAP = "v1/ConfigMap"
READY_SECONDS = 240.0
"""A driver imports much before it claims, and the machine may be busy."""


@pytest.fixture(scope="module")
def harness(api: Api, operator_kubeconfig: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OperatorHarness]:
    name = f"test-{secrets.token_hex(4)}"
    with open_harness(api, operator_kubeconfig, tmp_path_factory.mktemp("operator"), name) as harness:
        yield harness


@dataclass(frozen=True, slots=True)
class Place:
    """One job's attempts, and the folder in which its drivers run."""

    harness: OperatorHarness
    name: str
    folder: Path
    started: list["subprocess.Popen[str]"] = field(default_factory=list)

    @property
    def account_name(self) -> str:
        """The account that the operator makes for the job."""
        return service_account_name(self.name, uid=(self.harness.job(self.name) or {})["metadata"]["uid"])

    @property
    def account(self) -> Path:
        """What a kubelet mounts: the token of the account that the operator made."""
        folder, namespace = self.folder / "account", self.harness.namespaces[0]
        if not folder.exists():
            folder.mkdir()
            path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{self.account_name}/token"
            body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
            answer = self.harness.api.request("post", path, body=body)
            (folder / "token").write_text(answer["status"]["token"])
            (folder / "ca.crt").write_bytes(self.harness.api.ca)
            (folder / "namespace").write_text(namespace)
        return folder

    def child(self, stage: StageName) -> str:
        """Return the name of the child of a stage's attempt, once all that belongs to it is there.

        Its job is made last.
        """

        def look() -> str:
            found = self.harness.stage(self.name, stage).get("child", "")
            return found if found and self.harness.api.get(MAP, found, namespace=self.harness.namespaces[0]) else ""

        return wait_for(look, what=f"{stage} has its child", seconds=120)

    def channel(self, child: str) -> dict[str, str]:
        found = self.harness.api.get(MAP, f"{child}-out", namespace=self.harness.namespaces[0])
        return (found or {}).get("data") or {}

    def start(self, child: str, *, channel: str = "") -> "subprocess.Popen[str]":
        """Start the driver of an attempt, on a store that is a folder; another's channel is named on purpose."""
        mounted = self.folder / child
        mounted.mkdir(exist_ok=True)
        found = self.harness.api.get(MAP, child, namespace=self.harness.namespaces[0])
        assert found is not None
        job = StageJob.model_validate_json(found["data"]["job.json"])
        data = make_job(self.folder / "data").manifest.parent.as_uri()
        job = job.model_copy(update={"store": (self.folder / "store").as_uri(), "data_root": data})
        (mounted / "job.json").write_text(job.to_json())
        server = urlsplit(self.harness.api.server)
        environment = {
            **os.environ,
            "KUBEDISTILL_CHANNEL": channel or f"{child}-out",
            "KUBEDISTILL_SERVICE_ACCOUNT": str(self.account),
            "KUBERNETES_SERVICE_HOST": str(server.hostname),
            "KUBERNETES_SERVICE_PORT": str(server.port),
        }
        command = [sys.executable, "-m", "kubedistill_runtime", "--job", str(mounted / "job.json")]
        self.started.append(
            subprocess.Popen(command, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        )
        return self.started[-1]


@pytest.fixture
def place(harness: OperatorHarness, tmp_path: Path) -> Iterator[Place]:
    """Yield a job whose data are the quickstart's, cut short."""
    name = f"job-{secrets.token_hex(2)}"
    spec: dict[str, Any] = make_job(tmp_path / "data").spec
    spec["storage"] = {"volumeClaim": "shared", "uri": f"file:///kubedistill/storage/{name}"}
    harness.submit(name, **spec)
    place = Place(harness, name, tmp_path)
    yield place
    for process in place.started:
        process.kill()
        process.communicate()


def test_a_driver_has_no_verb_on_anything_but_its_own_channel(
    harness: OperatorHarness, place: Place, account_kubeconfig: Any
) -> None:
    child, namespace = place.child("Prepare"), harness.namespaces[0]
    with (
        Api(account_kubeconfig(place.account_name, namespace=namespace)) as driver,
        Api(account_kubeconfig("default", namespace=namespace)) as nobody,
    ):
        own = {f"{verb} configmaps {child}-out" for verb in ("get", "patch")}
        assert rights(driver, namespace) - rights(nobody, namespace) == own
        assert rights(driver, "default") == rights(nobody, "default")
        for name in (child, "kube-root-ca.crt"):
            with pytest.raises(Refused, match="403 Forbidden"):
                driver.get(MAP, name, namespace=namespace)


def test_a10_a_driver_that_was_replaced_exits_with_75_and_the_new_one_counts(
    harness: OperatorHarness, place: Place
) -> None:
    child = place.child("Prepare")
    first = place.start(child)
    wait_for(lambda: place.channel(child)["starts"] == "1", what="the first has claimed", seconds=READY_SECONDS)
    first.send_signal(signal.SIGSTOP)
    owner = place.channel(child)["owner"]
    second = place.start(child)
    said = second.communicate(timeout=READY_SECONDS)[0]
    assert second.returncode == EXIT_SUCCESS, said
    told = place.channel(child)
    first.send_signal(signal.SIGCONT)
    said = first.communicate(timeout=READY_SECONDS)[0]
    assert first.returncode == EXIT_CLAIM_LOST, said
    assert '"reason": "ClaimLost"' in said.splitlines()[-1]
    assert place.channel(child) == told, "the loser changed nothing"
    result = StageResult.model_validate_json(told["result.json"])
    assert (told["starts"], result.outcome) == ("2", "Succeeded")
    assert told["owner"].endswith(f":{result.driver}")
    assert told["owner"] != owner
    wait_for(lambda: harness.stage(place.name, "Prepare").get("state") == "Succeeded", what="the operator heard it")


def test_a2_a_driver_of_an_earlier_attempt_exits_with_75_and_changes_nothing(
    harness: OperatorHarness, place: Place
) -> None:
    old = place.child("Prepare")
    finish_prepare(place, old)
    new = place.child("Generate")
    before = place.channel(new)
    assert before["starts"] == "0"
    late = [place.start(old, channel=channel) for channel in (f"{new}-out", f"{old}-out")]
    for driver in late:
        said = driver.communicate(timeout=READY_SECONDS)[0]
        assert driver.returncode == EXIT_CLAIM_LOST, said
        assert "ClaimLost" in said
    assert place.channel(new) == before
    assert harness.stage(place.name, "Generate")["attempt"] == 1


def finish_prepare(place: Place, child: str) -> None:
    """What a driver of Prepare says when it has succeeded, and what the Job controller says then."""
    time, where = "2026-01-01T00:00:00Z", place.harness.namespaces[0]
    made = [name for stage in STAGES.values() for name in stage.makes]
    artifacts = {name: ArtifactRef(key=name, uri="", complete=name == "rows") for name in made}
    result = StageResult(driver="d", outcome="Succeeded", started_at=time, ended_at=time, artifacts=artifacts)
    data = {"owner": f"{place.channel(child)['owner']}:d", "starts": "1", "result.json": result.to_json()}
    place.harness.api.patch(MAP, f"{child}-out", {"data": data}, namespace=where)
    conditions = [
        {"type": kind, "status": "True", "reason": "CompletionsReached", "lastTransitionTime": time}
        for kind in ("SuccessCriteriaMet", "Complete")
    ]
    status = {"startTime": time, "completionTime": time, "succeeded": 1, "conditions": conditions}
    place.harness.api.patch("batch/v1/Job", child, {"status": status}, namespace=where, subresource="status")
