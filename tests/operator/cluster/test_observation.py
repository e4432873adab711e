"""Observation: little is asked while a driver works, and everything where no attempt is under way."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from aiohttp import web

from kubedistill.chain import STAGES, StageName
from kubedistill.contract import StageResult
from kubedistill.manifest.settings import CaBundle, DefaultStorage, Rbac, Settings
from kubedistill.v1alpha1 import Status
from kubedistill_operator.clock import stamp
from kubedistill_operator.cluster.client import Cluster
from kubedistill_operator.cluster.failed_pods import FailedPods
from kubedistill_operator.cluster.observation import Observer
from kubedistill_operator.decisions.run_snapshot import frozen_manifest, is_intact, take_snapshot
from kubedistill_operator.job import Job, parse_job
from kubedistill_operator.names import frozen_name
from kubedistill_operator.observed import Observed
from support.fake_api import FakeApi, refusal, serving
from support.operator_objects import (
    CLAIMS,
    EVENTS,
    JOBS,
    MAPS,
    NODES,
    PODS,
    RAYJOBS,
    RUN,
    at_stage,
    channel,
    child,
    child_of,
    pod,
    with_status,
)

Object = dict[str, Any]
NOW = 1_772_370_000.0
RESULT = StageResult(
    driver="d", outcome="Succeeded", started_at="2026-03-01T12:00:00Z", ended_at="2026-03-01T12:00:00Z"
)
RUNNING = {"jobDeploymentStatus": "Running", "jobStatus": "RUNNING"}


def frozen_run(resource: Object) -> Object:
    """Return the ConfigMap of the run."""
    return frozen_manifest(parse_job(resource), take_snapshot(parse_job(resource), RUN.id, settings=Settings()))


def put_frozen(api: FakeApi, resource: Object) -> None:
    api.put(frozen_run(resource), collection=MAPS)


def begun(resource: Object, *, snapshot: bool = True) -> Job:
    """Return the job in Train, with the digest of its frozen run, or as 0.1 left it."""
    job = at_stage(resource, "Train")
    frozen = take_snapshot(parse_job(resource), RUN.id, settings=Settings())
    run = RUN.model_copy(update={"digest": frozen.digest, "snapshot_digest": frozen.snapshot if snapshot else ""})
    return with_status(resource, job.status.model_copy(update={"run": run}))


def observe(
    job: Job, prepare: Callable[[FakeApi], None], *, settings: Settings | None = None, full: bool = False
) -> tuple[Observed, list[str]]:
    """Return (what was observed, the collections that were asked for)"""

    async def play() -> tuple[Observed, list[str]]:
        async with serving(FakeApi()) as api, Cluster(api.configuration, write_deadline=lambda: 10.0) as cluster:
            prepare(api)
            observer = Observer(cluster, settings or Settings(), lambda: NOW)
            found = (await observer.observe(job, full=full)).observed
            assert not api.writes()
            return found, [path for _, path in api.requests]

    return asyncio.run(play())


def working(resource: Object, *, driver: Object | None = None, **data: str) -> Callable[[FakeApi], None]:
    """Return a driver running Train, and a child of Generate that is kept for a while."""

    def prepare(api: FakeApi) -> None:
        put_frozen(api, resource)
        api.put(driver or child(resource, "Train", **RUNNING), collection=RAYJOBS)
        api.put(channel(resource, "Train", **data), collection=MAPS)
        api.put(child(resource, "Generate", jobDeploymentStatus="Complete"), collection=RAYJOBS)
        api.put(pod(resource, "head", "Train", phase="Running"), collection=PODS)
        api.put(pod(resource, "old", "Generate", phase="Succeeded"), collection=PODS)

    return prepare


@pytest.mark.parametrize("result", ["", RESULT.to_json()])
def test_while_a_driver_runs_only_child_channel_and_frozen_run_are_read(result: str, resource: Object) -> None:
    found, asked = observe(begun(resource), working(resource, starts="1", result_json=result))
    assert found.attempt.child is not None
    assert found.attempt.child.state == "Running"
    assert found.attempt.channel is not None
    assert found.attempt.channel.starts == 1
    assert found.frozen is not None
    assert found.frozen.run_id == "one"
    assert (found.earlier, found.attempt.pods) == ((), ())
    root = "/api/v1/namespaces/team-a/configmaps"
    train = child_of(resource, "Train", attempt=1)
    assert sorted(asked) == sorted(
        [
            f"/apis/ray.io/v1/namespaces/team-a/rayjobs/{train}",
            f"{root}/{train}-out",
            next(path for path in asked if path.startswith(f"{root}/support-run-")),
        ]
    )


WHOLE: dict[str, tuple[list[Object], bool]] = {
    "it is not there": ([], False),
    "its child owns it": ([{"kind": "RayJob", "name": "x", "uid": "CHILD"}], True),
    "the job owns it, as 0.1 made it": ([{"kind": "DistillationJob", "name": "support", "uid": "JOB"}], True),
    "another job's child owns it": ([{"kind": "RayJob", "name": "x", "uid": "another"}], False),
}


@pytest.mark.parametrize("case", WHOLE)
@pytest.mark.parametrize("adopted", [False, True])
def test_an_attempt_is_whole_when_what_is_made_last_is_there(case: str, *, adopted: bool, resource: Object) -> None:
    owners, whole = WHOLE[case]
    train = child(resource, "Train", **RUNNING)
    uids = {"CHILD": train["metadata"]["uid"], "JOB": resource["metadata"]["uid"]}

    def prepare(api: FakeApi) -> None:
        working(resource, driver=train)(api)
        made = [one | {"uid": uids.get(one["uid"], one["uid"])} for one in owners]
        if made:
            metadata = {**train["metadata"], "ownerReferences": made, "uid": "config-map"}
            api.put({"metadata": metadata, "data": {"job.json": "{}"}}, collection=MAPS)

    job = at_stage(resource, "Train", state="Starting", child_uid="u" if adopted else "")
    found, asked = observe(job, prepare)
    assert found.attempt.is_whole == (whole or adopted)
    assert any(path.endswith(f"/configmaps/{train['metadata']['name']}") for path in asked) == (not adopted)


Case = Callable[[Object], tuple[Job, Callable[[FakeApi], None]]]
COMING_OR_GOING: dict[str, Case] = {
    "the child waits for nodes": lambda r: (
        at_stage(r, "Train"), working(r, driver=child(r, "Train", jobDeploymentStatus="Initializing")),
    ),
    "the child ended": lambda r: (
        at_stage(r, "Train"), working(r, driver=child(r, "Train", jobDeploymentStatus="Failed")),
    ),
    "the child ended, and its driver left a result": lambda r: (
        at_stage(r, "Train"),
        working(r, driver=child(r, "Train", jobDeploymentStatus="Complete"), result_json=RESULT.to_json()),
    ),
    "the attempt was just allotted": lambda r: (at_stage(r, "Train", state="Starting"), working(r)),
    "the driver was asked to stop": lambda r: (at_stage(r, "Train", state="Stopping"), working(r)),
}  # fmt: skip


@pytest.mark.parametrize("case", COMING_OR_GOING)
def test_the_pods_of_an_attempt_that_comes_up_or_ends_are_listed_and_no_others(case: str, resource: Object) -> None:
    job, prepare = COMING_OR_GOING[case](resource)
    found, asked = observe(job, prepare)
    assert [one.name for one in found.attempt.pods] == ["head"]
    assert found.earlier == ()
    assert [path for path in asked if path.endswith(("/rayjobs", "/jobs", "/pods"))] == [
        "/api/v1/namespaces/team-a/pods"
    ]


OVER: dict[str, Case] = {
    "no attempt is under way": lambda r: (at_stage(r, "Train", state="Pending"), working(r)),
    "the last attempt has failed": lambda r: (at_stage(r, "Train", state="Failed"), working(r)),
    "no run has begun": lambda r: (parse_job(r), working(r)),
}  # fmt: skip


@pytest.mark.parametrize("case", OVER)
def test_where_no_attempt_is_under_way_everything_of_the_job_is_listed(case: str, resource: Object) -> None:
    job, prepare = OVER[case](resource)
    found, asked = observe(job, prepare)
    spaces = "/namespaces/team-a/"
    for path in (f"/apis/ray.io/v1{spaces}rayjobs", f"/apis/batch/v1{spaces}jobs", f"/api/v1{spaces}pods"):
        assert path in asked
    kept = [attempt for attempt in found.earlier if attempt.child and "-generate-" in attempt.child.name]
    assert len(kept) == 1
    assert [one.name for one in kept[0].pods] == ["old"]


def test_everything_is_listed_when_it_is_asked_for(resource: Object) -> None:
    found, _ = observe(at_stage(resource, "Train"), working(resource), full=True)
    assert [one.name for one in found.attempt.pods] == ["head"]
    assert len(found.earlier) == 1


def test_a_stage_without_a_current_attempt_has_only_earlier_ones(resource: Object) -> None:
    found, _ = observe(at_stage(resource, "Train", state="Pending"), working(resource))
    assert (found.attempt.child, found.attempt.channel, found.attempt.pods) == (None, None, ())
    assert sorted(one.child.name.split("-")[1] for one in found.earlier if one.child) == ["generate", "train"]


def test_pods_without_a_child_are_an_earlier_attempt(resource: Object) -> None:
    def prepare(api: FakeApi) -> None:
        put_frozen(api, resource)
        api.put(child(resource, "Train", attempt=2), collection=RAYJOBS)
        api.put(pod(resource, "lingering", "Train", attempt=1, phase="Running"), collection=PODS)
        api.put(pod(resource, "new", "Train", attempt=2, phase="Pending"), collection=PODS)

    found, _ = observe(at_stage(resource, "Train", attempt=2), prepare, full=True)
    assert [one.name for one in found.attempt.pods] == ["new"]
    assert [[one.name for one in attempt.pods] for attempt in found.earlier] == [["lingering"]]
    assert found.earlier[0].child is None


def test_objects_of_an_earlier_job_of_the_same_name_are_not_ours(resource: Object) -> None:
    other = {**resource, "metadata": {**resource["metadata"], "uid": "another"}}
    old, out = child(other, "Train", **RUNNING), channel(other, "Train", starts="1")
    train = child_of(resource, "Train", attempt=1)
    old["metadata"]["name"], out["metadata"]["name"] = train, f"{train}-out"

    def prepare(api: FakeApi) -> None:
        put_frozen(api, resource)
        api.put(old, collection=RAYJOBS)
        api.put(out, collection=MAPS)

    found, _ = observe(at_stage(resource, "Train"), prepare)
    assert (found.attempt.child, found.attempt.channel, found.earlier) == (None, None, ())


@pytest.mark.parametrize("edited", [False, True])
def test_generate_with_an_endpoint_is_found_as_a_batch_job(resource: Object, *, edited: bool) -> None:
    """An edit of the teacher during a run does not hide the child that the frozen teacher needs."""
    remote = [{"name": "main", "endpoint": {"model": "large"}}]
    frozen = {**resource, "spec": {**resource["spec"], "teachers": remote}}
    job = at_stage(resource if edited else frozen, "Generate")
    found, _ = observe(job, lambda api: api.put(child(frozen, "Generate", active=1), collection=JOBS))
    assert found.attempt.child is not None
    assert found.attempt.child.kind == "Job"


@pytest.mark.parametrize("stage", STAGES)
def test_the_child_of_a_job_whose_spec_is_not_understood_is_found(stage: StageName, resource: Object) -> None:
    job = replace(at_stage(resource, stage), spec=None)
    made = child(resource, stage, active=1)
    collection = RAYJOBS if made["kind"] == "RayJob" else JOBS
    found, _ = observe(job, lambda api: api.put(made, collection=collection))
    assert found.attempt.child is not None
    assert found.attempt.child.kind == made["kind"]


def test_a_job_of_a_cpu_stage_is_a_batch_job(resource: Object) -> None:
    def prepare(api: FakeApi) -> None:
        put_frozen(api, resource)
        api.put(child(resource, "Curate", active=1, ready=1), collection=JOBS)

    found, _ = observe(at_stage(resource, "Curate"), prepare)
    assert found.attempt.child is not None
    assert (found.attempt.child.kind, found.attempt.child.state) == ("Job", "Running")


@pytest.mark.parametrize(("starts", "state"), [("1", "Starting"), ("0", "Running")])
def test_a_child_that_ran_and_is_held_back_was_evicted(starts: str, state: str, resource: Object) -> None:
    held = child(resource, "Train", jobDeploymentStatus="Suspended") | {"spec": {"suspend": True}}
    found, _ = observe(at_stage(resource, "Train", state=state), working(resource, driver=held, starts=starts))
    assert found.attempt.child is not None
    assert found.attempt.child.evicted


def test_a_child_that_never_ran_and_is_held_back_is_queued(resource: Object) -> None:
    held = child(resource, "Train") | {"spec": {"suspend": True}}
    found, _ = observe(at_stage(resource, "Train", state="Starting"), working(resource, driver=held))
    assert found.attempt.child is not None
    assert (found.attempt.child.admitted, found.attempt.child.evicted) == (False, False)


def on_nodes(resource: Object) -> Callable[[FakeApi], None]:
    def prepare(api: FakeApi) -> None:
        put_frozen(api, resource)
        ready = [{"type": "Ready", "status": "True"}]
        api.put({"kind": "Node", "metadata": {"name": "good"}, "status": {"conditions": ready}}, collection=NODES)
        for name, node, phase in (("a", "good", "Running"), ("b", "gone", "Running"), ("c", "other", "Failed")):
            api.put(pod(resource, name, "Train", node=node, phase=phase), collection=PODS)
        api.put(pod(resource, "d", "Train", phase="Pending"), collection=PODS)

    return prepare


def test_only_the_nodes_of_pods_that_may_run_are_looked_at(resource: Object) -> None:
    found, asked = observe(at_stage(resource, "Train"), on_nodes(resource))
    assert {one.name: one.node_lost_since for one in found.attempt.pods} == {"a": None, "b": NOW, "c": None, "d": None}
    assert sorted(path for path in asked if "/nodes/" in path) == ["/api/v1/nodes/gone", "/api/v1/nodes/good"]


def test_nodes_are_left_alone_where_the_settings_say_so(resource: Object) -> None:
    settings = Settings(rbac=Rbac(nodes=False))
    found, asked = observe(at_stage(resource, "Train"), on_nodes(resource), settings=settings)
    assert not [path for path in asked if "/nodes/" in path]
    assert [one.node_lost_since for one in found.attempt.pods] == [None] * 4


def test_nodes_are_left_alone_for_a_while_once_the_server_has_refused_them(resource: Object) -> None:
    async def play() -> list[int]:
        time, asked = [NOW], []
        async with serving(FakeApi()) as api, Cluster(api.configuration, write_deadline=lambda: 10.0) as cluster:
            on_nodes(resource)(api)

            async def before(_method: str, path: str) -> web.Response | None:
                return refusal(403, "Forbidden", "no") if "/nodes/" in path else None

            api.before = before
            observer = Observer(cluster, Settings(), lambda: time[0])
            for seconds in (0, 300, 601):
                time[0] = NOW + seconds
                api.requests.clear()
                observation = await observer.observe(at_stage(resource, "Train"), full=True)
                assert len(observation.observed.attempt.pods) == 4
                asked.append(len([path for _, path in api.requests if "/nodes/" in path]))
        return asked

    first, second, third = asyncio.run(play())
    assert first
    assert not second
    assert third, "the server may just have started, and not have known our roles yet"


def test_an_absent_node_counts_as_lost_from_the_first_look_and_is_rarely_read_again(
    resource: Object,
) -> None:
    async def play() -> list[float | None]:
        time, lost = [NOW], []
        async with serving(FakeApi()) as api, Cluster(api.configuration, write_deadline=lambda: 10.0) as cluster:
            on_nodes(resource)(api)
            observer = Observer(cluster, Settings(), lambda: time[0])
            for seconds in (0, 5, 100):
                time[0] = NOW + seconds
                found = (await observer.observe(at_stage(resource, "Train"), full=True)).observed
                lost.append(next(one.node_lost_since for one in found.attempt.pods if one.name == "b"))
            assert len([path for _, path in api.requests if path.endswith("/nodes/gone")]) == 2
        return lost

    assert asyncio.run(play()) == [NOW, NOW, NOW]


@pytest.mark.parametrize("skew", [-3600, 0, 3600])
def test_a_node_that_is_not_ready_is_lost_since_it_was_first_seen_so_by_our_clock(skew: int, resource: Object) -> None:
    async def play() -> list[float | None]:
        time, lost = [NOW], []
        async with serving(FakeApi()) as api, Cluster(api.configuration, write_deadline=lambda: 10.0) as cluster:
            on_nodes(resource)(api)
            observer = Observer(cluster, Settings(), lambda: time[0])
            for seconds, status, since in ((0, "False", 0), (100, "False", 0), (200, "True", 200), (300, "False", 300)):
                time[0] = NOW + seconds
                ready = {"type": "Ready", "status": status, "lastTransitionTime": stamp(NOW + since + skew)}
                node = {"kind": "Node", "metadata": {"name": "gone"}, "status": {"conditions": [ready]}}
                api.put(node, collection=NODES)
                found = (await observer.observe(at_stage(resource, "Train"), full=True)).observed
                lost.append(next(one.node_lost_since for one in found.attempt.pods if one.name == "b"))
        return lost

    assert asyncio.run(play()) == [NOW, NOW, None, NOW + 300]


@pytest.mark.parametrize("skew", [-3600, 0, 3600])
def test_a_pod_is_ready_since_it_was_first_seen_so_by_our_clock(skew: int, resource: Object) -> None:
    async def play() -> list[float | None]:
        time, since = [NOW], []
        async with serving(FakeApi()) as api, Cluster(api.configuration, write_deadline=lambda: 10.0) as cluster:
            put_frozen(api, resource)
            ready = {"type": "Ready", "status": "True", "lastTransitionTime": stamp(NOW + skew)}
            one = pod(resource, "a", "Train", phase="Running")
            one["status"]["conditions"] = [ready]
            api.put(one, collection=PODS)
            observer = Observer(cluster, Settings(), lambda: time[0])
            for seconds in (0, 60):
                time[0] = NOW + seconds
                found = (await observer.observe(at_stage(resource, "Train"), full=True)).observed
                since += [one.ready_since for one in found.attempt.pods]
        return since

    assert asyncio.run(play()) == [NOW, NOW]


def test_a_frozen_run_is_read_once(resource: Object) -> None:
    async def play() -> int:
        async with serving(FakeApi()) as api, Cluster(api.configuration, write_deadline=lambda: 10.0) as cluster:
            working(resource, starts="1")(api)
            observer = Observer(cluster, Settings(), lambda: NOW)
            for _ in range(3):
                assert not (await observer.observe(begun(resource))).full
            return len([path for _, path in api.requests if "support-run-" in path])

    assert asyncio.run(play()) == 1


def test_a_frozen_run_that_is_not_there_is_none(resource: Object) -> None:
    found, _ = observe(at_stage(resource, "Train"), lambda api: None)
    assert found.frozen is None


def test_f2_a_forged_frozen_run_is_read_at_each_look_until_it_matches_the_status(resource: Object) -> None:
    async def play() -> list[bool]:
        async with serving(FakeApi()) as api, Cluster(api.configuration, write_deadline=lambda: 10.0) as cluster:
            job, observer = begun(resource), Observer(cluster, Settings(), lambda: NOW)
            assert job.status.run is not None
            seen = []
            for change in ({"data": {}}, {"data": {"run.json": "{}"}}, {}, {"data": {}}):
                api.put(frozen_run(resource) | change, collection=MAPS)
                frozen = (await observer.observe(job)).observed.frozen
                assert frozen is not None
                seen.append(is_intact(frozen, job.status.run))
            return seen

    assert asyncio.run(play()) == [False, False, True, True], "what was read intact does not change any more"


def test_f6_a_run_of_0_1_is_found_by_the_name_that_it_had(resource: Object) -> None:
    manifest = frozen_run(resource)
    name = frozen_name("support", uid=resource["metadata"]["uid"], run=RUN.id)
    assert manifest["metadata"]["name"].startswith(f"{name}-")
    old = manifest | {"metadata": manifest["metadata"] | {"name": name}}
    for job in (begun(resource, snapshot=False), begun(resource)):
        found, _ = observe(job, lambda api: api.put(old, collection=MAPS) and None)
        assert found.frozen is not None
        assert found.frozen.name == name
        assert job.status.run is not None
        assert is_intact(found.frozen, job.status.run)


def test_the_events_of_a_child_without_pods_are_read_after_some_seconds(resource: Object) -> None:
    job = at_stage(resource, "Curate", state="Starting")
    made = child(resource, "Curate", active=0)
    created = datetime.fromtimestamp(NOW - 10, UTC).isoformat()

    def prepare(api: FakeApi, *, created: str = created) -> None:
        put_frozen(api, resource)
        api.put({**made, "metadata": {**made["metadata"], "creationTimestamp": created}}, collection=JOBS)
        uid = made["metadata"]["uid"]
        for name, reason, told_at, of in (
            ("a", "FailedCreate", "2026-03-01T12:00:09Z", uid),
            ("b", "FailedCreate", "2026-03-01T12:00:08Z", uid),
            ("c", "FailedCreate", "2026-03-01T12:00:10Z", "of-another"),
            ("d", "Odd", "2026-03-01T12:00:10Z", uid),
        ):
            event = {"involvedObject": {"uid": of}, "type": "Warning", "reason": reason, "lastTimestamp": told_at}
            api.put(event | {"metadata": {"name": name, "namespace": "team-a"}, "message": name}, collection=EVENTS)

    found, _ = observe(job, prepare)
    assert found.attempt.pods_refused == "a"
    young = datetime.fromtimestamp(NOW - 1, UTC).isoformat()
    found, asked = observe(job, lambda api: prepare(api, created=young))
    assert found.attempt.pods_refused == ""
    assert not [path for path in asked if path.endswith("/events")], (
        "pods take a moment, and Events are expensive to list"
    )
    found, asked = observe(job, prepare, settings=Settings(rbac=Rbac(events=False)))
    assert found.attempt.pods_refused == ""
    assert not [path for path in asked if path.endswith("/events")]

    def with_pod(api: FakeApi) -> None:
        prepare(api)
        api.put(pod(resource, "driver", "Curate", phase="Pending"), collection=PODS)

    _, asked = observe(job, with_pod)
    assert not [path for path in asked if path.endswith("/events")]


def test_the_events_of_a_pod_that_does_not_start_are_read_after_some_seconds(resource: Object) -> None:
    job = at_stage(resource, "Curate", state="Starting")
    sandbox = f'network for sandbox "{"a" * 64}" failed'

    def prepare(api: FakeApi, *, age: float = 20) -> None:
        put_frozen(api, resource)
        api.put(child(resource, "Curate", active=1), collection=JOBS)
        made = pod(resource, "driver", "Curate", node="n1", phase="Pending")
        created = datetime.fromtimestamp(NOW - age, UTC).isoformat()
        api.put({**made, "metadata": {**made["metadata"], "creationTimestamp": created}}, collection=PODS)
        uid = made["metadata"]["uid"]
        for name, kind, reason, told_at, of in (
            ("a", "Normal", "Scheduled", "2026-03-01T12:00:09Z", uid),
            ("b", "Warning", "FailedCreatePodSandBox", "2026-03-01T12:00:10Z", uid),
            ("c", "Normal", "Pulled", "2026-03-01T12:00:10Z", uid),
            ("d", "Warning", "FailedMount", "2026-03-01T12:00:11Z", "of-another"),
        ):
            event = {"involvedObject": {"uid": of}, "type": kind, "reason": reason, "lastTimestamp": told_at}
            api.put(event | {"metadata": {"name": name, "namespace": "team-a"}, "message": sandbox}, collection=EVENTS)

    found, _ = observe(job, prepare)
    assert found.attempt.idle_event == "FailedCreatePodSandBox: network for sandbox failed"
    found, asked = observe(job, lambda api: prepare(api, age=10))
    assert found.attempt.idle_event == ""
    assert not [path for path in asked if path.endswith("/events")]
    found, asked = observe(job, prepare, settings=Settings(rbac=Rbac(events=False)))
    assert found.attempt.idle_event == ""


QUOTA = 'rayclusters.ray.io "x" is forbidden: exceeded quota: team'


def put_event(api: FakeApi, reason: str, message: str, **of: str) -> None:
    """A Warning about an object, as the API server keeps it for an hour."""
    number = len(api.objects)
    event = {"involvedObject": of, "type": "Warning", "reason": reason, "message": message}
    told_at = f"2026-03-01T12:{number:02}:00Z"
    metadata = {"name": f"e{number}", "namespace": "team-a"}
    api.put(event | {"metadata": metadata, "lastTimestamp": told_at}, collection=EVENTS)


@pytest.mark.parametrize("reason", ["FailedToCreateRayCluster", "FailedToCreateRayJobSubmitter"])
def test_a_ray_cluster_that_kuberay_cannot_create_is_explained_by_the_rayjobs_event(
    reason: str, resource: Object
) -> None:
    made = child(resource, "Train", jobDeploymentStatus="Initializing")

    def prepare(api: FakeApi) -> None:
        put_frozen(api, resource)
        api.put(made, collection=RAYJOBS)
        put_event(api, reason, QUOTA, uid=made["metadata"]["uid"])

    found, _ = observe(at_stage(resource, "Train", state="Starting"), prepare)
    assert found.attempt.pods_refused == QUOTA


SUBMITTERS: dict[str, tuple[str, str, str, Object, str]] = {
    # submissionMode, starts of drivers, state of the RayJob, what the Event is about: what is found
    "its pod is refused": ("K8sJobMode", "0", "Running", {"kind": "Job"}, QUOTA),
    "its Job is refused": ("K8sJobMode", "0", "Initializing", {"kind": "RayJob"}, QUOTA),
    "a driver is running": ("K8sJobMode", "1", "Running", {"kind": "Job"}, ""),
    "KubeRay submits by HTTP": ("HTTPMode", "0", "Running", {"kind": "Job"}, ""),
    "another Job's pod is refused": ("K8sJobMode", "0", "Running", {"kind": "Job", "name": "another"}, ""),
}


@pytest.mark.parametrize("case", SUBMITTERS)
def test_a_refused_submitter_is_explained_by_the_event_of_its_job(case: str, resource: Object) -> None:
    mode, starts, state, of, expected = SUBMITTERS[case]
    made = child(resource, "Train", jobDeploymentStatus=state) | {"spec": {"submissionMode": mode}}

    def prepare(api: FakeApi) -> None:
        put_frozen(api, resource)
        api.put(made, collection=RAYJOBS)
        api.put(channel(resource, "Train", starts=starts), collection=MAPS)
        api.put(pod(resource, "head", "Train", node="n1", phase="Running"), collection=PODS)
        uid = {"uid": made["metadata"]["uid"]} if of["kind"] == "RayJob" else {}
        put_event(api, "FailedCreate", QUOTA, **{"name": made["metadata"]["name"], **uid, **of})

    found, _ = observe(at_stage(resource, "Train", state="Starting"), prepare)
    assert found.attempt.pods_refused == expected


def test_events_that_may_not_be_listed_are_not_asked_for_repeatedly(resource: Object) -> None:
    async def play() -> list[int]:
        time, asked = [NOW], []
        async with serving(FakeApi()) as api, Cluster(api.configuration, write_deadline=lambda: 10.0) as cluster:
            put_frozen(api, resource)
            api.put(child(resource, "Curate", active=0), collection=JOBS)

            async def before(_method: str, path: str) -> web.Response | None:
                return refusal(403, "Forbidden", "no") if path.endswith("/events") else None

            api.before = before
            observer = Observer(cluster, Settings(), lambda: time[0])
            for seconds in (0, 300, 601):
                time[0] = NOW + 86_400 + seconds
                api.requests.clear()
                observation = await observer.observe(at_stage(resource, "Curate", state="Starting"))
                assert observation.observed.attempt.pods_refused == ""
                asked.append(len([path for _, path in api.requests if path.endswith("/events")]))
        return asked

    assert asyncio.run(play()) == [1, 0, 1]


def test_config_maps_that_pods_will_mount_are_checked_before_a_run_and_not_read(resource: Object) -> None:
    resource["spec"]["data"] = {
        "train": {"configMapKeyRef": {"name": "prompts", "key": "a"}},
        "test": {"configMapKeyRef": {"name": "gone", "key": "b"}},
    }
    settings = Settings(ca_bundle=CaBundle(config_map="bundle"))
    there = {"metadata": {"name": "prompts", "namespace": "team-a"}, "data": {"a": "secret"}}
    servers: list[FakeApi] = []

    def prepare(api: FakeApi) -> None:
        api.put(there, collection=MAPS)
        servers.append(api)

    found, asked = observe(parse_job(resource), prepare, settings=settings)
    assert found.missing_config_maps == ("bundle", "gone")
    read = [path for path in asked if path.endswith("/prompts")]
    assert servers[0].metadata_only == read
    assert len(read) == 1
    _, asked = observe(with_status(resource, Status(run=RUN)), lambda api: None, settings=settings)
    assert not [path for path in asked if path.endswith(("/prompts", "/bundle"))], "the run is frozen, they are not"


def test_p3_a_job_that_is_being_deleted_needs_no_frozen_run(resource: Object) -> None:
    found, asked = observe(
        replace(begun(resource), deleting=True), lambda api: api.put(frozen_run(resource), collection=MAPS) and None
    )
    assert found.frozen is None
    assert not [path for path in asked if "support-run-" in path]


@pytest.mark.parametrize("source", ["spec", "settings"])
def test_access_modes_of_the_claim_are_read_before_a_run_starts(source: str, resource: Object) -> None:
    if source == "spec":
        resource["spec"]["storage"] = {"volumeClaim": "shared"}
    settings = Settings(storage=DefaultStorage(volume_claim="shared"))
    claim = {"metadata": {"name": "shared", "namespace": "team-a"}, "spec": {"accessModes": ["ReadWriteMany"]}}
    found, _ = observe(parse_job(resource), lambda api: api.put(claim, collection=CLAIMS) and None, settings=settings)
    assert found.claim_access_modes == ("ReadWriteMany",)
    found, _ = observe(parse_job(resource), lambda api: None, settings=settings)
    assert found.claim_access_modes is None, "there is no such claim"
    resource["spec"]["modelCache"] = {"volumeClaim": "models"}
    models = {"metadata": {"name": "models", "namespace": "team-a"}, "spec": {"accessModes": ["ReadOnlyMany"]}}
    found, _ = observe(parse_job(resource), lambda api: api.put(models, collection=CLAIMS) and None, settings=settings)
    assert (found.claim_access_modes, found.cache_access_modes) == (None, ("ReadOnlyMany",))
    _, asked = observe(with_status(resource, Status(run=RUN)), lambda api: None, settings=settings)
    assert not [path for path in asked if "persistentvolumeclaims" in path]


FULL = "Pod ephemeral local storage usage exceeds the total limit of containers 1Gi."


def recalled(resource: Object, *, seconds: float, status: str = "Failed", attempt: int = 1) -> list[tuple[str, str]]:
    """(reason, message) of the pods of an attempt, some seconds after the watch has shown a worker that is gone."""

    async def play() -> list[tuple[str, str]]:
        time = [NOW]
        async with serving(FakeApi()) as api, Cluster(api.configuration, write_deadline=lambda: 10.0) as cluster:
            working(resource, driver=child(resource, "Train", jobDeploymentStatus=status), starts="1")(api)
            observer = Observer(cluster, Settings(), lambda: time[0])
            worker = pod(resource, "worker", "Train", attempt=attempt, phase="Failed", reason="Evicted", message=FULL)
            uid = resource["metadata"]["uid"]
            for other in (worker, pod(resource, "well", "Train", phase="Running")):
                observer.failed_pods.record(other, job_uid=uid)
            time[0] += seconds
            found = (await observer.observe(at_stage(resource, "Train"))).observed.attempt
        return [(one.exit_reason, one.exit_message) for one in found.pods if one.name in ("worker", "well")]

    return asyncio.run(play())


def test_a_worker_that_kuberay_deleted_at_once_still_explains_the_end_of_its_attempt(resource: Object) -> None:
    assert recalled(resource, seconds=5) == [("Evicted", FULL)]


@pytest.mark.parametrize(
    "case",
    [{"seconds": 5, "status": "Running"}, {"seconds": 121}, {"seconds": 5, "attempt": 2}],
    ids=["the driver continues with another worker", "it was long ago", "it was of another attempt"],
)
def test_a_worker_that_failed_explains_no_other_end(case: dict[str, Any], resource: Object) -> None:
    assert recalled(resource, **case) == []


def test_failed_pods_of_one_job_are_few_and_go_with_it() -> None:
    pods = FailedPods(lambda: NOW)
    for number in range(200):
        metadata = {"name": f"p{number}", "uid": f"u{number}", "labels": {"a": "b"}}
        pods.record({"metadata": metadata, "status": {"phase": "Failed"}}, job_uid="job")
    assert [one.name for one in pods.recall("job", labels={"a": "b"})] == [f"p{number}" for number in range(136, 200)]
    assert pods.recall("another", labels={}) == ()
    pods.forget("job")
    assert pods.recall("job", labels={}) == ()


SIDECARS: dict[str, tuple[str, Object, tuple[str, str]]] = {
    # state of the stage, state of the driver's container: state of the child, what the driver does
    "a sidecar is not ready yet and the driver works": ("Starting", {"running": {}}, ("Running", "Running")),
    "a sidecar is not ready any more and the driver works": ("Running", {"running": {}}, ("Running", "Running")),
    "the driver has ended and a sidecar runs": (
        "Running", {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}, ("Waiting", "Ended"),
    ),
    "the driver waits for its image": ("Starting", {"waiting": {"reason": "PodInitializing"}}, ("Waiting", "Waiting")),
}  # fmt: skip


@pytest.mark.parametrize("native", [False, True], ids=["beside", "native"])
@pytest.mark.parametrize("case", SIDECARS)
def test_the_driver_of_a_job_that_is_not_ready_is_looked_at_itself(
    case: str, resource: Object, *, native: bool
) -> None:
    """A native sidecar is an init container that is started before ours, and ends when kubelet tells it to."""
    state, container, expected = SIDECARS[case]
    driver, agent = {"name": "driver", "state": container}, {"name": "agent", "state": {"running": {}}}
    statuses = (
        {"containerStatuses": [driver], "initContainerStatuses": [agent]}
        if native
        else {"containerStatuses": [driver, agent]}
    )

    def prepare(api: FakeApi) -> None:
        put_frozen(api, resource)
        api.put(child(resource, "Curate", active=1, ready=0), collection=JOBS)
        api.put(channel(resource, "Curate", starts="1"), collection=MAPS)
        api.put(pod(resource, "p", "Curate", phase="Running", **statuses), collection=PODS)

    found, _ = observe(at_stage(resource, "Curate", state=state), prepare)
    assert found.attempt.child is not None
    assert (found.attempt.child.state, found.attempt.driver) == expected
    assert found.attempt.is_live == (expected[1] != "Ended")


NAMESPACE, LABELS = "/api/v1/namespaces/team-a", {"team": "a"}


@pytest.mark.parametrize(
    ("settings", "status", "allowed", "found"),
    [
        (Settings(propagate_labels=("team",)), Status(), True, LABELS),
        (Settings(propagate_labels=("team",)), Status(), False, {}),
        (Settings(propagate_labels=("team",)), Status(run=RUN), True, {}),
        (Settings(), Status(), True, {}),
    ],
    ids=["before a run", "without the right", "in a run", "without the setting"],
)
def test_labels_of_the_namespace_are_read_only_for_a_run_that_is_to_carry_some(
    settings: Settings, status: Status, allowed: bool, found: Object, resource: Object
) -> None:
    async def before(_method: str, path: str) -> web.Response | None:
        if path != NAMESPACE:
            return None
        return web.json_response({"metadata": {"labels": LABELS}}) if allowed else refusal(403, "Forbidden", "no")

    def prepare(api: FakeApi) -> None:
        put_frozen(api, resource)
        api.before = before

    observed, asked = observe(with_status(resource, status), prepare, settings=settings)
    assert observed.namespace_labels == found
    assert (NAMESPACE in asked) is (bool(settings.propagate_labels) and status.run is None)


def test_pods_that_failed_while_a_cluster_starts_are_listed_with_the_present_ones(resource: Object) -> None:
    job = at_stage(resource, "Generate", state="Starting")

    async def play() -> Observed:
        async with serving(FakeApi()) as api, Cluster(api.configuration, write_deadline=lambda: 10.0) as cluster:
            put_frozen(api, resource)
            api.put(child(resource, "Generate", jobDeploymentStatus="Initializing"), collection=RAYJOBS)
            api.put(pod(resource, "worker-2", "Generate", node="n1", phase="Pending"), collection=PODS)
            observer = Observer(cluster, Settings(), lambda: NOW)
            failed = pod(resource, "worker-1", "Generate", node="n1", phase="Failed", reason="OutOfcpu")
            observer.failed_pods.record(failed, job_uid=job.uid)
            return (await observer.observe(job)).observed

    attempt = asyncio.run(play()).attempt
    assert [one.name for one in attempt.pods] == ["worker-2"]
    assert [(one.name, one.exit_reason) for one in attempt.replaced] == [("worker-1", "OutOfcpu")]


def test_the_pods_of_an_attempt_are_looked_at_when_a_further_driver_has_come(resource: Object) -> None:
    job = at_stage(resource, "Generate", state="Running")

    def prepare(api: FakeApi, *, starts: str) -> None:
        put_frozen(api, resource)
        api.put(child(resource, "Generate", jobDeploymentStatus="Running"), collection=RAYJOBS)
        api.put(channel(resource, "Generate", owner="t:d", starts=starts), collection=MAPS)
        ended = {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}
        state = [{"name": "ray-head", "state": {"running": {}}, "lastState": ended, "restartCount": 1}]
        head = pod(resource, "head", "Generate", node="n1", phase="Running", containerStatuses=state)
        api.put(head, collection=PODS)

    found, asked = observe(job, lambda api: prepare(api, starts="1"))
    assert found.attempt.pods == ()
    assert not [path for path in asked if path.endswith("/pods")], "a running driver is not looked at so closely"
    found, _ = observe(job, lambda api: prepare(api, starts="2"))
    assert [one.exit_reason for one in found.attempt.pods] == ["OOMKilled"]
