"""A controller and an API server in memory that holds one job, with time that moves by hand."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from kubedistill.chain import CHAIN, STAGES
from kubedistill.contract import ArtifactRef, StageResult
from kubedistill.manifest.settings import DefaultStorage, Settings
from kubedistill_operator.cluster.client import Cluster
from kubedistill_operator.cluster.execution import Executor
from kubedistill_operator.cluster.observation import Observer
from kubedistill_operator.job import Job, parse_job
from kubedistill_operator.loop.controller import Controller
from kubedistill_operator.loop.job_cache import JobCache
from kubedistill_operator.loop.workqueue import WorkQueue
from kubedistill_operator.telemetry.metrics import Metrics
from support.fake_api import FakeApi, serving
from support.operator_objects import CLAIMS, DISTILLATIONS, EVENTS, JOBS, MAPS, RAYJOBS

Object = dict[str, Any]
KEY = ("team-a", "support")
SETTINGS = Settings(storage=DefaultStorage(volume_claim="shared"))
AT = "2026-03-01T12:00:00Z"


@dataclass
class ControllerHarness:
    """A controller and the server that it works with; time moves by hand."""

    api: FakeApi
    controller: Controller
    now: list[float]

    async def settle(self, *, most: int = 200) -> None:
        """Look at every key that is due; fails where there is no end of it."""
        for _ in range(most):
            taken = self.controller.queue.take()
            if taken is None:
                return
            await self.controller.handle(taken[0])
            self.controller.queue.done(taken[0])
        raise AssertionError("the queue never empties")

    async def wait(self, seconds: float) -> None:
        self.now[0] += seconds
        await self.settle()

    def job(self, name: str = "support") -> Job:
        return parse_job(self.api.find(DISTILLATIONS, name) or {})

    def shown(self, *, status: str) -> dict[str, str]:
        """Return the reasons of the job's conditions of a status, by type."""
        return {one.type: one.reason for one in self.job().status.conditions if one.status == status}

    def told(self) -> list[str]:
        """Return the reasons of all Events."""
        return [one["reason"] for place, one in self.api.objects.items() if place[0] == EVENTS]

    def count(self, collection: str) -> int:
        return len([one for one in self.api.objects if one[0] == collection])


@asynccontextmanager
async def harness(
    resource: Object, *, settings: Settings = SETTINGS, **options: Any
) -> AsyncIterator[ControllerHarness]:
    """Yield a server that holds a job, its claim and nothing else."""
    now = [1_772_370_000.0]
    write_deadline = options.pop("write_deadline", lambda: 10.0)
    clock = options.pop("clock", lambda: now[0])
    async with serving(FakeApi()) as api, Cluster(api.configuration, write_deadline=write_deadline) as cluster:
        claim = {"metadata": {"name": "shared", "namespace": "team-a"}, "spec": {"accessModes": ["ReadWriteMany"]}}
        api.put(claim, collection=CLAIMS)
        api.put(resource, collection=DISTILLATIONS)
        controller = Controller(
            cluster,
            WorkQueue(clock=clock, random_fraction=lambda: 0.0),
            JobCache(settings.storage),
            Observer(cluster, settings, clock),
            Executor(cluster, clock, "r"),
            Metrics(),
            settings,
            clock,
            **options,
        )
        yield ControllerHarness(api, controller, now)


def play(scenario: Callable[[ControllerHarness], Awaitable[None]], resource: Object, **options: Any) -> None:
    async def run() -> None:
        async with harness(resource, **options) as found:
            await scenario(found)

    asyncio.run(run())


def finish_stage(api: FakeApi) -> str:
    """Play driver and cluster of the newest attempt: it claims, works and succeeds; gives the name of its stage."""
    places = [place for place in api.objects if place[0] in (RAYJOBS, JOBS)]
    kept = max((api.objects[place] for place in places), key=lambda one: int(one["metadata"]["resourceVersion"]))
    stage, name = kept["metadata"]["labels"]["kubedistill.io/stage"], kept["metadata"]["name"]
    out = api.find(MAPS, f"{name}-out")
    assert out is not None
    artifacts = {made: ArtifactRef(key=made[:4] * 16, uri="file:///x", complete=True) for made in STAGES[stage].makes}
    if stage == "Prepare":
        every = [made for one in CHAIN for made in one.makes]
        artifacts = {made: ArtifactRef(key=made[:4] * 16, uri="file:///x", complete=made == "rows") for made in every}
    summary = {"gate": {"passed": True}, "distilledAccuracy": 0.8} if stage == "Evaluate" else {}
    result = StageResult(
        driver="d", outcome="Succeeded", started_at=AT, ended_at=AT, artifacts=artifacts, summary=summary
    )
    data = out["data"] | {"owner": f"{out['data']['owner']}:d", "starts": "1", "result.json": result.to_json()}
    api.put(out | {"data": data}, collection=MAPS)
    done = {"jobDeploymentStatus": "Complete", "jobStatus": "SUCCEEDED"}
    if kept["kind"] == "Job":
        done = {"conditions": [{"type": "Complete", "status": "True"}]}
    api.put(kept | {"status": done}, collection=RAYJOBS if kept["kind"] == "RayJob" else JOBS)
    return stage
