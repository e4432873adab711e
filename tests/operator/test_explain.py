"""Explain: what is there, what would be done and why, in words; and nothing is written."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from kubedistill.contract import StageResult
from kubedistill.errors import InvalidInput
from kubedistill.manifest.settings import DefaultStorage, Settings
from kubedistill.v1alpha1 import StageStatus, Status
from kubedistill_operator.cluster.api_errors import LeaseLost
from kubedistill_operator.explain import Explanation, explain
from kubedistill_operator.job import parse_job
from kubedistill_operator.observed import Attempt, Channel, Child, Competitor, Observed, Pod
from kubedistill_operator.plan import Deletion, Event, Plan, StopRequest
from support.fake_api import FakeApi, refusal, serving
from support.messages import CheckMessage
from support.operator_objects import CLAIMS, DISTILLATIONS, with_status

Object = dict[str, Any]
RESULT = StageResult(driver="d", outcome="Failed", started_at="", ended_at="")


def lines(plan: Plan, resource: Object, observed: Observed | None = None, *, status: Status | None = None) -> list[str]:
    return list(Explanation(with_status(resource, status or Status()), observed or Observed(), plan).lines())


def test_a_job_that_needs_nothing(resource: Object) -> None:
    assert lines(Plan(), resource) == [
        "team-a/support: Pending, generation 3",
        "because: there is nothing to do",
    ]


def test_all_that_would_be_done_is_said_in_its_order(resource: Object) -> None:
    plan = Plan(
        status=Status(phase="Training", stages=(StageStatus(name="Train", state="Starting", attempt=2),)),
        delete=(Deletion("RayJob", "old", "u"),),
        stop=StopRequest("x-out"),
        create=({"kind": "RayJob", "metadata": {"name": "new"}},),
        events=(Event("AttemptFailed", "Train attempt 1: HeadLost", "Warning"),),
        requeue_after=5,
        why=("Train begins attempt 2", "the old one is gone"),
    )
    status = Status(phase="Queued", stages=(StageStatus(name="Train", state="Pending", attempt=1),))
    assert lines(plan, resource, status=status) == [
        "team-a/support: Queued, generation 3",
        "because: Train begins attempt 2; the old one is gone",
        "  would write status: phase: Queued -> Training; stages.Train.attempt: 1 -> 2; "
        "stages.Train.state: Pending -> Starting",
        "  would delete RayJob old",
        "  would ask the driver behind x-out to save and stop",
        "  would create RayJob new",
        "  would send Event Warning AttemptFailed: Train attempt 1: HeadLost",
        "  would reconcile again in 5 s",
    ]


def test_what_is_there_is_said_before(resource: Object) -> None:
    waiting = Pod("head", "u", "Pending", 0.0, waiting_reason="ImagePullBackOff")
    observed = Observed(
        attempt=Attempt(
            Child("RayJob", "x", "u", 0.0, "Waiting", reason="FailedCreate", message="too many", admitted=False),
            Channel("t:d", starts=2, result=RESULT, problem="progress.json: not JSON"),
            (waiting, Pod("worker", "u", "Running", 0.0)),
        ),
        earlier=(Attempt(pods=(Pod("lingers", "u", "Running", 0.0),)),),
        competitors=(Competitor("team-b", "other", "u"),),
    )
    assert lines(Plan(), resource, observed)[1:-1] == [
        "  current child: RayJob x Waiting, held back by its queue (FailedCreate: too many)",
        "  current pods: head Pending (ImagePullBackOff), worker Running",
        "  current channel: 2 starts, result Failed; it cannot be read completely: progress.json: not JSON",
        "  earlier child: gone",
        "  earlier pods: lingers Running",
        "  other job with the same artifacts on the same store: team-b/other",
    ]


def test_a_spec_that_cannot_be_read_is_named(resource: Object) -> None:
    del resource["spec"]["data"]
    found = list(Explanation(parse_job(resource), Observed(), Plan()).lines())
    assert found[1] == "  its spec cannot be read: spec.data: the required field is missing. Add `data`"


def ask(resource: Object, tmp_path: Path, *, name: str = "support", before: Any = None) -> tuple[Explanation, FakeApi]:
    async def play() -> tuple[Explanation, FakeApi]:
        async with serving(FakeApi(before=before)) as api:
            claim = {"metadata": {"name": "shared", "namespace": "team-a"}, "spec": {"accessModes": ["ReadWriteMany"]}}
            api.put(claim, collection=CLAIMS)
            api.put(resource, collection=DISTILLATIONS)
            kubeconfig = api.write_kubeconfig(tmp_path / "kubeconfig")
            settings = Settings(storage=DefaultStorage(volume_claim="shared"))
            return await explain("team-a", name, settings=settings, kubeconfig=kubeconfig), api

    return asyncio.run(play())


def test_a_job_is_looked_at_thoroughly_and_left_as_it_is(resource: Object, tmp_path: Path) -> None:
    found, api = ask(resource, tmp_path)
    assert found.plan.why == ("run 1 starts",)
    assert [path for _, path in api.requests if path.endswith("/pods")]
    assert not api.writes()


def test_an_account_of_one_namespace_still_gets_an_answer(resource: Object, tmp_path: Path) -> None:
    async def before(_method: str, path: str) -> web.Response | None:
        return refusal(403, "Forbidden", "no") if path.endswith("v1alpha1/distillationjobs") else None

    found, _ = ask(resource, tmp_path, before=before)
    assert found.plan.why == ("run 1 starts",)


def test_a_job_that_is_not_there_is_said(resource: Object, tmp_path: Path, check_message: CheckMessage) -> None:
    with pytest.raises(InvalidInput) as caught:
        ask(resource, tmp_path, name="other")
    check_message(caught.value, "DistillationJob", "other", "team-a")


def test_explain_could_not_write_if_it_wanted_to(
    resource: Object, tmp_path: Path, monkeypatch: Any, check_message: CheckMessage
) -> None:
    async def write(controller: Any, job: Any) -> None:
        await controller.executor.execute(Plan(status=Status(phase="Failed")), job)

    monkeypatch.setattr("kubedistill_operator.explain._decide", write)
    with pytest.raises(LeaseLost) as caught:
        ask(resource, tmp_path)
    check_message(caught.value)
