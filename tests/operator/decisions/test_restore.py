"""A job that comes back without its status: rows S12 and W9 of docs/behavior.md, by their names."""

import pytest

from kubedistill.chain import CHAIN, STAGES, StageName
from kubedistill.labels import RELEASE_ANNOTATION
from kubedistill.v1alpha1 import RunRecord, Status
from support.fake_cluster import SETTINGS, FakeCluster, begin, reason_of, small_spec, stage_of

HOLD = SETTINGS.model_copy(update={"on_restore": "Hold"})
ALL = [stage.name for stage in CHAIN]


def restored(*, whole: list[StageName]) -> FakeCluster:
    """Return a job as a backup brings it back, over a store that holds whole what some stages made."""
    cluster = FakeCluster()
    cluster.stored = {name for stage in whole for name in STAGES[stage].makes}
    return cluster


@pytest.mark.parametrize("count", range(1, len(ALL) + 1))
def test_s12_stages_are_skipped_where_the_store_is_whole(count: int) -> None:
    cluster = restored(whole=ALL[:count])
    cluster.complete_stage("Prepare")
    states = [stage.state for stage in cluster.status.stages]
    assert states[:count] == ["Succeeded", *["Skipped"] * (count - 1)]
    for stage in ALL[count:]:
        cluster.complete_stage(stage)
    assert cluster.status.phase == "Succeeded"
    assert len(cluster.created) == 1 + len(ALL) - count
    assert cluster.status.result is not None
    assert cluster.status.result.gate_passed


def test_s12_an_incomplete_artifact_is_made_again_and_complete_later_ones_are_not() -> None:
    cluster = restored(whole=[stage for stage in ALL if stage != "Curate"])
    cluster.complete_stage("Prepare")
    cluster.complete_stage("Curate")
    assert cluster.status.phase == "Succeeded"
    assert [name.split("-")[1] for name in cluster.created] == ["prepare", "curate"]


def test_w9_nothing_starts_until_it_is_annotated() -> None:
    cluster = restored(whole=ALL)
    cluster.settings = HOLD
    for _ in range(3):
        cluster.settle()
        cluster.now += 100_000
    assert (cluster.status.phase, reason_of(cluster, "QuotaReserved")) == ("Pending", ("False", "OnHold"))
    assert RELEASE_ANNOTATION in cluster.status.message
    assert [event.reason for event in cluster.events] == ["Held"]
    assert (cluster.created, cluster.frozen, cluster.status.run) == ([], {}, None)
    cluster.annotations[RELEASE_ANNOTATION] = "yes"
    cluster.complete_stage("Prepare")
    assert cluster.status.phase == "Succeeded"


def test_w9_settings_that_say_run_start_it_too() -> None:
    cluster = FakeCluster(settings=HOLD)
    cluster.settle()
    cluster.settings = SETTINGS
    cluster.settle()
    assert stage_of(cluster, "Prepare").state == "Starting"
    assert cluster.status.condition("QuotaReserved") is None


def test_w9_a_job_that_is_released_and_refused_says_why_it_is_refused() -> None:
    cluster = FakeCluster(settings=HOLD, claim_access_modes=None)
    cluster.settle()
    cluster.annotations[RELEASE_ANNOTATION] = "yes"
    cluster.settle()
    assert reason_of(cluster, "Validated") == ("False", "ClaimNotFound")
    assert cluster.status.condition("QuotaReserved") is None


@pytest.mark.parametrize("asks", ["continues", "another runID"])
def test_w9_a_job_whose_past_is_known_is_not_held(asks: str) -> None:
    cluster = FakeCluster()
    begin(cluster, "Train")
    cluster.settings = HOLD
    if asks == "another runID":
        history = (RunRecord(id="1", outcome="Succeeded"),)
        cluster.status, cluster.spec = Status(run_history=history), small_spec(runID="second")
        cluster.generation += 1
    cluster.settle()
    assert cluster.status.run is not None
    assert cluster.created


def test_w9_a_job_that_is_held_can_be_deleted() -> None:
    cluster = FakeCluster(settings=HOLD)
    cluster.settle()
    cluster.deleting = True
    cluster.settle()
    assert (cluster.status.phase, cluster.created) == ("Deleting", [])
