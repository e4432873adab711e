"""GPUs of a pool that the jobs of a namespace hold at a time: rows S14 and W10 of docs/behavior.md."""

import pytest

from kubedistill.manifest.settings import Pool, Settings
from kubedistill.v1alpha1 import Condition, Run, StageStatus, Status
from kubedistill_operator.job import Job
from kubedistill_operator.loop.job_cache import JobCache
from support.fake_cluster import NAMESPACE, FakeCluster, begin, reason_of, small_spec, stage_of
from support.messages import CheckMessage

TEACHER = {
    "name": "big",
    "model": {"source": "t", "tensorParallelSize": 4},
    "resources": {"pool": "h100", "replicas": 2},
}


def limited(most: int | None) -> Settings:
    return Settings(pools={"h100": Pool(node_selector={"gpu": "h100"}, max_gpus_per_namespace=most)})


@pytest.fixture
def asks_for_8() -> FakeCluster:
    """Return a job whose Generate holds 8 GPUs of pool h100, and whose other stages hold none."""
    return FakeCluster(spec=small_spec(teachers=[TEACHER]), settings=limited(10))


def test_an_attempt_says_what_it_holds(asks_for_8: FakeCluster) -> None:
    begin(asks_for_8, "Generate")
    generate, prepare = stage_of(asks_for_8, "Generate"), stage_of(asks_for_8, "Prepare")
    assert (generate.pool, generate.gpus) == ("h100", 8)
    assert (prepare.pool, prepare.gpus) == ("", None)


@pytest.mark.parametrize(
    ("held", "most", "waits"),
    [
        ({}, 8, False), ({"h100": 2}, 10, False), ({"h100": 3}, 10, True), ({"a100": 9}, 10, False),
        ({"h100": 99}, None, False),
    ],
)  # fmt: skip
def test_w10_a_stage_waits_while_others_hold_the_gpus(
    held: dict[str, int], most: int | None, waits: bool, asks_for_8: FakeCluster
) -> None:
    asks_for_8.settings = limited(most)
    asks_for_8.gpus_in_namespace = held
    asks_for_8.complete_stage("Prepare")
    asks_for_8.settle()
    assert (stage_of(asks_for_8, "Generate").state == "Pending") is waits
    if waits:
        assert asks_for_8.status.phase == "Queued"
        assert reason_of(asks_for_8, "QuotaReserved") == ("False", "PoolBusy")
        assert {"3", "8", "10", '"h100"'} <= set(asks_for_8.status.message.replace(",", "").split())
        asks_for_8.gpus_in_namespace = {}
        asks_for_8.settle()
        assert stage_of(asks_for_8, "Generate").state == "Starting"


def test_w10_a_limit_of_this_moment_holds_for_runs_that_have_started(asks_for_8: FakeCluster) -> None:
    asks_for_8.step()
    assert asks_for_8.status.run is not None
    asks_for_8.settings, asks_for_8.gpus_in_namespace = limited(9), {"h100": 2}
    asks_for_8.complete_stage("Prepare")
    asks_for_8.settle()
    assert reason_of(asks_for_8, "QuotaReserved") == ("False", "PoolBusy")


def test_s14_a_stage_that_could_never_start_is_refused_at_the_start(
    asks_for_8: FakeCluster, check_message: CheckMessage
) -> None:
    asks_for_8.settings = limited(7)
    assert asks_for_8.step().create == ()
    validated = asks_for_8.status.condition("Validated")
    assert validated is not None
    assert validated.reason == "TooFewGPUs"
    check_message(validated.message, "spec.teachers[0].resources.pool")
    asks_for_8.settings = limited(8)
    assert asks_for_8.step().create != ()


def job(name: str, *stages: StageStatus, queued: bool = False, namespace: str = NAMESPACE) -> Job:
    waiting = (Condition(type="QuotaReserved", status="False", reason="PoolBusy"),) if queued else ()
    status = Status(
        phase="Queued" if queued else "Generating",
        run=Run(id="1", digest="d", started_at="2026-03-01T12:00:00Z"),
        stages=stages,
        conditions=waiting,
    )
    return Job(namespace, name, uid=f"{namespace}/{name}", spec=small_spec(), status=status)


def held(state: str, gpus: int = 4, pool: str = "h100") -> StageStatus:
    return StageStatus.model_validate({"name": "Generate", "state": state, "pool": pool, "gpus": gpus})


def test_w10_held_gpus_are_counted_from_status_which_no_user_writes() -> None:
    cache = JobCache(Settings().storage)
    ours = job("ours", held("Pending"))
    for one in (
        ours,
        job("runs", held("Running")),
        job("stops", held("Stopping")),
        job("done", held("Succeeded")),
        job("cpu", held("Running", 0, "")),
        job("elsewhere", held("Running"), namespace="other"),
        job("other-pool", held("Starting", 2, "a100")),
    ):
        cache.update(one)
    assert cache.count_other_gpus(ours) == {"h100": 8, "a100": 2}


def test_w10_a_waiting_job_is_reconciled_when_gpus_are_released() -> None:
    cache = JobCache(Settings().storage)
    for one in (job("waits", held("Pending"), queued=True), job("runs", held("Running"))):
        cache.update(one)
    assert cache.update(job("runs", held("Running"))) == []
    assert cache.update(job("runs", held("Succeeded"))) == [(NAMESPACE, "waits")]
