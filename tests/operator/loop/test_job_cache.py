"""The cache of jobs: competitors, room, which job may continue when another gives something up, which needs no look."""

from typing import Any

import pytest

from kubedistill.contract import StageProgress
from kubedistill.manifest.settings import DefaultStorage, SharedStorage
from kubedistill.v1alpha1 import ArtifactStatus, Condition, Restarts, Run, Spec, StageStatus, Status
from kubedistill_operator.decisions.stores import find_store
from kubedistill_operator.job import Job
from kubedistill_operator.loop.job_cache import JobCache
from kubedistill_operator.observed import Channel
from kubedistill_operator.telemetry.driver_metrics import DriverMetrics, read_driver_metrics
from kubedistill_operator.telemetry.job_metrics import read_job_metrics
from support.operator_objects import RUN, with_status

Object = dict[str, Any]
SHARED = {"uri": "s3://bucket/store"}
STALLED = Condition(type="Stalled", status="True", reason="StatusNotUnderstood")


def make(
    resource: Object,
    name: str,
    *,
    namespace: str = "team-a",
    version: int = 1,
    storage: Object | None = None,
    status: Status | None = None,
    stored: Object | None = None,
    **metadata: Any,
) -> Job:
    """Return a job of its own."""
    spec = resource["spec"] | ({"storage": storage} if storage else {})
    about = {
        **resource["metadata"],
        "name": name,
        "namespace": namespace,
        "uid": f"uid-of-{namespace}-{name}",
        "resourceVersion": str(version),
        **metadata,
    }
    return with_status({**resource, "spec": spec, "metadata": about}, status or Status(), stored=stored or {})


def running(**artifacts: bool) -> Status:
    """Return a run whose child generates, and whose artifacts are complete or not."""
    found = tuple(ArtifactStatus(name=name, key=name * 3, complete=done) for name, done in artifacts.items())
    run = Run(id="one", digest="d", started_at="2026-03-01T12:00:00Z", artifacts=found)
    return Status(phase="Generating", run=run, stages=(StageStatus(name="Generate", state="Running"),))


RUN_WITH_ANSWERS = running(answers=False).run


def waiting(reason: str = "NamespaceBusy") -> Status:
    queued = Condition(type="QuotaReserved", status="False", reason=reason)
    stage = StageStatus(name="Generate", state="Pending")
    return Status(phase="Queued", run=RUN, stages=(stage,), conditions=(queued,))


@pytest.fixture
def cache() -> JobCache:
    """team-a and team-b share a store, and nobody else does."""
    return JobCache(DefaultStorage(shared=(SharedStorage(**SHARED, namespaces=("team-a", "team-b")),)))


def test_jobs_on_the_same_store_compete_for_the_same_artifacts(cache: JobCache, resource: Object) -> None:
    ours = make(resource, "ours", storage=SHARED, status=waiting().model_copy(update={"run": RUN_WITH_ANSWERS}))
    for job in (
        ours,
        make(resource, "maker", storage=SHARED, status=running(rows=True, answers=False), namespace="team-b"),
        make(resource, "elsewhere", storage={"uri": "s3://bucket/other"}, status=running(answers=False)),
        make(resource, "stranger", storage=SHARED, status=running(answers=False), namespace="team-c"),
        make(resource, "done", storage=SHARED, status=running(rows=True)),
        make(resource, "over", storage=SHARED, status=running(answers=False).model_copy(update={"phase": "Failed"})),
        make(resource, "has no child", storage=SHARED, status=waiting().model_copy(update={"run": RUN_WITH_ANSWERS})),
        make(resource, "makes other things", storage=SHARED, status=running(student=False)),
        make(
            resource, "leaves", storage=SHARED, status=running(answers=False), deletionTimestamp="2026-03-01T12:00:00Z"
        ),
    ):
        cache.update(job)
    cache.update(make(resource, "has made", storage=SHARED, status=running(answers=True, judge=True)))
    competitors = cache.competitors(ours)
    at_work = make(resource, "ours", storage=SHARED, status=running(answers=False))
    assert cache.competitors(at_work) == (), "it makes it already"
    answers = {"answers": "answersanswersanswers"}
    assert [
        (competitor.namespace, competitor.name, competitor.keys, competitor.made) for competitor in competitors
    ] == [
        ("team-b", "maker", answers, {"rows": "rowsrowsrows"}),
        ("team-a", "has made", {}, answers | {"judge": "judgejudgejudge"}),
    ]


GROUP = SharedStorage(uri="s3://shared/", namespaces=("team-a", "team-b"))
STORES: list[tuple[Object, Object, bool]] = [
    ({"storage": {"uri": "s3://b/x"}}, {"storage": {"uri": "s3://b/x/"}}, True),
    ({"storage": {"uri": "s3://b/x"}}, {"storage": {"uri": "s3://b/x/"}, "namespace": "team-b"}, False),
    ({"storage": {"uri": "s3://b/x"}}, {"storage": {"uri": "s3://b/y"}}, False),
    ({"storage": {"volumeClaim": "c"}}, {"storage": {"volumeClaim": "c"}}, True),
    ({"storage": {"volumeClaim": "c"}}, {"storage": {"volumeClaim": "c"}, "namespace": "team-b"}, False),
    ({"storage": {"volumeClaim": "c"}}, {"storage": {"volumeClaim": "d"}}, False),
    ({"namespace": "solo"}, {"storage": {"uri": "s3://default/solo/"}, "namespace": "solo"}, True),
    ({"namespace": "solo"}, {"namespace": "lone"}, False),
    ({}, {"namespace": "team-b"}, True),
    ({}, {"storage": {"uri": "s3://shared"}, "namespace": "team-b"}, True),
    ({}, {"storage": {"uri": "s3://shared"}, "namespace": "solo"}, False),
    ({}, {"storage": {"uri": "s3://default/team-b"}, "namespace": "team-b"}, False),
    ({}, {"storage": {"volumeClaim": "own"}, "namespace": "team-b"}, False),
    ({"storage": {"volumeClaim": "own"}}, {"storage": {"volumeClaim": "own"}, "namespace": "team-b"}, False),
]
"""The settings have s3://default for all, and GROUP."""


@pytest.mark.parametrize(("one", "other", "same"), STORES)
def test_what_is_the_same_store(one: Object, other: Object, same: bool, resource: Object) -> None:
    storage = DefaultStorage(uri="s3://default", shared=(GROUP,))
    jobs = [parse(make(resource, "a", **one)), parse(make(resource, "b", **other))]
    first, second = (find_store(spec, namespace=namespace, storage=storage) for namespace, spec in jobs)
    assert (first == second) is same


def parse(job: Job) -> tuple[str, Spec]:
    assert job.spec is not None, job.problem
    return job.namespace, job.spec


def test_only_other_jobs_of_the_namespace_that_have_a_child_take_room(cache: JobCache, resource: Object) -> None:
    ours = make(resource, "ours", status=running())
    for job in (
        ours,
        make(resource, "other", status=running()),
        make(resource, "waits", status=waiting()),
        make(resource, "elsewhere", status=running(), namespace="team-b"),
    ):
        cache.update(job)
    assert cache.count_other_active(ours) == 1


GIVEN_UP: dict[str, tuple[Status | None, list[str]]] = {
    "nothing": (running(answers=False), []),
    "its child": (waiting().model_copy(update={"run": RUN_WITH_ANSWERS}), ["same namespace", "same store"]),
    "an artifact that is complete": (running(answers=True), ["same store"]),
    "all, since it failed": (running(answers=False).model_copy(update={"phase": "Failed"}), ["same store"]),
    "all, since it is gone": (None, ["same namespace", "same store"]),
}


@pytest.mark.parametrize("case", GIVEN_UP)
def test_a_job_that_waits_continues_when_another_gives_up(case: str, cache: JobCache, resource: Object) -> None:
    status, freed = GIVEN_UP[case]
    maker = make(resource, "maker", storage=SHARED, status=running(answers=False))
    for job in (
        maker,
        make(resource, "same namespace", status=waiting()),
        make(resource, "same store", storage=SHARED, status=waiting("SharedArtifact"), namespace="team-b"),
        make(resource, "same store, but wants room", storage=SHARED, status=waiting(), namespace="team-b"),
        make(
            resource,
            "same namespace, but wants artifact",
            storage={"uri": "s3://bucket/other"},
            status=waiting("SharedArtifact"),
        ),
        make(resource, "in Kueue's queue", storage=SHARED, status=waiting("Pending")),
        make(resource, "works", storage=SHARED, status=running()),
        make(resource, "apart", status=waiting(), namespace="team-c"),
    ):
        assert cache.update(job) == []
    after = make(resource, "maker", storage=SHARED, status=status)
    found = cache.remove(("team-a", "maker")) if status is None else cache.update(after)
    assert sorted(name for _, name in found) == freed


def test_for_one_place_only_the_oldest_are_woken(cache: JobCache, resource: Object) -> None:
    maker = make(resource, "maker", status=running())
    cache.update(maker)
    for name, hour in (("c", 13), ("a", 12), ("b", 14), ("d", 15)):
        cache.update(make(resource, name, status=waiting(), creationTimestamp=f"2026-03-01T{hour}:00:00Z"))
    assert [name for _, name in cache.remove(("team-a", "maker"))] == ["a", "c"]


def over(phase: str = "Succeeded", *, generation: int = 3, **changes: Any) -> Status:
    return Status(phase=phase, observed_generation=generation, run=RUN, **changes)


NEEDS_LOOK: dict[str, tuple[Object, bool]] = {
    "it is running": ({"status": running()}, True),
    "it is new": ({}, True),
    "it is over": ({"status": over()}, False),
    "it failed": ({"status": over("Failed")}, False),
    "its spec was edited since": ({"status": over(), "generation": 4}, True),
    "a rerun is asked for": ({"status": over(), "annotations": {"kubedistill.io/rerun": "7"}}, True),
    "a rerun was handled": (
        {"status": over(handled_requests=("rerun:7",)), "annotations": {"kubedistill.io/rerun": "7"}}, False,
    ),
    "its status is not understood": ({"status": over(), "stored": {"stages": [{"name": "Reflect"}]}}, True),
    "its status was not understood": ({"status": over(conditions=(STALLED,))}, True),
    "it is being deleted": ({"status": running(), "deletionTimestamp": "2026-03-01T12:00:00Z"}, True),
    "it is over and being deleted": ({"status": over(), "deletionTimestamp": "2026-03-01T12:00:00Z"}, True),
}  # fmt: skip


@pytest.mark.parametrize("case", NEEDS_LOOK)
def test_which_jobs_need_a_look(case: str, cache: JobCache, resource: Object) -> None:
    options, expected = NEEDS_LOOK[case]
    cache.update(make(resource, "one", **options))
    assert cache.needs_reconcile(("team-a", "one")) == expected


def test_a_job_that_nobody_knows_needs_a_look(cache: JobCache) -> None:
    assert cache.needs_reconcile(("team-a", "one"))


def test_a_job_that_is_over_needs_looks_until_its_children_are_gone(cache: JobCache, resource: Object) -> None:
    key = ("team-a", "one")
    cache.add_child(key, "one-train-abcde")
    cache.update(make(resource, "one", status=over()))
    assert cache.needs_reconcile(key), "its children may have come before it"
    cache.remove_child(key, "one-train-abcde")
    assert not cache.needs_reconcile(key)
    cache.add_child(key, "ghost")
    cache.set_children(key, [])
    assert not cache.needs_reconcile(key)


def test_a_job_that_had_nothing_to_do_needs_no_look_until_it_changes(cache: JobCache, resource: Object) -> None:
    edited = make(resource, "one", status=over(), generation=4, version=7)
    cache.update(edited)
    cache.set_idle(edited)
    assert not cache.needs_reconcile(("team-a", "one"))
    cache.update(make(resource, "one", status=over(), generation=5, version=8))
    assert cache.needs_reconcile(("team-a", "one"))


NOT_UNDERSTOOD = {
    "during a run": (running(rows=False), True),
    "over": (over(), False),
    "of a phase that is not known": (Status(run=RUN), True),
}  # fmt: skip


@pytest.mark.parametrize("case", NOT_UNDERSTOOD)
def test_a_job_with_an_unknown_status_counts_as_one_with_a_child_unless_it_is_over(
    case: str, cache: JobCache, resource: Object
) -> None:
    status, active = NOT_UNDERSTOOD[case]
    cache.update(make(resource, "one", status=status, stored={"stages": [{"name": "Reflect", "state": "Running"}]}))
    assert cache.count_other_active(make(resource, "other")) == active


def test_metrics_say_that_a_job_is_not_understood(resource: Object) -> None:
    job_metrics = read_job_metrics(
        make(resource, "one", status=running().model_copy(update={"conditions": (STALLED,)}))
    )
    assert job_metrics.conditions == (("Stalled", "True", "StatusNotUnderstood"),)
    assert not job_metrics.runs


def test_old_news_changes_nothing(cache: JobCache, resource: Object) -> None:
    cache.update(make(resource, "one", status=running(), version=10))
    cache.update_if_newer(make(resource, "one", status=waiting(), version=9))
    cache.update_if_newer(make(resource, "one", status=waiting(), version=10))
    assert next(iter(cache))[1].active, "what was decided counts until something newer is seen"
    cache.update_if_newer(make(resource, "one", status=waiting(), version=11))
    assert not next(iter(cache))[1].active


def test_a_later_job_of_the_same_name_is_news_at_any_version(cache: JobCache, resource: Object) -> None:
    cache.update(make(resource, "one", status=running(), version=10))
    cache.update_if_newer(make(resource, "one", version=2, uid="later"))
    assert next(iter(cache))[1].uid == "later"


def test_a_job_that_is_gone_leaves_nothing(cache: JobCache, resource: Object) -> None:
    cache.update(make(resource, "one", status=running()))
    cache.add_child(("team-a", "one"), "child")
    cache.remove(("team-a", "one"))
    assert len(cache) == 0
    assert not list(cache)
    cache.remove(("team-a", "one"))


def test_facts_are_what_status_says(resource: Object) -> None:
    resource["spec"]["queue"] = {"name": "gpu"}
    stages = (
        StageStatus(name="Prepare", state="Succeeded", gpu_seconds=1.0, restarts=Restarts(failure=1)),
        StageStatus(name="Generate", state="Skipped"),
        StageStatus(
            name="Train",
            state="Running",
            percent=50,
            gpu_seconds=2.5,
            progressed_at="2026-03-01T12:00:10Z",
            latest_gpu_seconds=2.0,
            restarts=Restarts(failure=1, preemption=3),
        ),
        StageStatus(name="Export"),
    )
    conditions = (
        Condition(type="Progressing", status="True", reason="Train"),
        Condition(type="SpecDrift", status="True", reason="Edited"),
        Condition(type="Complete", status="False", reason="NotYet"),
    )
    job_metrics = read_job_metrics(
        with_status(resource, Status(phase="Training", run=RUN, stages=stages, conditions=conditions))
    )
    assert (job_metrics.strategy, job_metrics.queue, job_metrics.student, job_metrics.teacher_kind) == (
        "Auto",
        "gpu",
        "student",
        "Model",
    )
    assert (job_metrics.phase, job_metrics.stage, job_metrics.stage_ratio, job_metrics.ratio) == (
        "Training",
        "Train",
        0.5,
        2.5 / 4,
    )
    assert (job_metrics.created, job_metrics.started, job_metrics.completed) == (1772366400.0, 1772366400.0, None)
    assert (job_metrics.progressed, job_metrics.gpu_seconds, job_metrics.latest_gpu_seconds) == (1772366410.0, 3.5, 2.0)
    assert job_metrics.restarts == {"failure": 2, "infrastructure": 0, "preemption": 3}
    assert job_metrics.conditions == (("SpecDrift", "True", "Edited"),)
    assert (job_metrics.attempt, job_metrics.runs) == (0, True)


def test_facts_of_a_job_that_is_over_name_no_stage(resource: Object) -> None:
    stages = (StageStatus(name="Prepare", state="Failed", ended_at="2026-03-01T12:00:10Z", percent=30),)
    job_metrics = read_job_metrics(with_status(resource, Status(phase="Failed", run=RUN, stages=stages)))
    assert (job_metrics.stage, job_metrics.stage_ratio, job_metrics.progressed, job_metrics.completed) == (
        "",
        0.0,
        None,
        1772366410.0,
    )


def test_a_run_that_ended_between_two_stages_ended_at_its_conditions_time(resource: Object) -> None:
    stages = (
        StageStatus(name="Prepare", state="Succeeded", ended_at="2026-03-01T12:00:10Z"),
        StageStatus(name="Train"),
    )
    at = "2026-03-01T12:00:30Z"
    conditions = (Condition(type="Failed", status="True", reason="Cancelled", last_transition_time=at),)
    job_metrics = read_job_metrics(
        with_status(resource, Status(phase="Failed", run=RUN, stages=stages, conditions=conditions))
    )
    assert job_metrics.completed == 1772366430.0
    assert job_metrics.conditions == (("Failed", "True", "Cancelled"),)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"Validated": "False", "Progressing": "False"}, ("Validated", "False", "R")),
        ({"QuotaReserved": "False", "Progressing": "False"}, ("QuotaReserved", "False", "R")),
        ({"Progressing": "False", "Complete": "False"}, ("Progressing", "False", "R")),
        ({"Failed": "True", "QuotaReserved": "False"}, ("Failed", "True", "R")),
    ],
)
def test_one_condition_says_why_a_job_is_where_it_is(
    given: dict[str, str], told: tuple[str, str, str], resource: Object
) -> None:
    conditions = tuple(Condition(type=kind, status=status, reason="R") for kind, status in given.items())
    job_metrics = read_job_metrics(with_status(resource, Status(run=RUN, conditions=conditions)))
    assert job_metrics.conditions == (told,)
    assert not job_metrics.runs


@pytest.mark.parametrize("phase", ["Succeeded", "Suspended"])
def test_a_job_at_rest_waits_for_nothing(phase: Any, resource: Object) -> None:
    conditions = tuple(Condition(type=kind, status="False", reason="R") for kind in ("QuotaReserved", "Progressing"))
    assert read_job_metrics(with_status(resource, Status(phase=phase, run=RUN, conditions=conditions))).conditions == ()


def at_work(resource: Object, *, attempt: int = 2, **changes: Any) -> Job:
    stage = StageStatus(name="Train", state="Running", attempt=attempt)
    values = {"phase": "Training", "run": RUN, "stages": (stage,), **changes}
    return make(resource, "one", status=Status(**values))


@pytest.mark.parametrize(
    "later",
    [
        {"attempt": 3},
        {"stages": (StageStatus(name="Train", state="Stopping", attempt=2),)},
        {"stages": (StageStatus(name="Train", state="Succeeded", attempt=2), StageStatus(name="Evaluate"))},
        {"phase": "Failed"},
        {"conditions": (Condition(type="Progressing", status="False", reason="WaitingForNodes"),)},
    ],
)
def test_reports_of_a_driver_are_known_while_it_runs(later: Object, cache: JobCache, resource: Object) -> None:
    key, job = ("team-a", "one"), at_work(resource)
    work = DriverMetrics("Train", 2, values={"train_loss": 0.5})
    cache.set_driver_metrics(key, work)
    assert cache.driver_metrics(key) is None, "a job that nobody knows"
    cache.update(job)
    cache.set_driver_metrics(key, work)
    assert cache.driver_metrics(key) == work
    cache.update(at_work(resource, **later))
    assert cache.driver_metrics(key) is None


def test_what_a_driver_said_goes_with_its_job(cache: JobCache, resource: Object) -> None:
    key = ("team-a", "one")
    cache.update(at_work(resource))
    cache.set_driver_metrics(key, DriverMetrics("Train", 2))
    cache.remove(key)
    cache.update(at_work(resource))
    assert cache.driver_metrics(key) is None


def never(name: str, _stated: float) -> float:
    raise AssertionError(f"{name} is not a time")


FIGURES = {"answers": 3.0, "tokens": 7.0, "loss": 0.5, "checkpointAt": 1e9, "kept": 2.0, "hostile": 1.0}


@pytest.mark.parametrize(
    ("stage", "values"),
    [
        ("Prepare", {}),
        ("Generate", {"samples_generated": 3, "tokens_generated": 7}),
        ("Curate", {"samples_kept": 2}),
        ("Train", {"tokens_trained": 7, "train_loss": 0.5, "checkpoint_timestamp_seconds": 1e9 + 60}),
        ("Evaluate", {"samples_generated": 3, "tokens_generated": 7}),
        ("Export", {}),
    ],
)
def test_figures_are_shown_by_the_stage_that_they_belong_to(stage: Any, values: dict[str, float]) -> None:
    status = Status(run=RUN, stages=(StageStatus(name=stage, state="Running", attempt=2),))
    progress = StageProgress(at="2026-03-01T12:00:00Z", state="Working", figures=FIGURES, gpu_seconds=9)
    found = read_driver_metrics(status, Channel("o", progress=progress), seen_since=lambda _name, stated: stated + 60)
    assert found == DriverMetrics(stage, 2, 9, values)


def test_answers_are_what_is_done(resource: Object) -> None:
    status = Status(run=RUN, stages=(StageStatus(name="Generate", state="Running", attempt=1),))
    progress = StageProgress(
        at="2026-03-01T12:00:00Z", state="Working", done=5, total=9, unit="answers", figures={"tokens": -1}
    )
    found = read_driver_metrics(status, Channel("o", progress=progress), seen_since=never)
    assert found == DriverMetrics("Generate", 1, 0, {"samples_generated": 5}), "a count below zero is none"


@pytest.mark.parametrize("channel", [None, Channel("o")])
def test_a_driver_that_said_nothing_is_not_shown(channel: Channel | None) -> None:
    status = Status(run=RUN, stages=(StageStatus(name="Train", state="Running"),))
    assert read_driver_metrics(status, channel, seen_since=never) is None


def test_facts_of_a_job_that_cannot_be_read_are_few(resource: Object) -> None:
    resource["spec"] = {}
    job_metrics = read_job_metrics(with_status(resource, Status()))
    assert (job_metrics.phase, job_metrics.strategy, job_metrics.student) == ("Pending", "", "")
