"""helm upgrade from each earlier version, with its jobs running: each continues where it was, and ends as it would
have; then back to that version's own operator during the runs.

The jobs are those of tests/upgrade, each in a namespace of its own name.
"""

import json
from dataclasses import dataclass
from typing import Any

import jsonschema
import pytest

from support.fake_kuberay.journal import Journal
from support.fake_kuberay.scenarios import ANY, OK, START, Scenario, step
from support.kube_api import Manifest, wait_for
from support.old_cluster import SECONDS, OldCluster
from support.operator_harness import JOBS

pytestmark = pytest.mark.own_plane
CARRIED, RETURNED, PADDED = "raises-carried", "raises-returned", "minutes-padded"
SUSPENDED, QUEUED, ANSWERED, OVER = "minutes-suspended", "queued-for-ever-held", "minutes-answered", "ok-over"
LATER = ("Evaluate", "Export")
SLOW = Scenario(
    "slow-evaluate", "",
    {("Evaluate", 0): (*START, step("Result", after=1800, outcome="Succeeded"), step("Exit", code=0)), (ANY, 0): OK},
)  # fmt: skip
"""An Evaluate that takes 36 s: long enough for another operator to take over."""


@dataclass(frozen=True, slots=True)
class Upgraded:
    """A cluster after the upgrade, what today's operator first made of each job, and what is played since."""

    cluster: OldCluster
    status: dict[str, Manifest]
    children: dict[str, dict[str, str]]
    journals: dict[str, Journal]


@pytest.fixture(scope="module")
def upgraded(old_cluster: OldCluster) -> Upgraded:
    """Return the old cluster under today's chart, CRD and operator.

    All of its jobs but one are on their way to their ends.
    """
    for name in (CARRIED, RETURNED):  # what the new operator is the first to read
        old_cluster.driver(name, "Train").says(3, 4)
    old_cluster.upgrade()
    for name in (CARRIED, RETURNED):
        wait_for(
            lambda name=name: old_cluster.stage(name, "Train")["percent"] == 75, what="it follows", seconds=SECONDS
        )
    wait_for(lambda: old_cluster.stage(ANSWERED, "Generate")["state"] == "Succeeded", what="it reads", seconds=SECONDS)
    status = {name: old_cluster.status(name) for name in old_cluster.stored}
    seen = {name: children(old_cluster, name) for name in old_cluster.stored}
    old_cluster.driver(CARRIED, "Train").ends("Succeeded")
    old_cluster.driver(ANSWERED, "Generate").leaves()
    journals = {name: old_cluster.play(name) for name in (CARRIED, ANSWERED, QUEUED, SUSPENDED, OVER)}
    edit(old_cluster, SUSPENDED, spec={"suspend": False})
    edit(old_cluster, OVER, metadata={"annotations": {"kubedistill.io/rerun": "new"}})
    edit(old_cluster, PADDED, spec={"suspend": True})
    return Upgraded(old_cluster, status, seen, journals)


def edit(cluster: OldCluster, name: str, **parts: Any) -> None:
    cluster.api.patch(JOBS, name, parts, namespace=name)


def children(cluster: OldCluster, name: str) -> dict[str, str]:
    """Return the stage of every child that is there, by uid."""
    found = [one for kind in ("batch/v1/Job", "ray.io/v1/RayJob") for one in cluster.api.list(kind, namespace=name)]
    return {one["metadata"]["uid"]: one["metadata"]["labels"]["kubedistill.io/stage"] for one in found}


def stage_jobs(cluster: OldCluster, name: str) -> dict[str, Manifest]:
    """Return what the drivers of a job were told, by child."""
    found = cluster.api.list("v1/ConfigMap", namespace=name)
    return {
        one["metadata"]["name"]: json.loads(one["data"]["job.json"])
        for one in found
        if "job.json" in (one.get("data") or {})
    }


def condition(status: Manifest, kind: str) -> tuple[str, str] | None:
    found = (one for one in status["conditions"] if one["type"] == kind)
    return next(((one["status"], one["reason"]) for one in found), None)


def lasting(status: Manifest) -> dict[str, Any]:
    """Return what an upgrade may not change of a run: name, digest, start, tokens, history, budgets, artifacts."""
    run = status["run"]
    return {
        "run": {name: run[name] for name in ("id", "digest", "startedAt")},
        "artifacts": {one["name"]: (one["key"], one["uri"]) for one in run.get("artifacts", ())},
        "honoured": status.get("honoured", []),
        "rewound": run.get("rewound", False),
        "runHistory": status.get("runHistory", []),
        "restarts": {one["name"]: counted(one) for one in status["stages"]},
        "attempts": {one["name"]: one.get("attempt", 0) for one in status["stages"] if one["name"] not in LATER},
    }


def counted(stage: Manifest) -> dict[str, int]:
    return {cause: count for cause, count in stage.get("restarts", {}).items() if count}


def check_told(cluster: OldCluster, name: str) -> None:
    """All that drivers of a job were told is what the version that froze its run understands."""
    schema = jsonschema.Draft202012Validator(cluster.old.stage_job_schema)
    told = stage_jobs(cluster, name)
    stored = {child: json.loads(text) for child, text in cluster.stored[name].data("job.json")}
    first = next(iter(stored.values()))
    for child, values in told.items():
        assert [one.message for one in schema.iter_errors(values)] == [], child
        assert (values["store"], values["spec"]["training"]["epochs"]) == (first["store"], 2)


def made(journal: Journal, *stages: str) -> list[tuple[str, int]]:
    """Return (stage, attempt) of the children of some stages."""
    return sorted((one["stage"], one["attempt"]) for one in journal.of("Seen") if one["stage"] in stages)


def check_end(cluster: OldCluster, name: str, journal: Journal) -> None:
    """A job that was in Train has succeeded as the run that it was, and each later stage has run once."""
    before, after = cluster.stored[name].status, cluster.becomes(name, "Succeeded")
    assert lasting(after) | {"artifacts": {}} == lasting(before) | {"artifacts": {}}
    assert lasting(after)["artifacts"].items() >= lasting(before)["artifacts"].items()
    done = [one["state"] if one["state"] == "Skipped" else "Succeeded" for one in before["stages"]]
    assert [one["state"] for one in after["stages"]] == done
    assert made(journal, *LATER) == [(stage, 1) for stage in LATER]
    assert condition(after, "SpecDrift") is None, "nobody has edited it"
    check_told(cluster, name)


def test_a_job_in_train_continues_to_its_end(upgraded: Upgraded) -> None:
    stored = upgraded.cluster.stored[CARRIED]
    before = lasting(stored.status)
    assert before["honoured"] == ["rerun:second", "cancel:too-early"]
    assert (before["restarts"]["Train"], before["attempts"]["Train"]) == ({"failure": 1}, 2)
    assert upgraded.children[CARRIED].items() >= {stored.stage("Train")["childUID"]: "Train"}.items(), "it is adopted"
    assert [*upgraded.children[CARRIED].values()].count("Train") == 1
    assert "stop" not in upgraded.cluster.driver(CARRIED, "Train").channel
    check_end(upgraded.cluster, CARRIED, upgraded.journals[CARRIED])


def test_a_result_that_waited_is_read_once(upgraded: Upgraded) -> None:
    after = upgraded.cluster.becomes(ANSWERED, "Succeeded")
    assert [(one["attempt"], counted(one)) for one in after["stages"]] == [(1, {})] * 6
    check_told(upgraded.cluster, ANSWERED)


def test_a_queued_job_is_admitted_as_the_child_that_it_was(upgraded: Upgraded) -> None:
    (job,) = upgraded.cluster.stored[QUEUED].of("Job")
    assert upgraded.status[QUEUED]["phase"] == "Queued"
    after = upgraded.cluster.becomes(QUEUED, "Succeeded")
    assert after["stages"][0]["childUID"] == job["metadata"]["uid"]
    assert [one["attempt"] for one in after["stages"]] == [1] * 6
    check_told(upgraded.cluster, QUEUED)


def test_a_suspended_job_stays_so_until_it_is_resumed(upgraded: Upgraded) -> None:
    before = lasting(upgraded.cluster.stored[SUSPENDED].status)
    assert upgraded.status[SUSPENDED]["phase"] == "Suspended"
    assert [*upgraded.children[SUSPENDED].values()] == ["Prepare"], "nothing but what is kept for a look at it"
    after = upgraded.cluster.becomes(SUSPENDED, "Succeeded")
    assert [lasting(after)[part] for part in ("run", "restarts")] == [before[part] for part in ("run", "restarts")]
    assert [one["attempt"] for one in after["stages"]] == [2, 2, 1, 1, 1, 1], "Prepare looks again, Generate continues"
    assert condition(after, "SpecDrift") is None, "spec.suspend alone was edited"
    check_told(upgraded.cluster, SUSPENDED)


def test_a_job_that_is_over_stays_over_and_may_be_run_again(upgraded: Upgraded) -> None:
    before = upgraded.cluster.stored[OVER].status
    assert upgraded.status[OVER] == before
    wait_for(
        lambda: (upgraded.cluster.status(OVER).get("run") or {}).get("id") == "rerun-new",
        what="it runs",
        seconds=SECONDS,
    )
    after = upgraded.cluster.becomes(OVER, "Succeeded")
    assert [one["id"] for one in after["runHistory"]] == [before["run"]["id"]]


def test_a_run_that_today_would_be_refused_is_suspended_and_continues(upgraded: Upgraded) -> None:
    cluster, driver = upgraded.cluster, upgraded.cluster.driver(PADDED, "Generate")
    wait_for(lambda: driver.channel.get("stop") == "true", what="its driver is asked to leave", seconds=SECONDS)
    driver.ends("Stopped")
    cluster.play(PADDED)
    cluster.becomes(PADDED, "Suspended")
    edit(cluster, PADDED, spec={"suspend": False})
    after = cluster.becomes(PADDED, "Succeeded")
    assert condition(after, "SpecDrift") is None
    check_told(cluster, PADDED)


def test_a_downgrade_during_a_run_loses_nothing(upgraded: Upgraded) -> None:
    """The new operator makes Evaluate's child, and the old version's own code reads its result. The last test here."""
    cluster = upgraded.cluster
    cluster.driver(RETURNED, "Train").ends("Succeeded")
    journal = cluster.play(RETURNED, SLOW)
    wait_for(lambda: cluster.stage(RETURNED, "Evaluate")["state"] == "Running", what="it evaluates", seconds=SECONDS)
    uid = cluster.stage(RETURNED, "Evaluate")["childUID"]
    with cluster.downgraded():
        assert made(journal, "Export") == []
        check_end(cluster, RETURNED, journal)
    assert cluster.stage(RETURNED, "Evaluate")["childUID"] == uid
