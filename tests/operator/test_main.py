"""The command line: what is wrong is said in one line, with the exit code that it deserves."""

import asyncio
import signal
import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from aiohttp import web

from kubedistill.errors import InvalidInput, NotInstalled
from kubedistill.manifest.settings import Settings
from kubedistill_operator.cluster.api_errors import Transient
from kubedistill_operator.cluster.client import Cluster
from kubedistill_operator.cluster.connection import Connection
from kubedistill_operator.loop import replica as module
from kubedistill_operator.loop.replica import Options, Replica, check_installed, own_namespace
from support.fake_api import FakeApi, refusal, serving
from support.inherited_signals import INHERITED
from support.kube_api import wait_for
from support.messages import CheckMessage
from support.operator_process import COMMAND, free_port, replica

Answer = Callable[[str, str], Awaitable[web.Response | None]]


def run(*arguments: str, folder: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, cwd=folder, check=False)


def test_bad_settings_end_it_with_2_and_name_line_field_and_fix(tmp_path: Path, check_message: CheckMessage) -> None:
    (tmp_path / "settings.yaml").write_text("port: 8080\nresyncSecond: 5\n")
    found = run("run", "--config", "settings.yaml", folder=tmp_path)
    assert found.returncode == 2
    check_message(found.stderr, "InvalidSettings", "settings.yaml:2", "resyncSecond", "resyncSeconds")


@pytest.mark.parametrize("job", ["support", "a/b/c", "/x", "a/"])
def test_a_job_is_named_with_its_namespace(job: str, tmp_path: Path, check_message: CheckMessage) -> None:
    found = run("explain", job, folder=tmp_path)
    assert (found.returncode, found.stdout) == (2, "")
    check_message(found.stderr, "InvalidInput", "NAMESPACE/NAME", "team-a/support")


def test_without_a_way_to_a_cluster_it_says_so(tmp_path: Path, check_message: CheckMessage) -> None:
    found = run("explain", "a/b", "--kubeconfig", "nowhere", folder=tmp_path)
    assert found.returncode == 2
    check_message(found.stderr, "InvalidInput", "--kubeconfig")


UNREADABLE = {
    "no YAML": b"{",
    "a list": b"- a",
    "not UTF-8": b"\xff",
    "a server that is a number": (
        b"{current-context: c, contexts: [{name: c, context: {cluster: c, user: u}}],"
        b" clusters: [{name: c, cluster: {server: 7}}], users: [{name: u, user: {}}]}"
    ),
}


@pytest.mark.parametrize("case", UNREADABLE)
def test_a_kubeconfig_that_is_none_is_named(case: str, tmp_path: Path, check_message: CheckMessage) -> None:
    (tmp_path / "kubeconfig").write_bytes(UNREADABLE[case])
    with pytest.raises(InvalidInput) as refused:
        asyncio.run(Connection.find(tmp_path / "kubeconfig"))
    check_message(refused.value)
    assert refused.value.at == str(tmp_path / "kubeconfig")


def test_a_server_that_is_away_ends_explain_with_1(tmp_path: Path, check_message: CheckMessage) -> None:
    kubeconfig = FakeApi(server=f"http://127.0.0.1:{free_port()}").write_kubeconfig(tmp_path / "kubeconfig")
    found = run("explain", "a/b", "--kubeconfig", str(kubeconfig), folder=tmp_path)
    assert found.returncode == 1
    check_message(found.stderr, "GET", "apis/kubedistill.io/v1alpha1/namespaces/a/distillationjobs/b")


def serve(*plurals: str) -> Answer:
    """Return a server that knows these kinds."""

    async def before(_method: str, path: str) -> web.Response | None:
        if path.startswith("/apis/") and path.count("/") == 3:
            return web.json_response({"resources": [{"name": plural} for plural in plurals]})
        return None

    return before


MISSING = {
    "our own kind": (serve("rayjobs"), "the cluster does not know DistillationJob. Apply crds/"),
    "KubeRay": (serve("distillationjobs"), "the cluster does not know RayJob. Install KubeRay 1.7 or later"),
}


@pytest.mark.parametrize("case", MISSING)
def test_a_cluster_that_lacks_a_kind_is_told_what_to_install(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, message = MISSING[case]
    monkeypatch.setattr(module, "_TRY_SECONDS", 0.0)

    async def play() -> None:
        async with serving(FakeApi(before=before)) as api:
            kubeconfig = api.write_kubeconfig(tmp_path / "kubeconfig")
            settings = Settings(port=free_port())
            with pytest.raises(NotInstalled) as caught:
                await Replica(settings, Options(kubeconfig=kubeconfig)).run()
            assert str(caught.value).startswith(message)
            assert not api.writes(), "not even the lease"

    asyncio.run(play())


def test_a_server_that_comes_late_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_TRY_SECONDS", 0.0)
    asked = []

    async def before(method: str, path: str) -> web.Response | None:
        asked.append(path)
        return refusal(503, "ServiceUnavailable", "starting") if len(asked) < 3 else await known(method, path)

    known = serve("distillationjobs", "rayjobs")

    async def play() -> None:
        async with (
            serving(FakeApi(before=before)) as api,
            Cluster(api.configuration, write_deadline=lambda: 1.0) as cluster,
        ):
            await check_installed(cluster)

    asyncio.run(play())
    assert len(asked) == 4


@pytest.mark.parametrize("inherited", INHERITED)
def test_sigterm_ends_a_replica_with_0_whatever_its_parent_passed_down(inherited: str, tmp_path: Path) -> None:
    kubeconfig = FakeApi(server=f"http://127.0.0.1:{free_port()}").write_kubeconfig(tmp_path / "kubeconfig")
    command = [*INHERITED[inherited], *COMMAND]
    with replica(tmp_path, kubeconfig=kubeconfig, lease_namespace="system", command=command) as started:
        wait_for(started.readiness, what="it waits for the API server")
        started.process.send_signal(signal.SIGTERM)
        assert started.process.wait(timeout=60) == 0


def test_a_server_that_stays_away_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_TRY_SECONDS", 0.0)

    async def before(_method: str, _path: str) -> web.Response | None:
        return refusal(503, "ServiceUnavailable", "down")

    async def play() -> None:
        async with (
            serving(FakeApi(before=before)) as api,
            Cluster(api.configuration, write_deadline=lambda: 1.0) as cluster,
        ):
            with pytest.raises(Transient):
                await check_installed(cluster)

    asyncio.run(play())


def test_the_lease_is_in_the_namespace_of_the_pod(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POD_NAMESPACE", "system")
    assert own_namespace() == "system"


BAD_POOL = 'pools:\n  h200:\n    nodeSelector: {nvidia.com/gpu.product: "NVIDIA H200"}\n'


@pytest.mark.parametrize("command", ["check", "run"])
def test_a_string_that_kubernetes_refuses_is_found_before_any_job_meets_it(
    command: str, tmp_path: Path, check_message: CheckMessage
) -> None:
    (tmp_path / "settings.yaml").write_text(BAD_POOL)
    found = run(command, "--config", "settings.yaml", folder=tmp_path)
    assert (found.returncode, found.stdout) == (2, "")
    check_message(found.stderr, "InvalidSettings", "settings.yaml:3", "pools.h200.nodeSelector.nvidia.com/gpu.product")


def test_check_says_what_the_operator_would_start_with(tmp_path: Path) -> None:
    (tmp_path / "settings.yaml").write_text(BAD_POOL.replace("NVIDIA H200", "NVIDIA-H200"))
    found = run("check", "--config", "settings.yaml", folder=tmp_path)
    assert (found.returncode, found.stderr) == (0, "")
    assert found.stdout == "settings.yaml: valid; pools: h200\n"


STORES = {
    "on the pod's own disk": ("storage: {uri: file:///models}\n", "settings.yaml:1: storage.uri: "),
    "next to the claim": ("storage: {uri: file:///kubedistill/storage-2}\n", "settings.yaml:1: storage.uri: "),
    "in a bucket": ("storage: {uri: s3://models/all}\n", "settings.yaml:1: storage.uri: "),
    "shared": (
        "storage:\n  uri: file:///kubedistill/storage\n  shared:\n"
        "  - {uri: file:///kubedistill/storage/_shared, namespaces: [a]}\n"
        "  - {uri: file:///elsewhere, namespaces: [b]}\n",
        "settings.yaml:5: storage.shared[1].uri: ",
    ),
}


@pytest.mark.parametrize("case", STORES)
def test_check_refuses_a_store_that_no_job_can_use(case: str, tmp_path: Path, check_message: CheckMessage) -> None:
    """Every job without a store of its own would be refused, as in row S16."""
    text, at = STORES[case]
    (tmp_path / "settings.yaml").write_text(text)
    found = run("check", "--config", "settings.yaml", folder=tmp_path)
    assert (found.returncode, found.stdout) == (2, "")
    check_message(found.stderr, "InvalidSettings", at.rstrip(": "))
