"""Event handlers: every event marks the right key, at once where it is news, after a while where it is progress."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from kubedistill.manifest.settings import DefaultStorage, Settings
from kubedistill.v1alpha1 import Status
from kubedistill_operator.cluster.observation import Observer
from kubedistill_operator.job import Key
from kubedistill_operator.loop.controller import Controller
from kubedistill_operator.loop.event_handlers import PROGRESS_SECONDS, EventHandlers
from kubedistill_operator.loop.job_cache import JobCache
from kubedistill_operator.loop.workqueue import WorkQueue
from kubedistill_operator.telemetry.metrics import Metrics
from support.operator_objects import RUN, channel, child, pod

Object = dict[str, Any]
KEY = ("team-a", "support")


@dataclass
class EventHarness:
    """Event handlers whose controller never reconciles: a test reads which keys are due."""

    now: float = 1000.0

    def __post_init__(self) -> None:
        anything: Any = None
        observer = Observer(anything, Settings(), lambda: self.now)
        self.queue = WorkQueue(clock=lambda: self.now, random_fraction=lambda: 0.0)
        self.cache = JobCache(DefaultStorage())
        self.controller = Controller(
            anything, self.queue, self.cache, observer, anything, Metrics(), Settings(), lambda: self.now
        )
        self.handlers = EventHandlers(self.controller)

    def due(self) -> list[Key]:
        """Return the keys that can be taken now; they are looked at in no time."""
        keys = []
        while (taken := self.queue.take()) is not None:
            self.queue.done(taken[0])
            keys.append(taken[0])
        return keys


@pytest.fixture
def harness() -> EventHarness:
    return EventHarness()


def test_a_job_is_reconciled_when_it_is_listed_created_or_edited(harness: EventHarness, resource: Object) -> None:
    harness.handlers.on_job(None, resource)
    assert harness.due() == [KEY]
    resource["metadata"] |= {"generation": 4, "resourceVersion": "4712"}
    harness.handlers.on_job("MODIFIED", resource)
    assert harness.due() == [KEY]
    resource["metadata"] |= {"annotations": {"kubedistill.io/rerun": "7"}, "resourceVersion": "4713"}
    harness.handlers.on_job("MODIFIED", resource)
    assert harness.due() == [KEY]
    resource["metadata"] |= {"deletionTimestamp": "2026-03-01T12:00:00Z", "resourceVersion": "4714"}
    harness.handlers.on_job("MODIFIED", resource)
    assert harness.due() == [KEY], "a finalizer may hold it"
    resource["metadata"] |= {"finalizers": ["example.com/block"], "resourceVersion": "4715"}
    harness.handlers.on_job("MODIFIED", resource)
    assert harness.due() == [KEY], "another finalizer holds it now"


@pytest.mark.parametrize(
    "change",
    [{"status": {"phase": "Preparing"}}, {"metadata": {"labels": {"argocd": "x"}, "annotations": {"a/b": "c"}}}],
)
def test_an_echo_of_our_own_write_and_unrelated_events_are_ignored(
    change: Object, harness: EventHarness, resource: Object
) -> None:
    harness.handlers.on_job("ADDED", resource)
    harness.due()
    metadata = resource["metadata"] | {"resourceVersion": "4712"} | change.get("metadata", {})
    harness.handlers.on_job("MODIFIED", {**resource, **change, "metadata": metadata})
    assert harness.due() == []


def test_a_listed_job_that_is_over_is_reconciled_only_if_it_has_children(
    harness: EventHarness, resource: Object
) -> None:
    status = Status(phase="Succeeded", observed_generation=3, run=RUN)
    resource["status"] = status.model_dump(mode="json", by_alias=True, exclude_none=True)
    harness.handlers.on_job(None, resource)
    assert harness.due() == []
    harness.handlers.on_child(None, child(resource, "Export"))
    harness.now += 1
    assert harness.due() == [KEY]
    assert harness.cache.needs_reconcile(KEY)
    harness.handlers.on_child("DELETED", child(resource, "Export"))
    assert harness.due() == [KEY]
    assert not harness.cache.needs_reconcile(KEY)


def test_deletions_of_objects_of_a_deleted_job_are_ignored(harness: EventHarness, resource: Object) -> None:
    harness.handlers.on_job("ADDED", resource)
    harness.handlers.on_child("ADDED", child(resource, "Train"))
    harness.handlers.on_channel("ADDED", channel(resource, "Train"))
    harness.handlers.on_job("DELETED", resource)
    harness.due()
    harness.handlers.on_child("DELETED", child(resource, "Train"))
    harness.handlers.on_channel("DELETED", channel(resource, "Train"))
    harness.handlers.on_pod("DELETED", pod(resource, "head", "Train"))
    harness.now += 5
    assert harness.due() == []
    assert (harness.handlers._asked, harness.handlers._reported, harness.handlers._progress_due) == ({}, {}, {})
    assert harness.cache._children == {}


def test_a_job_that_is_deleted_is_forgotten_and_looked_for_once_more(harness: EventHarness, resource: Object) -> None:
    harness.handlers.on_job("ADDED", resource)
    harness.handlers.on_channel("ADDED", channel(resource, "Train"))
    harness.due()
    harness.handlers.on_job("DELETED", resource)
    assert len(harness.cache) == 0
    assert harness.due() == [KEY]
    assert (harness.handlers._asked, harness.handlers._reported, harness.handlers._progress_due) == ({}, {}, {})


def test_a_late_deletion_of_an_earlier_job_takes_nothing_from_the_later(
    harness: EventHarness, resource: Object
) -> None:
    later = {**resource, "metadata": {**resource["metadata"], "uid": "later", "resourceVersion": "5000"}}
    harness.handlers.on_job("ADDED", later)
    harness.handlers.on_job("DELETED", resource)
    assert harness.cache.uid(KEY) == "later"


def test_children_mark_the_job_that_their_labels_name(harness: EventHarness, resource: Object) -> None:
    harness.handlers.on_child("MODIFIED", child(resource, "Train"))
    harness.now += 1
    assert harness.due() == [KEY]
    stranger = child(resource, "Train")
    del stranger["metadata"]["labels"]
    harness.handlers.on_child("MODIFIED", stranger)
    harness.now += 1
    assert harness.due() == []


ENDS = [
    ("Train", {"jobDeploymentStatus": "Complete"}), ("Train", {"jobDeploymentStatus": "ValidationFailed"}),
    ("Export", {"conditions": [{"type": "Failed", "status": "True"}]}),
]  # fmt: skip


@pytest.mark.parametrize(("stage", "status"), ENDS)
def test_the_end_of_a_child_counts_at_once(stage: Any, status: Object, harness: EventHarness, resource: Object) -> None:
    harness.handlers.on_child("MODIFIED", child(resource, stage, **status))
    assert harness.due() == [KEY]


def test_events_of_a_starting_child_its_pods_and_its_driver_enqueue_their_job_once(
    harness: EventHarness, resource: Object
) -> None:
    for number in range(50):
        harness.handlers.on_pod("MODIFIED", pod(resource, f"worker-{number}", "Train"))
        harness.handlers.on_child(
            "MODIFIED", child(resource, "Train", jobDeploymentStatus="Initializing", failed=number)
        )
        harness.handlers.on_channel("MODIFIED", channel(resource, "Train", owner="t:d1", starts=str(number)))
    assert harness.due() == []
    harness.now += 1
    assert harness.due() == [KEY]
    harness.now += 60
    assert harness.due() == []


NEWS = [
    ({"owner": "t:d1", "starts": "1"}, 1),
    ({"owner": "t:d2", "starts": "2"}, 1),
    ({"owner": "t:d2", "starts": "2", "stop": "true"}, 1),
    ({"owner": "t:d2", "starts": "2", "stop": "true", "result_json": "{}"}, 0),
]


def test_results_count_at_once_claims_and_requests_to_stop_after_a_moment(
    harness: EventHarness, resource: Object
) -> None:
    harness.handlers.on_channel("ADDED", channel(resource, "Train"))
    harness.now += 1
    harness.due()
    for data, seconds in NEWS:
        harness.handlers.on_channel("MODIFIED", channel(resource, "Train", progress_json="1", **data))
        assert harness.due() == ([] if seconds else [KEY])
        harness.now += 1
        assert harness.due() == ([KEY] if seconds else [])


OVERTAKING: dict[str, tuple[Callable[[EventHandlers, Object], None], bool]] = {
    "an edit": (lambda handlers, job: handlers.on_job("ADDED", job), True),
    "the end of a child": (
        lambda handlers, job: handlers.on_child("MODIFIED", child(job, "Train", jobDeploymentStatus="Complete")), True,
    ),
    "a result": (
        lambda handlers, job: handlers.on_channel("MODIFIED", channel(job, "Train", owner="t:d1", result_json="{}")),
        True,
    ),
    "a pod that is gone": (lambda handlers, job: handlers.on_pod("DELETED", pod(job, "head", "Train")), True),
    "a claim": (lambda handlers, job: handlers.on_channel("MODIFIED", channel(job, "Train", owner="t:d1")), False),
    "a pod that comes up": (lambda handlers, job: handlers.on_pod("MODIFIED", pod(job, "head", "Train")), False),
}  # fmt: skip


@pytest.mark.parametrize("news", OVERTAKING)
def test_a_key_that_somebody_waits_for_overtakes_earlier_ones(
    news: str, harness: EventHarness, resource: Object
) -> None:
    harness.handlers.on_job("ADDED", resource)
    harness.due()
    earlier = ("team-b", "progress")
    harness.queue.add(earlier)
    tell, overtakes = OVERTAKING[news]
    resource["metadata"] |= {"generation": 4, "resourceVersion": "4712"}
    tell(harness.handlers, resource)
    harness.now += 1
    assert harness.due() == ([KEY, earlier] if overtakes else [earlier, KEY])


def test_progress_is_carried_on_at_once_and_then_at_most_every_30_seconds(
    harness: EventHarness, resource: Object
) -> None:
    looks = []
    harness.handlers.on_channel("ADDED", channel(resource, "Train"))
    harness.now += 1
    harness.due()
    begun = harness.now
    for second in range(200):
        if second < 150 and second % 3 == 0:
            harness.handlers.on_channel("MODIFIED", channel(resource, "Train", progress_json=str(second)))
        looks += [harness.now - begun for _ in harness.due()]
        harness.now += 1
    assert looks == [0, 30, 60, 90, 120, 150], "the last word is never lost"


def test_progress_is_kept_although_another_event_caused_a_look_in_between(
    harness: EventHarness, resource: Object
) -> None:
    for progress in ("1", "2", "3"):
        harness.handlers.on_channel("MODIFIED", channel(resource, "Train", progress_json=progress))
    harness.due()
    harness.now += 10
    harness.queue.add(KEY)
    assert harness.due() == [KEY]
    harness.handlers.on_channel("MODIFIED", channel(resource, "Train", progress_json="4"))
    assert harness.due() == []
    harness.now += 20
    assert harness.due() == [KEY]


def test_progress_never_delays_a_result(harness: EventHarness, resource: Object) -> None:
    harness.handlers.on_channel("ADDED", channel(resource, "Train"))
    harness.due()
    harness.handlers.on_channel("MODIFIED", channel(resource, "Train", progress_json="1"))
    harness.due()
    harness.handlers.on_channel("MODIFIED", channel(resource, "Train", progress_json="2"))
    assert harness.due() == []
    harness.handlers.on_channel("MODIFIED", channel(resource, "Train", progress_json="2", result_json="{}"))
    assert harness.due() == [KEY]
    assert PROGRESS_SECONDS == 30


def test_channels_of_several_attempts_are_told_apart(harness: EventHarness, resource: Object) -> None:
    for _ in range(3):
        for attempt in (1, 2):
            harness.handlers.on_channel("MODIFIED", channel(resource, "Train", attempt=attempt, starts=str(attempt)))
    harness.due()
    harness.handlers.on_channel("MODIFIED", channel(resource, "Train", attempt=1, starts="1"))
    assert harness.due() == [], "nothing is new, and progress was carried on a moment ago"


def test_config_maps_that_are_not_channels_are_ignored(harness: EventHarness, resource: Object) -> None:
    other = channel(resource, "Train")
    other["metadata"]["name"] = other["metadata"]["name"].removesuffix("-out")
    harness.handlers.on_channel("ADDED", other)
    assert harness.due() == []


def test_a_channel_that_is_deleted_is_news(harness: EventHarness, resource: Object) -> None:
    harness.handlers.on_job("ADDED", resource)
    harness.handlers.on_channel("ADDED", channel(resource, "Train"))
    harness.due()
    harness.handlers.on_channel("DELETED", channel(resource, "Train"))
    assert harness.due() == [KEY]


@pytest.mark.parametrize("kind", ["MODIFIED", "DELETED"])
def test_a_failed_pod_is_remembered_until_its_job_is_reconciled(
    kind: str, harness: EventHarness, resource: Object
) -> None:
    harness.handlers.on_job(None, resource)
    failed = pod(resource, "worker", "Train", phase="Failed", reason="Evicted", message="too much")
    harness.handlers.on_pod(kind, failed)
    found = harness.controller.observer.failed_pods.recall(resource["metadata"]["uid"], labels={})
    assert [(one.name, one.exit_message) for one in found] == [("worker", "too much")]
    harness.controller.forget(KEY)
    assert harness.controller.observer.failed_pods.recall(resource["metadata"]["uid"], labels={}) == ()
