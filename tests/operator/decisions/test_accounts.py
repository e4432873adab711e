"""Row A18 of docs/behaviour.md: however an attempt ends, its time is counted once, and its end is told once."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from kubedistill.v1alpha1 import StageStatus
from kubedistill_operator.status import find_condition
from world import World, begin, reason_of, small_spec, stage_of

SAID = 100.0
"""GPU-seconds that the driver has said before the attempt ends; it holds 2 GPUs."""
ATTEMPT_ENDS = ("StageSucceeded", "AttemptFailed", "AttemptStopped")
RUN_ENDS = ("RunSucceeded", "RunFailed", "RunCancelled", "RunSuperseded")


def train(**changes: object) -> World:
    """A job whose Train is at work, and whose driver has said what it spent."""
    world = World(spec=small_spec(**changes))
    name = begin(world, "Train")
    world.run_child(name)
    world.progress(name, done=10, gpu_seconds=SAID, gpus=2)
    world.settle()
    return world


def say_last(world: World, gpu_seconds: float = 130.0, **changes: object) -> None:
    name = world.live
    world.result(name, gpu_seconds=gpu_seconds, **changes)
    world.settle()
    world.end_child(name)
    world.settle()


def fail(world: World, cause: str) -> None:
    say_last(world, outcome="Failed", cause=cause, reason="Trouble", message="as told")


def suspend(world: World) -> None:
    world.spec = world.spec.model_copy(update={"suspend": True})
    world.settle()


def suspend_and_say_last(world: World) -> None:
    suspend(world)
    say_last(world, outcome="Stopped", cause="none", reason="Stopped")


def suspend_a_deaf_driver(world: World) -> None:
    suspend(world)
    world.now += 60
    world.settle()
    world.end_child(world.live)
    world.settle()


def cancel(world: World) -> None:
    world.annotations["kubedistill.io/cancel"] = "now"
    world.settle()
    say_last(world, outcome="Stopped", cause="none", reason="Stopped")


def hang(world: World) -> None:
    world.now += 1800
    world.settle()


def hang_and_speak_after_all(world: World) -> None:
    hang(world)
    say_last(world, gpu_seconds=SAID + 2 * 1800 - 5, outcome="Failed", cause="failure", reason="Trouble")


def run_out_of_time(world: World) -> None:
    world.now += 500
    world.progress(world.live, done=20, gpu_seconds=900, gpus=2)
    world.settle()
    world.now += 500
    world.settle()


def lose_the_head(world: World) -> None:
    world.end_child(world.live, reason="JobStatusCheckTimeoutExceeded")
    world.settle()
    world.now += 31
    world.settle()


def delete_the_child_and_its_channel(world: World) -> None:
    name = world.live
    del world.children[name], world.channels[name], world.pods[name]
    world.settle()
    world.now += 31
    world.settle()


def lose_every_driver(world: World) -> None:
    for number in range(2, 6):
        world.claim(world.live, driver=f"d{number}")
        world.settle()


def lose_the_frozen_run(world: World) -> None:
    world.frozen.clear()
    world.spec = small_spec(training={"epochs": 7})
    world.settle()


def miss_an_artifact(world: World) -> None:
    say_last(world, outcome="Failed", cause="none", reason="ArtifactMissing", message="answers are gone")


@dataclass(frozen=True, slots=True)
class End:
    """A way in which an attempt ends."""

    happens: Callable[[World], None]
    gpu_seconds: float
    told: str
    failed: str = ""
    """The reason for which the run fails with it; empty where the run goes on."""
    spec: tuple[tuple[str, object], ...] = ()


NO_RETRY = (("retry", {"maxFailures": 0, "maxInfrastructureFailures": 0, "maxPreemptions": 0}),)
STOPPED, FAILED = "AttemptStopped", "AttemptFailed"
ENDS = {
    "success": End(say_last, 130, "StageSucceeded"),
    "a6 a failure": End(lambda world: fail(world, "failure"), 130, FAILED),
    "a3 a user's mistake": End(lambda world: fail(world, "user"), 130, FAILED, "Trouble"),
    "a16 the last failure": End(lambda world: fail(world, "failure"), 130, FAILED, "Trouble", NO_RETRY),
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


def told(world: World, reasons: tuple[str, ...], *, stage: str = "") -> list[str]:
    return [event.reason for event in world.events if event.reason in reasons and event.message.startswith(stage)]


@pytest.mark.parametrize("row", ENDS)
def test_a18_an_end_is_counted_once_and_told_once(row: str) -> None:
    end = ENDS[row]
    world = train(**dict(end.spec))
    end.happens(world)
    stage = stage_of(world, "Train")
    assert stage.gpu_seconds == pytest.approx(end.gpu_seconds, abs=1)
    assert world.status.gpu_hours == f"{stage.gpu_seconds / 3600:.1f}"
    assert told(world, ATTEMPT_ENDS, stage="Train attempt 1: ") == [end.told]
    assert told(world, RUN_ENDS) == (
        [] if not end.failed else ["RunCancelled" if row.startswith("s10") else "RunFailed"]
    )
    for _ in range(3):
        world.now += 5
        world.settle()
    assert stage_of(world, "Train").gpu_seconds == stage.gpu_seconds, "nothing is counted again"


@pytest.mark.parametrize("row", [row for row in ENDS if ENDS[row].failed])
def test_a18_conditions_of_a_failed_run_agree(row: str) -> None:
    world = train(**dict(ENDS[row].spec))
    ENDS[row].happens(world)
    assert world.status.phase == "Failed"
    assert reason_of(world, "Failed") == ("True", ENDS[row].failed)
    assert reason_of(world, "Progressing") == ("False", "Failed")
    assert find_condition(world.status, "Complete") is None
    assert stage_of(world, "Train").state in ("Failed", "Pending"), "nothing is at work"
    assert world.status.run is not None
    assert world.status.run.counted_at == ""


def test_a18_who_is_cancelled_while_suspended_or_queued_is_neither_any_more() -> None:
    world = train()
    suspend_and_say_last(world)
    assert reason_of(world, "Suspended") == ("True", "AsAsked")
    world.annotations["kubedistill.io/cancel"] = "now"
    world.settle()
    assert (world.status.phase, reason_of(world, "Suspended")) == ("Failed", ("False", "Failed"))
    queued = World(active_in_namespace=World().settings.max_active_jobs_per_namespace)
    queued.settle()
    queued.annotations["kubedistill.io/cancel"] = "now"
    queued.settle()
    assert (queued.status.phase, find_condition(queued.status, "QuotaReserved")) == ("Failed", None)


def test_a18_a_superseded_run_has_its_event() -> None:
    world = train()
    world.spec = small_spec(runID="second")
    world.settle()
    say_last(world, outcome="Stopped", cause="none", reason="Stopped")
    assert told(world, ATTEMPT_ENDS, stage="Train attempt 1: ") == ["AttemptStopped"]
    assert told(world, RUN_ENDS) == ["RunSuperseded"]


def test_a18_no_two_events_are_taken_for_one() -> None:
    """An Event is named by what it is about; the API server drops a second one of the same name."""
    world = train()
    for number in (2, 3):
        world.claim(world.live, driver=f"d{number}")
    world.settle()
    world.spec = small_spec(runID="second")
    world.settle()
    say_last(world, outcome="Stopped", cause="none", reason="Stopped")
    world.spec = small_spec(runID="third")
    world.settle()
    ends = [(event.reason, event.about) for event in world.events if event.about]
    assert len(ends) == len(set(ends))
    assert {about for reason, about in ends if reason == "DriverRestarted"} == {"2", "3"}
    assert {about for reason, about in ends if reason == "RunSuperseded"} == {"1", "second"}


def work_on(world: World, said: float) -> StageStatus:
    world.progress(world.live, done=20, gpu_seconds=said, gpus=2)
    world.settle()
    return stage_of(world, "Train")


def test_a18_gpu_seconds_are_shown_while_the_driver_works() -> None:
    world = train()
    stage = work_on(world, 160)
    assert (stage.gpu_seconds, stage.latest_gpu_seconds) == (160, 160)
    assert work_on(world, 3600).gpu_seconds == 3600
    assert world.status.gpu_hours == "1.0"


@pytest.mark.parametrize("carries_on", [True, False], ids=["a driver of this version", "a driver of 0.1"])
def test_a10_a_second_driver_counts_nothing_anew(*, carries_on: bool) -> None:
    """One of 0.1 counts from 0 in the attempt that it took over; what the first had said is not lost by that."""
    world = train()
    world.claim(world.live, driver="d2")
    world.settle()
    assert stage_of(world, "Train").gpu_seconds == 100, "the first one's last word is seen again"
    before = 100 if carries_on else 0
    assert [work_on(world, before + said).gpu_seconds for said in (0, 30, 60)] == [100, 130, 160]
    world.result(world.live, driver="d2", gpu_seconds=before + 70)
    world.settle()
    assert stage_of(world, "Train").gpu_seconds == 170


def test_a18_the_next_attempt_counts_on() -> None:
    world = train()
    fail(world, "preemption")
    assert stage_of(world, "Train").attempt == 2
    world.run_child(world.live)
    assert work_on(world, 200).gpu_seconds == 330
    assert stage_of(world, "Train").latest_gpu_seconds == 200


def test_a15_what_was_spent_before_an_artifact_vanished_stays_counted() -> None:
    world = train()
    say_last(world)
    world.complete_stage("Evaluate")
    name = world.live
    world.run_child(name)
    world.result(name, outcome="Failed", cause="none", reason="ArtifactMissing", message="the student is gone")
    world.settle()
    assert world.status.run is not None
    assert world.status.run.rewound
    assert stage_of(world, "Train").gpu_seconds == 130
