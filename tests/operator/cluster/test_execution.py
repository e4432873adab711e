"""Execution: the order of writes, what a name that is taken means, and how Events are told once."""

import asyncio
import copy
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest
from aiohttp import web

from kubedistill.v1alpha1 import Condition, StageStatus, Status
from kubedistill_operator.children.attempt import build_children
from kubedistill_operator.cluster.api_errors import BeingDeleted, Conflict, LeaseLost, NameCollision, Refused, Transient
from kubedistill_operator.cluster.client import Cluster
from kubedistill_operator.cluster.events import event_manifest
from kubedistill_operator.cluster.execution import Executor, is_same
from kubedistill_operator.cluster.status_writing import status_values
from kubedistill_operator.job import Job, parse_job
from kubedistill_operator.plan import Deletion, Event, Manifest, Plan, StopRequest
from support.child_scenarios import request_of
from support.fake_api import FakeApi, refusal, serving
from support.messages import CheckMessage
from support.operator_objects import DISTILLATIONS, EVENTS, MAPS, RAYJOBS, at_stage, channel, child

Object = dict[str, Any]
Scenario = Callable[[FakeApi, Executor, Job], Awaitable[None]]
NOW = 1_772_370_000.0
ROLES = "rbac.authorization.k8s.io/v1/roles"


def run(scenario: Scenario, resource: Object, *, write_deadline: Callable[[], float] = lambda: 10.0) -> FakeApi:
    """Play a scenario against a server that holds the job; gives the server."""

    async def play() -> FakeApi:
        async with serving(FakeApi()) as api, Cluster(api.configuration, write_deadline=write_deadline) as cluster:
            job = parse_job(api.put(resource, collection=DISTILLATIONS))
            await scenario(api, Executor(cluster, lambda: NOW, "replica-1"), job)
            return api

    return asyncio.run(play())


def execute(plan: Plan, resource: Object, *, prepare: Callable[[FakeApi], None] = lambda _: None) -> FakeApi:
    """Carry out one plan."""

    async def scenario(api: FakeApi, executor: Executor, job: Job) -> None:
        prepare(api)
        api.requests.clear()
        await executor.execute(plan, job)

    return run(scenario, resource)


def events(api: FakeApi) -> list[Object]:
    return [one for (collection, _, _), one in api.objects.items() if collection == EVENTS]


def rayjob(resource: Object) -> Manifest:
    """Return a RayJob as a plan creates it."""
    manifest = child(resource, "Train")
    return {"apiVersion": "ray.io/v1", "kind": "RayJob", "metadata": manifest["metadata"], "spec": {}}


def test_an_empty_plan_asks_nothing(resource: Object) -> None:
    assert execute(Plan(), resource).requests == []


def test_everything_is_written_in_order(resource: Object) -> None:
    old = child(resource, "Generate")
    out = channel(resource, "Train")
    new = rayjob(resource)

    def prepare(api: FakeApi) -> None:
        api.put(old, collection=RAYJOBS)
        api.put(out, collection=MAPS)

    plan = Plan(
        status=Status(phase="Training"),
        delete=(Deletion("RayJob", old["metadata"]["name"], old["metadata"]["uid"]),),
        stop=StopRequest(out["metadata"]["name"]),
        create=(new,),
        events=(Event("StageStarted", "Train"),),
    )
    api = execute(plan, resource, prepare=prepare)
    space = "namespaces/team-a"
    assert api.writes() == [
        ("PUT", f"/apis/kubedistill.io/v1alpha1/{space}/distillationjobs/support/status"),
        ("DELETE", f"/apis/ray.io/v1/{space}/rayjobs/{old['metadata']['name']}"),
        ("PATCH", f"/api/v1/{space}/configmaps/{out['metadata']['name']}"),
        ("POST", f"/apis/ray.io/v1/{space}/rayjobs"),
        ("POST", f"/api/v1/{space}/events"),
    ]
    assert parse_job(api.find(DISTILLATIONS, "support") or {}).status == Status(phase="Training")
    assert (api.find(MAPS, out["metadata"]["name"]) or {})["data"]["stop"] == "true"
    assert api.find(RAYJOBS, old["metadata"]["name"]) is None
    assert api.find(RAYJOBS, new["metadata"]["name"]) is not None


def test_where_somebody_else_wrote_the_job_nothing_is_written(resource: Object) -> None:
    async def scenario(api: FakeApi, executor: Executor, job: Job) -> None:
        stale = replace(job, resource_version="0")
        with pytest.raises(Conflict):
            await executor.execute(
                Plan(status=Status(phase="Failed"), create=(rayjob(resource),), events=(Event("X", "x"),)), stale
            )
        assert api.writes() == [api.writes()[0]]

    run(scenario, resource)


def test_a_job_of_the_same_name_that_came_after_is_left_alone(resource: Object) -> None:
    async def scenario(_api: FakeApi, executor: Executor, job: Job) -> None:
        with pytest.raises(Conflict):
            await executor.execute(Plan(status=Status(phase="Failed")), replace(job, uid="earlier"))

    run(scenario, resource)


def test_a_job_that_was_deleted_meanwhile_is_looked_at_again(resource: Object, check_message: CheckMessage) -> None:
    async def scenario(api: FakeApi, executor: Executor, job: Job) -> None:
        api.objects.clear()
        with pytest.raises(Conflict) as caught:
            await executor.execute(Plan(status=Status(phase="Failed")), job)
        check_message(caught.value, "team-a/support")

    run(scenario, resource)


def test_an_absent_child_needs_no_deletion_and_no_request_to_stop(resource: Object) -> None:
    api = execute(Plan(delete=(Deletion("RayJob", "x", "u"),), stop=StopRequest("x-out")), resource)
    assert [method for method, _ in api.requests] == ["DELETE", "PATCH"]


def test_an_object_that_came_after_under_the_same_name_is_not_deleted(resource: Object) -> None:
    name = child(resource, "Train")["metadata"]["name"]
    plan = Plan(delete=(Deletion("RayJob", name, "earlier"),))
    api = execute(plan, resource, prepare=lambda api: api.put(rayjob(resource), collection=RAYJOBS) and None)
    assert api.find(RAYJOBS, name) is not None


def test_an_object_created_before_a_crash_counts_as_created(resource: Object) -> None:
    new = rayjob(resource)
    api = execute(Plan(create=(new,)), resource, prepare=lambda api: api.put(new, collection=RAYJOBS) and None)
    assert len([one for one in api.objects if one[0] == RAYJOBS]) == 1


def other_attempt(found: Manifest) -> None:
    found["metadata"]["labels"]["kubedistill.io/attempt"] = "2"


def other_run(found: Manifest) -> None:
    found["metadata"]["labels"]["kubedistill.io/run"] = "two"


def no_owner(found: Manifest) -> None:
    del found["metadata"]["ownerReferences"]


def foreign(found: Manifest) -> None:
    del found["metadata"]["labels"]


def leftover(found: Manifest) -> None:
    found["metadata"]["labels"]["kubedistill.io/job-uid"] = "earlier"


def orphaned(found: Manifest) -> None:
    leftover(found)
    no_owner(found)


def on_its_way_out(found: Manifest) -> None:
    found["metadata"]["deletionTimestamp"] = "2026-03-01T12:00:00Z"


TAKEN = [
    (
        other_attempt,
        NameCollision,
        r"RayJob team-a/support-train-\w+ exists and does not belong to this job; delete it or rename the job",
    ),
    (other_run, NameCollision, "does not belong to this job"),
    (no_owner, NameCollision, "does not belong to this job"),
    (foreign, NameCollision, "does not belong to this job"),
    (leftover, BeingDeleted, "belongs to an earlier job of this name, and will be garbage-collected"),
    (orphaned, NameCollision, "does not belong to this job"),
    (on_its_way_out, BeingDeleted, "is being deleted"),
]


@pytest.mark.parametrize(("change", "failure", "message"), TAKEN, ids=lambda value: getattr(value, "__name__", ""))
def test_a_name_that_is_taken(
    change: Callable[[Manifest], None], failure: type[Exception], message: str, resource: Object
) -> None:
    found = child(resource, "Train")
    change(found)
    with pytest.raises(failure, match=message) as caught:
        execute(
            Plan(create=(rayjob(resource),)), resource, prepare=lambda api: api.put(found, collection=RAYJOBS) and None
        )
    assert type(caught.value) is failure


def role(resource: Object, *, owner: str = "", **metadata: Any) -> Manifest:
    """Return the Role of an attempt, which its RayJob owns."""
    made = child(resource, "Train")["metadata"]
    owners = [{"kind": "RayJob", "name": owner or made["name"], "uid": ""}]
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "Role",
        "metadata": made | {"ownerReferences": owners} | metadata,
    }


@pytest.mark.parametrize("before", ["nothing", "the RayJob is there", "the RayJob was made in an earlier plan"])
def test_role_and_binding_belong_to_the_child_that_was_made_with_them(before: str, resource: Object) -> None:
    owner = rayjob(resource)
    name = owner["metadata"]["name"]
    create = (role(resource),) if "earlier" in before else (owner, role(resource))

    def prepare(api: FakeApi) -> None:
        if before != "nothing":
            api.put(owner, collection=RAYJOBS)

    api = execute(Plan(create=create), resource, prepare=prepare)
    uid = (api.find(RAYJOBS, name) or {})["metadata"]["uid"]
    assert uid
    assert (api.find(ROLES, name) or {})["metadata"]["ownerReferences"][0]["uid"] == uid
    assert create[-1]["metadata"]["ownerReferences"][0]["uid"] == "", "the plan is left as it was"


def job_map(resource: Object) -> Manifest:
    found = channel(resource, "Train")
    return found | {"metadata": found["metadata"] | {"name": child(resource, "Train")["metadata"]["name"]}}


@pytest.mark.parametrize("planted", ["Role", "ConfigMap"])
def test_no_child_is_made_while_something_that_it_would_own_is_somebody_else_s(planted: str, resource: Object) -> None:
    own = role(resource)
    work = job_map(resource) | {"apiVersion": "v1", "kind": "ConfigMap"}
    work["metadata"] = work["metadata"] | {"ownerReferences": own["metadata"]["ownerReferences"]}
    theirs = {"metadata": {"name": own["metadata"]["name"], "namespace": "team-a"}}
    plan = Plan(create=(rayjob(resource), own, work))

    async def scenario(api: FakeApi, executor: Executor, job: Job) -> None:
        api.put(theirs, collection=ROLES if planted == "Role" else MAPS)
        with pytest.raises(NameCollision, match=f"{planted} team-a/support-train-.* exists and does not"):
            await executor.execute(plan, job)
        assert api.writes() == []

    run(scenario, resource)


def test_nothing_is_made_for_an_owner_that_is_gone(resource: Object, check_message: CheckMessage) -> None:
    with pytest.raises(Transient) as caught:
        execute(Plan(create=(role(resource, owner="x"),)), resource)
    check_message(caught.value, "RayJob", "team-a/x")


def test_a_refusal_between_two_writes_is_raised_with_the_status_written(resource: Object) -> None:
    async def scenario(api: FakeApi, executor: Executor, job: Job) -> None:
        async def before(method: str, path: str) -> web.Response | None:
            if method == "POST" and path.endswith("/rayjobs"):
                return refusal(403, "Forbidden", "exceeded quota: team")
            return None

        api.before = before
        plan = Plan(status=Status(phase="Training"), create=(rayjob(resource),), events=(Event("StageStarted", "x"),))
        with pytest.raises(Refused, match="403 exceeded quota: team"):
            await executor.execute(plan, job)
        assert [one["reason"] for one in events(api)] == ["StageStarted"]

    run(scenario, resource)


UNKNOWN = [
    (web.Response(status=404, text="404 page not found"), Refused, "/rayjobs: the server does not know this kind"),
    (refusal(404, "NotFound", 'namespaces "team-a" not found'), Transient, "namespace team-a is gone"),
]


@pytest.mark.parametrize(("answer", "failure", "message"), UNKNOWN, ids=["kind", "namespace"])
def test_where_nothing_can_be_made_it_is_said_why(
    answer: web.Response, failure: type[Exception], message: str, resource: Object
) -> None:
    async def scenario(api: FakeApi, executor: Executor, job: Job) -> None:
        async def before(_method: str, path: str) -> web.Response | None:
            return answer if path.endswith("/rayjobs") else None

        api.before = before
        with pytest.raises(failure, match=message):
            await executor.execute(Plan(create=(rayjob(resource),)), job)

    run(scenario, resource)


def test_a_replica_that_lost_its_lease_writes_nothing(resource: Object) -> None:
    def write_deadline() -> float:
        raise LeaseLost("another replica may lead")

    async def scenario(api: FakeApi, executor: Executor, job: Job) -> None:
        for plan in (
            Plan(status=Status(phase="Failed"), events=(Event("X", "x"),)),
            Plan(delete=(Deletion("RayJob", "x", "u"),)),
            Plan(stop=StopRequest("x-out")),
            Plan(create=(rayjob(resource),)),
        ):
            with pytest.raises(LeaseLost):
                await executor.execute(plan, job)
        assert not api.writes()

    run(scenario, resource, write_deadline=write_deadline)


def test_an_event_that_is_repeated_is_not_a_second_event(resource: Object) -> None:
    async def scenario(api: FakeApi, executor: Executor, job: Job) -> None:
        for _ in range(2):
            await executor.execute(Plan(events=(Event("StageStarted", "Train attempt 1"),)), job)
        await executor.execute(Plan(events=(Event("StageSucceeded", "Train"),)), job)
        assert [one["reason"] for one in events(api)] == ["StageStarted", "StageSucceeded"]

    run(scenario, resource)


def test_a_cluster_that_takes_no_events_stops_nothing(resource: Object) -> None:
    async def scenario(api: FakeApi, executor: Executor, job: Job) -> None:
        async def before(_method: str, path: str) -> web.Response | None:
            return refusal(403, "Forbidden", "no") if path.endswith("/events") else None

        api.before = before
        await executor.execute(Plan(status=Status(phase="Training"), events=(Event("X", "x"),)), job)

    run(scenario, resource)


def test_an_event_names_its_job_and_fits(resource: Object) -> None:
    job = at_stage(resource, "Train")
    found = event_manifest(Event("AttemptFailed", "x" * 3000, "Warning"), job, now=NOW, instance="replica-1")
    assert found["involvedObject"]["uid"] == job.uid
    assert (found["type"], found["reason"], len(found["message"])) == ("Warning", "AttemptFailed", 1024)
    assert found["eventTime"] == "2026-03-01T13:00:00.000000Z"
    assert len(found["metadata"]["name"]) <= 253


def test_events_of_another_attempt_run_or_generation_are_others(resource: Object) -> None:
    def name(job: Job) -> str:
        return event_manifest(Event("StageStarted", ""), job, now=NOW, instance="r")["metadata"]["name"]

    job = at_stage(resource, "Train")
    other = at_stage(resource, "Train", attempt=2)
    other = replace(other, status=other.status.model_copy(update={"attempt": 2}))
    assert len({name(job), name(other), name(replace(job, generation=4)), name(at_stage(resource, "Export"))}) == 4
    assert name(job) == name(at_stage(resource, "Train"))
    ends = {
        event_manifest(Event("RunSuperseded", "", about=run), job, now=NOW, instance="r")["metadata"]["name"]
        for run in ("one", "two", "one")
    }
    assert len(ends) == 2, "a job may give up several runs before it begins the next stage"


def test_a_status_is_written_without_what_is_empty() -> None:
    condition = Condition(type="Complete", status="False", reason="NotYet")
    status = Status(phase="Training", stages=(StageStatus(name="Train"),), conditions=(condition,))
    assert status_values(status) == {
        "observedGeneration": 0,
        "phase": "Training",
        "conditions": [{"type": "Complete", "status": "False", "reason": "NotYet", "observedGeneration": 0}],
        "stages": [
            {
                "name": "Train",
                "state": "Pending",
                "attempt": 0,
                "percent": 0,
                "gpuSeconds": 0.0,
                "starts": 0,
                "restarts": {"failure": 0, "infrastructure": 0, "preemption": 0},
            }
        ],
    }


def test_a_status_that_was_written_reads_the_same(resource: Object) -> None:
    status = at_stage(resource, "Train").status
    assert parse_job(resource | {"status": status_values(status)}).status == status


def test_a_string_that_is_too_long_is_cut_instead_of_losing_the_status() -> None:
    stage = StageStatus(name="Train").model_copy(update={"message": "m" * 5000, "reason": "r" * 300})
    values = status_values(Status(stages=(stage,)).model_copy(update={"message": "x" * 1025}))
    assert values["message"] == "x" * 1023 + "…"
    assert len(values["stages"][0]["message"]) == 1024
    assert len(values["stages"][0]["reason"]) == 253


def test_a_found_object_is_ours_only_with_our_labels_and_owner(resource: Object) -> None:
    ours = rayjob(resource)
    found = child(resource, "Train")
    assert is_same(ours, found)
    found["metadata"]["labels"] = found["metadata"]["labels"] | {"kueue.x-k8s.io/queue-name": "gpu", "added": "later"}
    assert is_same(ours, found), "what others add does not matter"


def wider(found: Manifest) -> None:
    found["rules"] = [{**found["rules"][0], "resourceNames": ["another-out"]}]


def one_rule_more(found: Manifest) -> None:
    found["rules"] = [*found["rules"], {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}]


def second_owner(found: Manifest) -> None:
    owners = found["metadata"]["ownerReferences"]
    found["metadata"]["ownerReferences"] = [*owners, {**owners[0], "uid": "another"}]


def other_subject(found: Manifest) -> None:
    found["subjects"] = [{**found["subjects"][0], "name": "default"}]


def mounts_its_token(found: Manifest) -> None:
    found["automountServiceAccountToken"] = True


def not_managed(found: Manifest) -> None:
    found["metadata"]["labels"] = {
        name: value for name, value in found["metadata"]["labels"].items() if not name.startswith("app.")
    }


def added_to(found: Manifest) -> None:
    """What OpenShift and policies add to every account."""
    found["metadata"]["annotations"] = {"openshift.io/internal-registry-pull-secret-ref": "x"}
    found["metadata"]["labels"] = {**found["metadata"]["labels"], "cost": "1"}
    found["imagePullSecrets"] = found["secrets"] = [{"name": "driver-dockercfg"}]


PLANTED = [
    ("ServiceAccount", mounts_its_token, False), ("ServiceAccount", second_owner, False),
    ("ServiceAccount", no_owner, False), ("ServiceAccount", not_managed, False), ("ServiceAccount", added_to, True),
    ("Role", wider, False), ("Role", one_rule_more, False), ("Role", no_owner, False),
    ("RoleBinding", other_subject, False), ("RoleBinding", second_owner, False),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "change", "ours"), PLANTED, ids=lambda value: getattr(value, "__name__", str(value)))
def test_an_object_that_grants_permissions_is_ours_only_if_it_is_complete(
    kind: str, change: Callable[[Manifest], None], ours: bool
) -> None:
    made = next(one for one in build_children(request_of("prepare-quickstart")) if one["kind"] == kind)
    found = copy.deepcopy(made)
    assert is_same(made, found)
    change(found)
    assert is_same(made, found) == ours


SEALED = {"kind": "ConfigMap", "metadata": {"name": "a"}, "immutable": True, "data": {"run.json": "{}"}}
BOUND = {
    "kind": "RoleBinding", "metadata": {"name": "a"}, "roleRef": {"kind": "Role", "name": "a"},
    "subjects": [{"kind": "ServiceAccount", "name": "a"}],
}  # fmt: skip
GRANTED = {"kind": "Role", "metadata": {"name": "a"}, "rules": [{"verbs": ["get"], "resourceNames": ["a-out"]}]}
CHANGES: dict[str, tuple[Manifest, Manifest]] = {
    "other bytes": (SEALED, {"data": {"run.json": "{} "}}),
    "more keys": (SEALED, {"data": {"run.json": "{}", "more": ""}}),
    "keys of bytes": (SEALED, {"binaryData": {"job.json": "e30="}}),
    "no data": (SEALED, {"data": None}),
    "not sealed": (SEALED, {"immutable": False}),
    "a wider role": (GRANTED, {"rules": [{"verbs": ["*"]}]}),
    "somebody else's binding": (BOUND, {"subjects": [{"kind": "User", "name": "eve"}]}),
    "a binding to another role": (BOUND, {"roleRef": {"kind": "ClusterRole", "name": "edit"}}),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_found_object_with_other_content_is_not_ours(change: str) -> None:
    ours, changes = CHANGES[change]
    assert is_same(ours, copy.deepcopy(ours))
    assert not is_same(ours, ours | changes)


def test_a_channel_is_ours_whatever_its_driver_wrote(resource: Object) -> None:
    assert is_same(channel(resource, "Train"), channel(resource, "Train", owner="t:1", starts="1"))
