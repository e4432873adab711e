"""The connection to the API server: what each answer means, that nothing waits indefinitely, and who may write."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.request import getproxies_environment

import pytest
from aiohttp import web

from kubedistill_operator.cluster import client as module
from kubedistill_operator.cluster.api_errors import (
    AlreadyExists,
    Conflict,
    LeaseLost,
    NotFound,
    OperatorFailure,
    Refused,
    Transient,
)
from kubedistill_operator.cluster.client import Cluster
from kubedistill_operator.cluster.connection import uses_proxy
from kubedistill_operator.kinds import KINDS
from support.fake_api import FakeApi, refusal, serving
from support.messages import CheckMessage

MAPS = "v1/configmaps"


def config_map(name: str = "one", **labels: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "data": {"a": "1"},
        "metadata": {"name": name, "namespace": "team-a", "labels": labels},
    }


def run(scenario: Callable[[FakeApi, Cluster], Awaitable[Any]], **options: Any) -> Any:
    """Play a scenario with a server and a client."""

    async def play() -> Any:
        given = {"write_deadline": lambda: 10.0, **options}
        async with serving(FakeApi()) as api, Cluster(api.configuration, **given) as cluster:
            return await scenario(api, cluster)

    return asyncio.run(play())


def test_every_kind_has_its_path() -> None:
    assert KINDS["RayJob"].path(namespace="team-a", name="x") == "/apis/ray.io/v1/namespaces/team-a/rayjobs/x"
    assert KINDS["Pod"].path() == "/api/v1/pods"
    assert KINDS["Node"].path(namespace="team-a", name="n") == "/api/v1/nodes/n"
    assert KINDS["DistillationJob"].path(namespace="a", name="b", subresource="status") == (
        "/apis/kubedistill.io/v1alpha1/namespaces/a/distillationjobs/b/status"
    )
    assert KINDS["Pod"].path(namespace="../../x", name="a/b") == "/api/v1/namespaces/..%2F..%2Fx/pods/a%2Fb"


@pytest.mark.parametrize(
    ("server", "no_proxy", "proxied"),
    [
        ("https://172.30.0.1:443", None, True),
        ("https://172.30.0.1:443", ".svc,10.0.0.0/8,172.30.0.0/16", False),  # as OpenShift gives it to its pods
        ("https://172.30.0.1:443", ".svc, 172.30.0.1", False),
        ("https://172.30.0.1:443", "10.0.0.0/8,*.corp,172.30.0.0/33", True),
        ("https://[fd00::1]:443", "fd00::/8", False),
        ("https://[fd00::1]:443", "10.0.0.0/8", True),
        ("https://api.example.com:6443", "10.0.0.0/8", True),
    ],
)
def test_networks_in_no_proxy_are_reached_directly(
    server: str, no_proxy: str | None, proxied: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (*getproxies_environment(), "no"):
        for variable in (f"{name}_proxy", f"{name}_PROXY".upper()):
            monkeypatch.delenv(variable, raising=False)
    assert not uses_proxy(server)
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example.com:3128")
    if no_proxy is not None:
        monkeypatch.setenv("NO_PROXY", no_proxy)
    assert uses_proxy(server) == proxied


def test_an_object_lives_as_long_as_it_should() -> None:
    async def scenario(api: FakeApi, cluster: Cluster) -> None:
        assert await cluster.get("ConfigMap", "one", namespace="team-a") is None
        made = await cluster.create(config_map())
        assert await cluster.get("ConfigMap", "one", namespace="team-a") == made
        with pytest.raises(AlreadyExists):
            await cluster.create(config_map())
        patched = await cluster.patch(
            "ConfigMap", "one", [{"op": "add", "path": "/data/stop", "value": "true"}], namespace="team-a"
        )
        assert patched["data"] == {"a": "1", "stop": "true"}
        with pytest.raises(Conflict):
            await cluster.replace(made)
        await cluster.replace(patched)
        uid = made["metadata"]["uid"]
        await cluster.delete("ConfigMap", "one", namespace="team-a", uid="another")
        assert api.find(MAPS, "one") is not None, "an object of another uid stays"
        await cluster.delete("ConfigMap", "one", namespace="team-a", uid=uid)
        assert api.find(MAPS, "one") is None
        await cluster.delete("ConfigMap", "one", namespace="team-a", uid=uid)

    run(scenario)


def test_all_pages_of_a_list_are_read() -> None:
    async def scenario(api: FakeApi, cluster: Cluster) -> None:
        api.page = 3
        for number in range(8):
            api.put(config_map(f"m{number}", mine="yes"), collection=MAPS)
        api.put(config_map("other"), collection=MAPS)
        found = await cluster.select("ConfigMap", namespace="team-a", labels="mine=yes")
        assert [one["metadata"]["name"] for one in found] == [f"m{number}" for number in range(8)]
        assert {one["kind"] for one in found} == {"ConfigMap"}, "items of a list don't say what they are"
        assert await cluster.names("ConfigMap") == {("team-a", f"m{number}") for number in range(8)} | {
            ("team-a", "other")
        }

    run(scenario)


ANSWERS: dict[str, tuple[web.Response, type[OperatorFailure]]] = {
    "the token is no longer good": (refusal(401, "Unauthorized", "no"), Transient),
    "no right": (refusal(403, "Forbidden", "no"), Refused),
    "quota": (refusal(403, "Forbidden", "exceeded quota"), Refused),
    "not there": (refusal(404, "NotFound", "no"), NotFound),
    "no such kind": (web.Response(status=404, text="404 page not found"), Refused),
    "changed meanwhile": (refusal(409, "Conflict", "no"), Conflict),
    "name taken": (refusal(409, "AlreadyExists", "no"), AlreadyExists),
    "against the schema": (refusal(422, "Invalid", "no"), Refused),
    "a page that was asked for too late": (
        refusal(410, "Expired", "The provided continue parameter is too old"),
        Transient,
    ),
    "too many requests": (refusal(429, "TooManyRequests", "slow", **{"Retry-After": "7"}), Transient),
    "broken": (refusal(500, "InternalError", "no"), Transient),
    "away": (web.Response(status=503, text=""), Transient),
    "no Kubernetes": (web.Response(status=502, text="<html>"), Transient),
}


@pytest.mark.parametrize("case", ANSWERS)
def test_what_an_answer_means(case: str, check_message: CheckMessage) -> None:
    answer, expected = ANSWERS[case]

    async def scenario(api: FakeApi, cluster: Cluster) -> None:
        async def before(_method: str, _path: str) -> web.Response:
            return answer

        api.before = before
        with pytest.raises(OperatorFailure) as caught:
            await cluster.create(config_map())
        assert type(caught.value) is expected
        check_message(caught.value, "POST", "api/v1/namespaces/team-a/configmaps")
        if case == "too many requests":
            assert isinstance(caught.value, Transient)
            assert caught.value.after == 7

    run(scenario)


def test_a_server_that_is_not_there_is_asked_again_later(check_message: CheckMessage) -> None:
    async def play() -> None:
        async with Cluster(FakeApi(server="http://127.0.0.1:9").configuration, write_deadline=lambda: 10.0) as cluster:
            with pytest.raises(Transient) as caught:
                await cluster.get("ConfigMap", "one", namespace="team-a")
            check_message(caught.value, "GET", "api/v1/namespaces/team-a/configmaps/one")

    asyncio.run(play())


@pytest.mark.parametrize("half", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"])
def test_no_call_waits_longer_than_it_may(
    half: bytes, monkeypatch: pytest.MonkeyPatch, check_message: CheckMessage
) -> None:
    monkeypatch.setattr(module, "READ_SECONDS", 0.2)

    async def play() -> None:
        async def say_half(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(half)
            while await reader.read(1000):
                pass
            writer.close()

        async with await asyncio.start_server(say_half, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            configuration = FakeApi(server=f"http://127.0.0.1:{port}").configuration
            async with asyncio.timeout(10), Cluster(configuration, write_deadline=lambda: 10.0) as cluster:
                with pytest.raises(Transient) as caught:
                    await cluster.get("ConfigMap", "one", namespace="team-a")
                check_message(caught.value)
            await asyncio.gather(*asyncio.all_tasks() - {asyncio.current_task()}, return_exceptions=True)

    asyncio.run(play())


def test_the_guard_is_asked_before_every_write_and_no_read() -> None:
    asked = []

    def write_deadline() -> float:
        asked.append(True)
        raise LeaseLost("another replica may lead")

    async def scenario(api: FakeApi, cluster: Cluster) -> None:
        api.put(config_map(), collection=MAPS)
        found = await cluster.get("ConfigMap", "one", namespace="team-a")
        await cluster.select("ConfigMap")
        await cluster.names("ConfigMap")
        assert not asked
        assert found is not None
        for write in (
            cluster.create(config_map("two")),
            cluster.replace(found),
            cluster.patch("ConfigMap", "one", [], namespace="team-a"),
            cluster.delete("ConfigMap", "one", namespace="team-a", uid="u"),
        ):
            with pytest.raises(LeaseLost):
                await write
        assert not api.writes(), "nothing reaches the server"

    run(scenario, write_deadline=write_deadline)
    assert len(asked) == 4


def test_every_request_is_witnessed() -> None:
    seen: list[tuple[str, str]] = []

    async def scenario(_api: FakeApi, cluster: Cluster) -> None:
        await cluster.get("ConfigMap", "one", namespace="team-a")
        await cluster.create(config_map())

    run(scenario, on_request=lambda method, code: seen.append((method, code)))
    assert seen == [("GET", "404"), ("POST", "201")]


def test_a_kind_that_the_server_does_not_know_is_told() -> None:
    async def scenario(api: FakeApi, cluster: Cluster) -> tuple[bool, bool]:
        async def before(_method: str, path: str) -> web.Response:
            if path == "/apis/ray.io/v1":
                return web.json_response({"resources": [{"name": "rayjobs"}, {"name": "rayjobs/status"}]})
            return web.Response(status=404, text="404 page not found")

        api.before = before
        return await cluster.serves("RayJob"), await cluster.serves("DistillationJob")

    assert run(scenario) == (True, False)
