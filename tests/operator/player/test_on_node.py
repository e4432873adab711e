"""The player's KubeRay on real nodes, against a dashboard on loopback that answers as Ray's does."""

import asyncio
import base64
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from support.fake_kuberay.api import Object
from support.fake_kuberay.child import Child, Cluster
from support.fake_kuberay.journal import Journal
from support.fake_kuberay.on_node import Dashboards
from support.fake_kuberay.ray_start import DASHBOARD_PORT, TOKEN_KEY

ADDRESS, TOKEN = "127.0.0.9", "secret"
READY = {"phase": "Running", "podIP": ADDRESS, "conditions": [{"type": "Ready", "status": "True"}]}
RUNNING = {"status": "RUNNING", "message": "Job is currently running.", "start_time": 1_800_000_000_000}
FAILED = {
    "status": "FAILED", "message": "exit code 75", "start_time": 1_800_000_000_000, "end_time": 1_800_000_009_000,
    "driver_exit_code": 75,
}  # fmt: skip


class Secrets:
    """An API server that has the cluster's token."""

    async def get(self, kind: str, key: tuple[str, str]) -> Object:
        assert (kind, key) == ("secrets", ("demo", "quick-abcde"))
        return {"data": {TOKEN_KEY: base64.b64encode(TOKEN.encode()).decode()}}


class Ray:
    """What the dashboard knows: the jobs that were submitted, and what it was asked."""

    def __init__(self) -> None:
        self.jobs: dict[str, Object] = {}
        self.asked: list[tuple[str, str, str | None]] = []
        self.broken = False

    async def answer(self, request: web.Request) -> web.Response:
        body = await request.json() if request.can_read_body else {}
        self.asked.append((request.method, request.path, request.headers.get("Authorization")))
        if self.broken:
            return web.Response(status=503)
        if request.path == "/api/jobs/":
            self.jobs[body["submission_id"]] = dict(RUNNING, entrypoint=body["entrypoint"])
            return web.json_response({"submission_id": body["submission_id"]})
        found = self.jobs.get(request.path.split("/")[3])
        return web.json_response(found) if found else web.Response(status=404, text="Job does not exist")


def child_of(pod_status: Object) -> Child:
    rayjob = {
        "metadata": {"name": "quick", "labels": {}},
        "spec": {"entrypoint": "python -m stage"},
        "status": {"jobId": "quick-1", "jobDeploymentStatus": "Running"},
    }
    head = {
        "metadata": {
            "name": "head",
            "labels": {"ray.io/node-type": "head"},
            "creationTimestamp": "2026-11-27T00:00:00Z",
        },
        "status": pod_status,
    }
    return Child("RayJob", ("demo", "quick"), "uid", rayjob, pods={"head": head}, cluster=Cluster("quick-abcde"))


def play(story: Callable[[Dashboards, Child, Ray], Awaitable[None]], pod_status: Object = READY) -> tuple[Child, Ray]:
    async def run() -> tuple[Child, Ray]:
        ray, child, api = Ray(), child_of(pod_status), Secrets()
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", ray.answer)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, ADDRESS, DASHBOARD_PORT).start()
        dashboards: Any = Dashboards(api, Journal())  # type: ignore[arg-type]
        try:
            await story(dashboards, child, ray)
        finally:
            await runner.cleanup()
        return child, ray

    return asyncio.run(run())


def test_a_driver_is_submitted_with_the_clusters_token_and_looked_at() -> None:
    async def story(dashboards: Dashboards, child: Child, ray: Ray) -> None:
        await dashboards.start(child)
        await dashboards.look(child)

    child, ray = play(story)
    assert ray.jobs["quick-1"]["entrypoint"] == "python -m stage"
    assert {token for _, _, token in ray.asked} == {f"Bearer {TOKEN}"}
    assert child.info
    assert (child.info.status, child.info.started, child.info.message) == (
        "RUNNING",
        1_800_000_000,
        "Job is currently running.",
    )


def test_how_a_driver_ended_is_what_ray_says() -> None:
    async def story(dashboards: Dashboards, child: Child, ray: Ray) -> None:
        await dashboards.start(child)
        ray.jobs["quick-1"] = FAILED
        await dashboards.look(child)

    child, _ = play(story)
    assert child.info
    assert (child.info.status, child.info.exit_code, child.info.ended) == ("FAILED", 75, 1_800_000_009)
    assert child.info.message == "exit code 75"


def test_a_head_that_lost_its_memory_is_reachable_and_knows_no_job() -> None:
    async def story(dashboards: Dashboards, child: Child, ray: Ray) -> None:
        await dashboards.start(child)
        ray.jobs.clear()
        await dashboards.look(child)

    child, _ = play(story)
    assert (child.reachable, child.info) == (True, None)


def test_a_dashboard_that_does_not_answer_well_is_not_reachable() -> None:
    async def story(dashboards: Dashboards, child: Child, ray: Ray) -> None:
        ray.broken = True
        await dashboards.start(child)
        await dashboards.look(child)

    child, _ = play(story)
    assert (child.reachable, child.info) == (False, None)


def test_a_head_that_is_not_ready_is_asked_nothing() -> None:
    async def story(dashboards: Dashboards, child: Child, ray: Ray) -> None:
        await dashboards.look(child)

    _, ray = play(story, {"phase": "Pending"})
    assert ray.asked == []


def test_the_driver_of_a_child_that_is_deleted_is_stopped() -> None:
    async def story(dashboards: Dashboards, child: Child, ray: Ray) -> None:
        await dashboards.start(child)
        await dashboards.look(child)
        await dashboards.withdraw(child)

    _, ray = play(story)
    assert ray.asked[-1][:2] == ("POST", "/api/jobs/quick-1/stop")
