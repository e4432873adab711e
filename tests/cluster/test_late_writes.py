"""A leader that slept past its lease changes nothing when it wakes, as the API server's own audit log has it."""

import base64
import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from support.cluster_fixture import ClusterFixture, make_cluster_fixture
from support.cluster_setup import OPERATOR, OPERATOR_NAMESPACE, account_kubeconfig
from support.fake_kuberay.background import playing
from support.kube_api import wait_for
from support.operator_process import Replica, replica

CREDENTIAL = "authentication.kubernetes.io/credential-id"
JOBS = 12
OVER = ("Succeeded", "Failed")
READS = ("get", "list", "watch")


@pytest.fixture
def fixture(tmp_path: Path) -> Iterator[ClusterFixture]:
    with make_cluster_fixture(tmp_path / "plane", audited=True) as made:
        yield made


def kubeconfig(fixture: ClusterFixture, name: str) -> Path:
    """Write the operator's rights with a token of its own, by which the audit log distinguishes replicas."""
    file = fixture.plane.folder / f"{name}.kubeconfig"
    return account_kubeconfig(fixture.api, OPERATOR, namespace=OPERATOR_NAMESPACE, file=file)


def credential(kubeconfig: Path) -> str:
    token = yaml.safe_load(kubeconfig.read_text())["users"][0]["user"]["token"]
    payload = token.split(".")[1]
    return f"JTI={json.loads(base64.urlsafe_b64decode(payload + '=' * (-len(payload) % 4)))['jti']}"


def writes(fixture: ClusterFixture, *, by: Path) -> list[dict[str, Any]]:
    """Return all writes that a replica asked for and that were carried out, in their order."""
    whole, _, _ = fixture.plane.audit_log.read_text().rpartition("\n")  # the server is writing the next line
    return [
        one
        for one in map(json.loads, whole.splitlines())
        if one["user"].get("extra", {}).get(CREDENTIAL) == [credential(by)]
        and one["verb"] not in READS
        and one["responseStatus"]["code"] < 400
    ]


@pytest.mark.own_plane
@pytest.mark.timeout(1200)
def test_a_leader_that_sleeps_past_its_lease_writes_nothing_when_it_wakes(
    fixture: ClusterFixture, tmp_path: Path
) -> None:
    tokens = {name: kubeconfig(fixture, name) for name in ("first", "second")}

    def begin(name: str) -> Any:
        return replica(
            tmp_path,
            kubeconfig=tokens[name],
            lease_namespace=OPERATOR_NAMESPACE,
            name=name,
            watchNamespaces=[fixture.namespace],
        )

    with playing(fixture.plane.kubeconfig, namespace=fixture.namespace, scale=0.05), begin("first") as first:
        wait_for(first.leads, what="the first leads", seconds=180)
        with begin("second") as second:
            wait_for(lambda: second.probe("/readyz") == 200, what="the second is ready", seconds=180)
            for number in range(JOBS):
                fixture.submit(f"ok-{number}")
            wait_for(lambda: any(fixture.phases().values()), what="some jobs have begun", seconds=180)
            first.process.send_signal(signal.SIGSTOP)
            await_takeover(second, fixture, by=tokens["second"])
            before = writes(fixture, by=tokens["first"])
            assert before, "it had begun its work when it was stopped"
            first.process.send_signal(signal.SIGCONT)
            assert first.process.wait(180) == 1
            fixture.submit("ok-last")  # the server has written down all that was asked before the second writes this
            await_writes(fixture, {"ok-last"}, by=tokens["second"])
            assert writes(fixture, by=tokens["first"]) == before


def await_takeover(second: Replica, fixture: ClusterFixture, *, by: Path) -> None:
    """Wait until the other replica leads and has continued every job that is not over."""
    left = {name for name, phase in fixture.phases().items() if phase not in OVER}
    assert left, "some jobs have not ended"
    wait_for(second.leads, what="the second leads", seconds=180)
    await_writes(fixture, left, by=by)


def await_writes(fixture: ClusterFixture, names: set[str], *, by: Path) -> None:
    """Wait until a replica has written every one of some jobs."""

    def written() -> bool:
        objects = [one["objectRef"] for one in writes(fixture, by=by)]
        return names <= {one.get("name") for one in objects if one["resource"] == "distillationjobs"}

    wait_for(written, what=f"it has written {names}", seconds=300)
