"""Fifty jobs at once while the operator is killed 25 times and the API server three: each ends as it would have.

Row P6 of docs/behavior.md, for the rows that each scenario plays.
"""

import json
import random
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from support.cluster_fixture import ClusterFixture, make_cluster_fixture
from support.fake_kuberay.background import playing
from support.fake_kuberay.journal import Journal
from support.fake_kuberay.scenarios import SCENARIOS
from support.kube_api import wait_for
from support.operator_process import Replica, launch
from support.supervision import Supervisor, supervising

KILLS, RESTARTS, SEED = 25, (7, 13, 19), 20261125
"""How often the operator is killed, and after which of these times the API server is restarted."""
CHILDREN, AT_WORK = 8, 0.8
"""Of ten kills, two come while it starts, and the others once so many children were made for each kill."""
SCALE, MOST_SECONDS, PATIENCE = 0.05, 2.0, 900
Charges = Mapping[str, Mapping[str, int]]


@dataclass(frozen=True, slots=True)
class End:
    """What becomes of a job that nobody disturbs; a stage that is not named has one attempt."""

    reason: str = ""
    """Why it failed; empty where it succeeded."""
    attempts: Mapping[str, int] = field(default_factory=dict)
    charges: Charges = field(default_factory=dict)
    """Restarts by stage and cause."""


def again(stage: str, cause: str, *, reason: str = "", times: int = 1) -> End:
    """Return a stage that takes one attempt more for each time that a cause is charged, unless the job fails for it."""
    return End(reason, {stage: times + (not reason)}, {stage: {cause: times}})


ENDS: dict[str, End] = {
    "ok": End(),
    "queued": End(),
    "user-error": End("InvalidData"),
    "gate-failed": End("EvaluationGate"),
    "invalid": End("ValidationFailed"),
    "raises": again("Train", "failure"),
    "always-raises": again("Train", "failure", reason="UserCodeError", times=3),
    "crashes": again("Train", "failure"),
    "oom-driver": again("Curate", "failure"),
    "endpoint-down": again("Generate", "infrastructure"),
    "vanishes": again("Train", "infrastructure"),
    "no-result": again("Generate", "infrastructure"),
    "stopped-complete": again("Generate", "infrastructure"),
    "deadline-running": again("Generate", "infrastructure"),
    "artifact-missing": End("", {"Prepare": 2, "Train": 2}),
    "artifact-gone-twice": End("ArtifactMissing", {"Prepare": 2, "Train": 2}),
    "head-lost": End(charges={"Generate": {"infrastructure": 1}}),
    "oom-head": End(charges={"Train": {"failure": 1}}),
    "zombie": again("Generate", "failure"),
    "kueue-evicts": again("Generate", "preemption"),
    "result-truncated": again("Curate", "infrastructure"),
    "result-huge": again("Curate", "infrastructure"),
    "result-hostile": again("Curate", "infrastructure"),
    "result-newer": again("Curate", "infrastructure"),
    "progress-malformed": End(),
}


@pytest.fixture
def fixture(tmp_path: Path) -> Iterator[ClusterFixture]:
    with make_cluster_fixture(tmp_path / "plane", audited=True) as made:
        yield made


@pytest.mark.own_plane
@pytest.mark.timeout(1800)
def test_fifty_jobs_end_as_usual_while_operator_and_api_server_are_killed(
    fixture: ClusterFixture, tmp_path: Path
) -> None:
    names = [f"{scenario}-{number}" for scenario in ENDS for number in (1, 2)]
    assert len(names) == 50

    def start(number: int) -> Replica:
        return launch(
            tmp_path,
            kubeconfig=fixture.operator_kubeconfig,
            lease_namespace="kubedistill-system",
            options=["--alone"],
            name=f"operator-{number}",
            watchNamespaces=[fixture.namespace],
        )

    with playing(fixture.plane.kubeconfig, namespace=fixture.namespace, scale=SCALE) as journal:
        for name in names:
            queue = {"queue": {"name": "gpus"}} if name.startswith(("queued", "kueue")) else {}
            fixture.submit(name, **queue)
        with supervising(start) as operator:
            disturb(operator, fixture, journal)
            wait_for(lambda: all_over(fixture), what="all jobs are over", seconds=PATIENCE)
            assert Counter(operator.exits)[-9] == KILLS
    jobs = {job["metadata"]["name"]: job for job in fixture.jobs()}
    found = {name: end_of(jobs[name]) for name in names}
    assert found == {name: expected(name) for name in names}
    made = [(one["job"], one["stage"], one["attempt"]) for one in journal.of("Seen")]
    assert not {one: count for one, count in Counter(made).items() if count > 1}, "an attempt has one child"
    assert not {name: count for name, count in Counter(posted(fixture)).items() if count > 1}
    assert not list(overlaps(journal)), "an attempt begins when nothing of the one before it runs"


def disturb(operator: Supervisor, fixture: ClusterFixture, journal: Journal) -> None:
    """Kill the operator at random moments, spread over the lives of the jobs, and the API server in between."""
    chance = random.Random(SEED)
    for number in range(1, KILLS + 1):
        at_work = chance.random() < AT_WORK
        if at_work:
            least = number * CHILDREN  # of all that will ever be, so that no kill waits for more than there are
            wait_for(lambda least=least: count(journal) >= least, what=f"{least} children are made", seconds=PATIENCE)
        operator.kill(seconds=chance.uniform(0, MOST_SECONDS), at_work=at_work)
        if number in RESTARTS:
            fixture.plane.restart_server(gently=number == RESTARTS[0])


def count(journal: Journal) -> int:
    """Return how many children have been made."""
    return len(journal.of("Seen"))


def all_over(fixture: ClusterFixture) -> bool:
    time.sleep(1)
    return set(fixture.phases().values()) <= {"Succeeded", "Failed"}


def end_of(job: Mapping[str, Any]) -> tuple[str, str, dict[str, int], Charges]:
    """Return (phase, reason, attempts by stage, charges by stage) as the status has them.

    Only the head's pod shows that it ran out of memory. Played children may be gone before a busy operator looks, and
    a head that was lost for an unknown reason is charged to infrastructure.
    """
    status = job["status"]
    failed = (one["reason"] for one in status["conditions"] if (one["type"], one["status"]) == ("Failed", "True"))
    stages = {stage["name"]: stage for stage in status["stages"]}
    charges = {
        name: {cause: count for cause, count in stage.get("restarts", {}).items() if count}
        for name, stage in stages.items()
    }
    if job["metadata"]["name"].startswith("oom-head") and charges.get("Train") == {"infrastructure": 1}:
        charges["Train"] = {"failure": 1}
    attempts = {name: stage["attempt"] for name, stage in stages.items() if stage.get("attempt")}
    return status["phase"], next(failed, ""), attempts, {name: some for name, some in charges.items() if some}


def expected(name: str) -> tuple[str, str, dict[str, int], Charges]:
    end = ENDS[name.rpartition("-")[0]]
    begun = BEGUN.get(name.rpartition("-")[0], STAGES)
    attempts = {stage: end.attempts.get(stage, 1) for stage in begun}
    return "Failed" if end.reason else "Succeeded", end.reason, attempts, end.charges


STAGES: Sequence[str] = ("Prepare", "Generate", "Curate", "Train", "Evaluate", "Export")
BEGUN: dict[str, Sequence[str]] = {
    "user-error": STAGES[:1], "invalid": STAGES[:2], "always-raises": STAGES[:4], "artifact-gone-twice": STAGES[:4],
    "gate-failed": STAGES[:5],
}  # fmt: skip
"""The stages that a job which fails gets to."""


def posted(fixture: ClusterFixture) -> Iterator[str]:
    """Yield the name of every child that was made."""
    for line in fixture.plane.audit_log.read_text().splitlines():
        request = json.loads(line)
        what = request.get("objectRef") or {}
        is_made = (request["verb"], request["responseStatus"]["code"]) == ("create", 201)
        if is_made and what.get("resource") in ("jobs", "rayjobs"):
            yield what["name"]


def overlaps(journal: Journal) -> Iterator[tuple[str, str, int]]:
    """Yield attempts that began before the one before them had ended: its driver, or all that there was of it."""
    began: dict[tuple[str, str], dict[int, float]] = defaultdict(dict)
    ended: dict[tuple[str, str], dict[int, float]] = defaultdict(dict)
    for entry in journal.entries:
        attempts = began if entry["what"] == "Seen" else ended if entry["what"] in ("DriverEnded", "Gone") else None
        if attempts is not None:
            attempts[entry["job"], entry["stage"]].setdefault(entry["attempt"], entry["at"])
    for (job, stage), starts in began.items():
        for attempt, at in starts.items():
            if attempt > 1 and ended[job, stage].get(attempt - 1, float("inf")) > at:
                yield job, stage, attempt


def test_every_scenario_that_is_disturbed_is_one_that_is_played() -> None:
    assert ENDS.keys() <= SCENARIOS.keys()
