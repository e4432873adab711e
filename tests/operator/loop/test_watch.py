"""The watches that must be open, and the resync: every job that needs a look gets one, those gone are forgotten."""

import asyncio
from typing import Any

import pytest
from aiohttp import web

from kubedistill.manifest.settings import Settings
from kubedistill.v1alpha1 import Status
from kubedistill_operator.cluster.client import Cluster
from kubedistill_operator.loop.controller import Controller
from kubedistill_operator.loop.replica import make_controller
from kubedistill_operator.loop.watch import Streams, resync
from kubedistill_operator.telemetry.metrics import Metrics
from support.fake_api import FakeApi, refusal, serving
from support.operator_objects import DISTILLATIONS, RUN, with_status
from support.virtual_time import VirtualTime

Object = dict[str, Any]
SETTINGS = Settings(resync_seconds=600)


def named(resource: Object, name: str, *, namespace: str = "team-a") -> Object:
    return {**resource, "metadata": {**resource["metadata"], "name": name, "namespace": namespace, "uid": name}}


def keys(controller: Controller) -> list[str]:
    found = []
    while (taken := controller.queue.take()) is not None:
        controller.queue.done(taken[0])
        found.append(taken[0][1])
    return found


def run(resource: Object, scenario: Any, *, settings: Settings = SETTINGS) -> None:
    async def play() -> None:
        async with serving(FakeApi()) as api, Cluster(api.configuration, write_deadline=lambda: 10.0) as cluster:
            time = VirtualTime()
            controller = make_controller(cluster, settings=settings, metrics=Metrics())
            task = asyncio.create_task(
                resync(controller, settings=settings, sleep=time.sleep, random_fraction=lambda: 0.5)
            )
            await scenario(api, controller, time)
            assert not task.done()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    asyncio.run(play())


async def pass_time(time: VirtualTime, api: FakeApi, *, seconds: float, requests: int) -> None:
    """Let time pass; the requests that this leads to are answered in real time."""
    await time.run(seconds)
    async with asyncio.timeout(10):
        while len(api.requests) < requests:
            await asyncio.sleep(0.01)
    await asyncio.sleep(0.05)
    await time.run(60)


def test_jobs_that_need_a_look_get_one_and_the_others_cost_nothing(resource: Object) -> None:
    async def scenario(api: FakeApi, controller: Controller, time: VirtualTime) -> None:
        over = with_status(named(resource, "over"), Status(phase="Succeeded", observed_generation=3, run=RUN))
        for name in ("one", "two", "over"):
            api.put(named(resource, name), collection=DISTILLATIONS)
        controller.cache.update(over)
        await pass_time(time, api, seconds=599, requests=1)
        assert keys(controller) == ["one", "two"]
        assert [path for _, path in api.requests] == ["/apis/kubedistill.io/v1alpha1/distillationjobs"]
        await pass_time(time, api, seconds=599, requests=2)
        assert keys(controller) == ["one", "two"]

    run(resource, scenario)


def test_looks_are_spread_over_a_tenth_of_the_interval(resource: Object) -> None:
    async def scenario(api: FakeApi, controller: Controller, time: VirtualTime) -> None:
        for number in range(10):
            api.put(named(resource, f"job-{number}"), collection=DISTILLATIONS)
        await time.run(575)
        while not api.requests:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)
        seen = []
        for _ in range(6):
            await time.run(6)
            seen.append(len(keys(controller)))
        assert max(seen) <= 2

    run(resource, scenario)


def test_a_job_whose_deletion_was_not_reported_is_forgotten(resource: Object) -> None:
    async def scenario(api: FakeApi, controller: Controller, time: VirtualTime) -> None:
        controller.cache.update(with_status(named(resource, "ghost"), Status(phase="Succeeded")))
        api.put(named(resource, "one"), collection=DISTILLATIONS)
        await pass_time(time, api, seconds=599, requests=1)
        assert "ghost" not in [name for (_, name), _ in controller.cache]

    run(resource, scenario)


def test_a_server_that_is_away_loses_one_resync_and_no_job(resource: Object) -> None:
    async def scenario(api: FakeApi, controller: Controller, time: VirtualTime) -> None:
        async def before(_method: str, _path: str) -> web.Response:
            return refusal(503, "ServiceUnavailable", "away")

        api.before = before
        controller.cache.update(with_status(named(resource, "one"), Status(phase="Training")))
        await pass_time(time, api, seconds=599, requests=1)
        assert len(controller.cache) == 1
        api.before = None
        api.put(named(resource, "one"), collection=DISTILLATIONS)
        await pass_time(time, api, seconds=599, requests=2)
        assert keys(controller) == ["one"]

    run(resource, scenario)


@pytest.mark.parametrize("spaces", [("team-a",), ("team-a", "team-b")])
def test_only_the_namespaces_that_are_watched_are_asked_for(spaces: tuple[str, ...], resource: Object) -> None:
    async def scenario(api: FakeApi, controller: Controller, time: VirtualTime) -> None:
        for space in ("team-a", "team-b", "team-c"):
            api.put(named(resource, f"in-{space}", namespace=space), collection=DISTILLATIONS)
        await pass_time(time, api, seconds=599, requests=len(spaces))
        assert keys(controller) == [f"in-{space}" for space in spaces]

    run(resource, scenario, settings=SETTINGS.model_copy(update={"watch_namespaces": spaces}))


PATHS = {
    "/apis/kubedistill.io/v1alpha1/distillationjobs", "/apis/ray.io/v1/rayjobs", "/apis/batch/v1/jobs",
    "/api/v1/configmaps", "/api/v1/pods",
}  # fmt: skip


def test_we_watch_once_each_kind_was_listed_and_its_watch_accepted() -> None:
    streams = Streams(())
    for path in sorted(PATHS):
        streams.note(f"https://server{path}")
        assert f"the watch of {path} is not open yet" == streams.missing(), "a list alone is not a watch"
        streams.note(f"https://server{path}?watch=true&resourceVersion=7")
    assert streams.missing() == ""


def test_every_namespace_has_its_own_watch_even_behind_a_proxy_with_a_path() -> None:
    streams = Streams(("team-a", "team-b"))
    for space in ("team-a", "team-b"):
        assert f"/namespaces/{space}/" in streams.missing()
        for path in PATHS:
            root, _, plural = path.rpartition("/")
            streams.note(f"https://proxy/k8s/clusters/c-1{root}/namespaces/{space}/{plural}?watch=true")
    assert streams.missing() == ""


def test_a_watch_of_another_kind_or_of_one_object_opens_none_of_ours() -> None:
    streams = Streams(())
    for path in ("/api/v1/namespaces", "/api/v1/namespaces/x/pods", "/apis/other.io/v1/jobs", "/api/v1/pods/one"):
        streams.note(f"https://server{path}?watch=true")
    assert streams.missing() == "the watch of /api/v1/configmaps is not open yet"
    assert len(streams._pending) == len(PATHS)
