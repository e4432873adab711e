"""Row A18 of docs/behavior.md: however an attempt ends, its time is counted once, and its end is told once."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from kubedistill.v1alpha1 import StageStatus
from support.fake_cluster import FakeCluster, begin, reason_of, small_spec, stage_of

SAID = 100.0
"""GPU-seconds that the driver has said before the attempt ends; it holds 2 GPUs."""
ATTEMPT_ENDS = ("StageSucceeded", "AttemptFailed", "AttemptStopped")
RUN_ENDS = ("RunSucceeded", "RunFailed", "RunCancelled", "RunSuperseded")


def train(**changes: object) -> FakeCluster:
    """Return a job whose Train is running, and whose driver has reported what it spent."""
    cluster = FakeCluster(spec=small_spec(**changes))
    name = begin(cluster, "Train")
    cluster.run_child(name)
    cluster.progress(name, done=10, gpu_seconds=SAID, gpus=2)
    cluster.settle()
    return cluster


def say_last(cluster: FakeCluster, gpu_seconds: float = 130.0, **changes: object) -> None:
    name = cluster.live
    cluster.result(name, gpu_seconds=gpu_seconds, **changes)
    cluster.settle()
    cluster.end_child(name)
    cluster.settle()


def fail(cluster: FakeCluster, cause: str) -> None:
    say_last(cluster, outcome="Failed", cause=cause, reason="Trouble", message="as told")


def suspend(cluster: FakeCluster) -> None:
    cluster.spec = cluster.spec.model_copy(update={"suspend": True})
    cluster.settle()


def suspend_and_say_last(cluster: FakeCluster) -> None:
    suspend(cluster)
    say_last(cluster, outcome="Stopped", cause="none", reason="Stopped")


def suspend_a_deaf_driver(cluster: FakeCluster) -> None:
    suspend(cluster)
    cluster.now += 60
    cluster.settle()
    cluster.end_child(cluster.live)
    cluster.settle()


def cancel(cluster: FakeCluster) -> None:
    cluster.annotations["kubedistill.io/cancel"] = "now"
    cluster.settle()
    say_last(cluster, outcome="Stopped", cause="none", reason="Stopped")


def hang(cluster: FakeCluster) -> None:
    cluster.now += 1800
    cluster.settle()


def hang_and_speak_after_all(cluster: FakeCluster) -> None:
    hang(cluster)
    say_last(cluster, gpu_seconds=SAID + 2 * 1800 - 5, outcome="Failed", cause="failure", reason="Trouble")


def run_out_of_time(cluster: FakeCluster) -> None:
    cluster.now += 500
    cluster.progress(cluster.live, done=20, gpu_seconds=900, gpus=2)
    cluster.settle()
    cluster.now += 500
    cluster.settle()


def lose_the_head(cluster: FakeCluster) -> None:
    cluster.end_child(cluster.live, reason="JobStatusCheckTimeoutExceeded")
    cluster.settle()
    cluster.now += 31
    cluster.settle()


def delete_the_child_and_its_channel(cluster: FakeCluster) -> None:
    name = cluster.live
    del cluster.children[name], cluster.channels[name], cluster.pods[name]
    cluster.settle()
    cluster.now += 31
    cluster.settle()


def lose_every_driver(cluster: FakeCluster) -> None:
    for number in range(2, 6):
        cluster.claim(cluster.live, driver=f"d{number}")
        cluster.settle()


def lose_the_frozen_run(cluster: FakeCluster) -> None:
    cluster.frozen.clear()
    cluster.spec = small_spec(training={"epochs": 7})
    cluster.settle()


def miss_an_artifact(cluster: FakeCluster) -> None:
    say_last(cluster, outcome="Failed", cause="none", reason="ArtifactMissing", message="answers are gone")


@dataclass(frozen=True, slots=True)
class End:
    """A way in which an attempt ends."""

    happens: Callable[[FakeCluster], None]
    gpu_seconds: float
    told: str
    failed: str = ""
    """The reason for which the run fails with it; empty where the run continues."""
    spec: tuple[tuple[str, object], ...] = ()


NO_RETRY = (("retry", {"maxFailures": 0, "maxInfrastructureFailures": 0, "maxPreemptions": 0}),)
STOPPED, FAILED = "AttemptStopped", "AttemptFailed"
ENDS = {
    "success": End(say_last, 130, "StageSucceeded"),
    "a6 a failure": End(lambda cluster: fail(cluster, "failure"), 130, FAILED),
    "a3 a user's mistake": End(lambda cluster: fail(cluster, "user"), 130, FAILED, "Trouble"),
    "a16 the last failure": End(lambda cluster: fail(cluster, "failure"), 130, FAILED, "Trouble", NO_RETRY),
    "a8 it hangs": End(hang, 100 + 2 * 1800, FAILED),
    "a8 it hangs for the last time": End(hang, 100 + 2 * 1800, FAILED, "NoProgress", NO_RETRY),
    "a8 it seemed to hang": End(hang_and_speak_after_all, 100 + 2 * 1800, FAILED),
    "a9 the head is lost": End(lose_the_head, 100, FAILED),
    "a10 every driver is lost": End(lose_every_driver, 100, FAILED, "DriverRestarted"),
    "a11 child and channel are deleted": End(delete_the_child_and_its_channel, 100, FAILED),
    "a15 an artifact is gone": End(miss_an_artifact, 130, FAILED),
    "a17 the deadline is over": End(
        run_out_of_time, 900 + 2 * 500, FAILED, "DeadlineExceeded", (("activeDeadlineSeconds", 900),)
    ),
    "p1 suspended": End(suspend_and_say_last, 130, STOPPED),
    "p1 suspended, and deaf": End(suspend_a_deaf_driver, 100 + 2 * 60, STOPPED),
    "s10 cancelled": End(cancel, 130, STOPPED, "Cancelled"),
    "the frozen run is lost": End(lose_the_frozen_run, 100, FAILED, "FrozenRunLost"),
}  # fmt: skip


def told(cluster: FakeCluster, reasons: tuple[str, ...], *, stage: str = "") -> list[str]:
    return [event.reason for event in cluster.events if event.reason in reasons and event.message.startswith(stage)]


@pytest.mark.parametrize("row", ENDS)
def test_a18_an_end_is_counted_once_and_told_once(row: str) -> None:
    end = ENDS[row]
    cluster = train(**dict(end.spec))
    end.happens(cluster)
    stage = stage_of(cluster, "Train")
    assert stage.gpu_seconds == pytest.approx(end.gpu_seconds, abs=1)
    assert cluster.status.gpu_hours == f"{stage.gpu_seconds / 3600:.1f}"
    assert told(cluster, ATTEMPT_ENDS, stage="Train attempt 1: ") == [end.told]
    assert told(cluster, RUN_ENDS) == (
        [] if not end.failed else ["RunCancelled" if row.startswith("s10") else "RunFailed"]
    )
    for _ in range(3):
        cluster.now += 5
        cluster.settle()
    assert stage_of(cluster, "Train").gpu_seconds == stage.gpu_seconds, "nothing is counted again"


@pytest.mark.parametrize("row", [row for row in ENDS if ENDS[row].failed])
def test_a18_conditions_of_a_failed_run_agree(row: str) -> None:
    cluster = train(**dict(ENDS[row].spec))
    ENDS[row].happens(cluster)
    assert cluster.status.phase == "Failed"
    assert reason_of(cluster, "Failed") == ("True", ENDS[row].failed)
    assert reason_of(cluster, "Progressing") == ("False", "Failed")
    assert cluster.status.condition("Complete") is None
    assert stage_of(cluster, "Train").state in ("Failed", "Pending"), "nothing is running"
    assert cluster.status.run is not None
    assert cluster.status.run.counted_at == ""


def test_a18_a_job_cancelled_while_suspended_or_queued_is_neither_any_more() -> None:
    cluster = train()
    suspend_and_say_last(cluster)
    assert reason_of(cluster, "Suspended") == ("True", "AsAsked")
    cluster.annotations["kubedistill.io/cancel"] = "now"
    cluster.settle()
    assert (cluster.status.phase, reason_of(cluster, "Suspended")) == ("Failed", ("False", "Failed"))
    queued = FakeCluster(active_in_namespace=FakeCluster().settings.max_active_jobs_per_namespace)
    queued.settle()
    queued.annotations["kubedistill.io/cancel"] = "now"
    queued.settle()
    assert (queued.status.phase, queued.status.condition("QuotaReserved")) == ("Failed", None)


def test_a18_a_superseded_run_has_its_event() -> None:
    cluster = train()
    cluster.spec = small_spec(runID="second")
    cluster.settle()
    say_last(cluster, outcome="Stopped", cause="none", reason="Stopped")
    assert told(cluster, ATTEMPT_ENDS, stage="Train attempt 1: ") == ["AttemptStopped"]
    assert told(cluster, RUN_ENDS) == ["RunSuperseded"]


def test_a18_no_two_events_are_taken_for_one() -> None:
    """An Event is named by what it is about; the API server drops a second one of the same name."""
    cluster = train()
    for number in (2, 3):
        cluster.claim(cluster.live, driver=f"d{number}")
    cluster.settle()
    cluster.spec = small_spec(runID="second")
    cluster.settle()
    say_last(cluster, outcome="Stopped", cause="none", reason="Stopped")
    cluster.spec = small_spec(runID="third")
    cluster.settle()
    ends = [(event.reason, event.about) for event in cluster.events if event.about]
    assert len(ends) == len(set(ends))
    assert {about for reason, about in ends if reason == "DriverRestarted"} == {"2", "3"}
    assert {about for reason, about in ends if reason == "RunSuperseded"} == {"1", "second"}


def work_on(cluster: FakeCluster, said: float) -> StageStatus:
    cluster.progress(cluster.live, done=20, gpu_seconds=said, gpus=2)
    cluster.settle()
    return stage_of(cluster, "Train")


def test_a18_gpu_seconds_are_shown_while_the_driver_works() -> None:
    cluster = train()
    stage = work_on(cluster, 160)
    assert (stage.gpu_seconds, stage.latest_gpu_seconds) == (160, 160)
    assert work_on(cluster, 3600).gpu_seconds == 3600
    assert cluster.status.gpu_hours == "1.0"


@pytest.mark.parametrize("carries_on", [True, False], ids=["a driver of this version", "a driver of 0.1"])
def test_a10_a_second_driver_counts_nothing_again(*, carries_on: bool) -> None:
    """One of 0.1 counts from 0 in the attempt that it took over; what the first had said is not lost by that."""
    cluster = train()
    cluster.claim(cluster.live, driver="d2")
    cluster.settle()
    assert stage_of(cluster, "Train").gpu_seconds == 100, "the first one's last word is seen again"
    before = 100 if carries_on else 0
    assert [work_on(cluster, before + said).gpu_seconds for said in (0, 30, 60)] == [100, 130, 160]
    cluster.result(cluster.live, driver="d2", gpu_seconds=before + 70)
    cluster.settle()
    assert stage_of(cluster, "Train").gpu_seconds == 170


def test_a18_the_next_attempt_counts_on() -> None:
    cluster = train()
    cluster.progress(cluster.live, done=10, gpu_seconds=SAID, idle_gpu_seconds=40, gpus=2)
    cluster.settle()
    assert stage_of(cluster, "Train").idle_gpu_seconds == 40
    cluster.result(cluster.live, gpu_seconds=130, idle_gpu_seconds=60, outcome="Failed", cause="preemption", reason="R")
    cluster.settle()
    cluster.end_child(cluster.live)
    cluster.settle()
    assert stage_of(cluster, "Train").attempt == 2
    cluster.run_child(cluster.live)
    assert work_on(cluster, 200).gpu_seconds == 330
    assert stage_of(cluster, "Train").latest_gpu_seconds == 200
    cluster.progress(cluster.live, done=20, gpu_seconds=230, idle_gpu_seconds=500, gpus=2)
    cluster.settle()
    stage = stage_of(cluster, "Train")
    assert (stage.idle_gpu_seconds, stage.latest_idle_gpu_seconds) == (60 + 230, 230), "at most what was held"


def test_a15_gpu_seconds_before_an_artifact_vanished_stay_counted() -> None:
    cluster = train()
    say_last(cluster)
    cluster.complete_stage("Evaluate")
    name = cluster.live
    cluster.run_child(name)
    cluster.result(name, outcome="Failed", cause="none", reason="ArtifactMissing", message="the student is gone")
    cluster.settle()
    assert cluster.status.run is not None
    assert cluster.status.run.rebuilt
    assert stage_of(cluster, "Train").gpu_seconds == 130
