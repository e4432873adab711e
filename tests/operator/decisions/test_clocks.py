"""Clocks: the times of a driver are compared with nothing but themselves (row A8 of docs/behavior.md)."""

import pytest

from kubedistill_operator.clock import seconds_of, stamp
from kubedistill_operator.status import with_stage
from support.fake_cluster import FakeCluster, begin, reason_of, small_spec, stage_of

SKEWS = [-3600.0, 0.0, 3600.0]
"""Seconds by which a driver's clock is ahead; noProgressTimeoutSeconds is 1800."""


def train(skew: float) -> FakeCluster:
    """Return a job whose Train runs and has just reported its first work."""
    cluster = FakeCluster(driver_skew=skew)
    name = begin(cluster, "Train")
    cluster.run_child(name)
    cluster.progress(name, done=1, gpu_seconds=100.0, gpus=2)
    cluster.settle()
    return cluster


def work(cluster: FakeCluster, *, done: int, after: float) -> None:
    """Report more work some seconds later."""
    cluster.now += after
    cluster.progress(cluster.live, done=done, gpu_seconds=100.0, gpus=2)
    cluster.settle()


@pytest.mark.parametrize("skew", SKEWS)
def test_a8_a_driver_that_works_continues(skew: float) -> None:
    cluster = train(skew)
    for done in range(2, 6):
        work(cluster, done=done, after=1700)
        stage = stage_of(cluster, "Train")
        assert (stage.state, stage.attempt, stage.percent) == ("Running", 1, done)
        assert seconds_of(stage.progressed_at) == cluster.now
    assert stage.restarts.failure == 0


@pytest.mark.parametrize("skew", SKEWS)
def test_a8_a_driver_that_hangs_is_ended_in_time(skew: float) -> None:
    cluster = train(skew)
    work(cluster, done=2, after=60)
    cluster.now += 1799
    cluster.settle()
    assert stage_of(cluster, "Train").state == "Running"
    cluster.now += 1
    cluster.settle()
    stage = stage_of(cluster, "Train")
    assert (stage.state, stage.reason, stage.restarts.failure) == ("Stopping", "NoProgress", 1)
    assert stage.gpu_seconds == 100 + 2 * 1800, "it held its GPUs until then"
    assert stage.idle_gpu_seconds == 2 * 1800


@pytest.mark.parametrize("skew", SKEWS)
def test_a8_loading_is_not_progress(skew: float) -> None:
    cluster = FakeCluster(spec=small_spec(startupTimeoutSeconds=600), driver_skew=skew)
    name = begin(cluster, "Train")
    cluster.run_child(name)
    for _ in range(5):
        cluster.progress(name, done=0, total=0, state="Loading", message="the student", gpus=2)
        cluster.settle()
        assert (stage_of(cluster, "Train").state, stage_of(cluster, "Train").progressed_at) == ("Running", "")
        cluster.now += 120
    cluster.settle()
    stage = stage_of(cluster, "Train")
    assert (stage.reason, stage.gpu_seconds) == ("NoProgress", 2 * 120.0)


@pytest.mark.parametrize("skew", SKEWS)
def test_a8_a_download_that_advances_is_progress_and_one_that_hangs_is_not(skew: float) -> None:
    cluster = FakeCluster(spec=small_spec(startupTimeoutSeconds=600), driver_skew=skew)
    name = begin(cluster, "Train")
    cluster.run_child(name)
    cluster.settle()
    for done in range(1, 9):
        cluster.now += 300
        cluster.progress(name, done=done, total=9, state="Loading", unit="bytes", gpus=2)
        cluster.settle()
    cluster.now += 599
    cluster.settle()
    stage = stage_of(cluster, "Train")
    assert (stage.state, stage.progressed_at) == ("Running", "")
    cluster.now += 1
    cluster.settle()
    assert stage_of(cluster, "Train").reason == "NoProgress", "a driver says nothing of a download that hangs"


@pytest.mark.parametrize("corrected", SKEWS)
@pytest.mark.parametrize("skew", SKEWS)
def test_a8_a_clock_may_be_corrected_while_a_driver_works(skew: float, corrected: float) -> None:
    cluster = train(skew)
    cluster.driver_skew = corrected
    work(cluster, done=2, after=1700)
    work(cluster, done=3, after=1700)
    assert stage_of(cluster, "Train").state == "Running"
    cluster.now += 1800
    cluster.settle()
    assert stage_of(cluster, "Train").reason == "NoProgress"


@pytest.mark.parametrize("skew", SKEWS)
def test_a8_a_status_of_0_1_counts_from_the_first_look_after_the_upgrade(skew: float) -> None:
    """0.1 stored the driver's time, and not the report that it came with."""
    cluster = train(skew)
    cluster.status = with_stage(
        cluster.status, "Train", progressed_at=stamp(cluster.now + skew), reported_at="", report_stamp=""
    )
    cluster.now += 1700
    cluster.settle()
    assert stage_of(cluster, "Train").state == "Running"
    cluster.now += 1799
    cluster.settle()
    assert stage_of(cluster, "Train").state == "Running"
    cluster.now += 1
    cluster.settle()
    assert stage_of(cluster, "Train").reason == "NoProgress"


def test_a8_a_look_that_shows_nothing_new_changes_nothing() -> None:
    cluster = train(3600.0)
    status = cluster.status
    cluster.now += 600
    cluster.settle()
    assert cluster.status == status


def test_a8_the_next_attempt_begins_without_the_reports_of_the_last() -> None:
    cluster = train(-3600.0)
    cluster.now += 1800
    cluster.settle()
    cluster.pods.clear()
    cluster.now += 600
    cluster.settle()
    stage = stage_of(cluster, "Train")
    assert (stage.attempt, stage.progressed_at, stage.reported_at, stage.report_stamp) == (2, "", "", "")
    cluster.run_child(stage.child)
    cluster.settle()
    cluster.now += 7000
    cluster.settle()
    assert stage_of(cluster, "Train").state == "Running", "loading may take long"
    assert reason_of(cluster, "Progressing") == ("True", "Train")
