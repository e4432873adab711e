"""The operator under load: 500 jobs at once with 1,500 played children, then 1,000 jobs that are over.

Its process has the rights of deploy/rbac and no others, and the API server is a real one. A driver works for two
minutes, so 500 jobs hand over about four times a second. A finished RayJob's cluster is let go as KubeRay does it:
looked at every 3 s, and given 2 s. The time from a driver's result to the next child's POST
is taken from the player's journal and the API server's audit log, which also counts the requests. The operator ends by
itself, and is started again, when the API server does not answer for 10 s; `operatorEnds` says how often.
"""

import json
import os
import shutil
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from threading import Event, Thread
from typing import Any

import psutil

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from quietness import probe

from kubedistill.chain import CHAIN
from support.cluster_fixture import JOBS, ClusterFixture, make_cluster_fixture, small_job
from support.operator_process import Replica, launch
from support.supervision import Supervisor, supervising

FOLDER = ROOT / "build" / "bench-operator"
COUNT, IDLE_COUNT, PER_SECOND = int(os.environ.get("JOBS", "500")), 1000, 4.0
LIMITS = {"handoverP95Seconds": 10.0, "rssMiB": 256.0, "idleCpuFraction": 0.02}
SETTINGS: dict[str, Any] = {"maxActiveJobsPerNamespace": 10_000, "resyncSeconds": 120}
STAGES = [stage.name for stage in CHAIN]
_MIB = 2**20
Entry = Mapping[str, Any]


def main() -> int:
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    journal = FOLDER / "journal"
    quiet = probe()
    with make_cluster_fixture(FOLDER / "plane", audited=True) as fixture:

        def start(number: int) -> Replica:
            return launch(
                FOLDER,
                kubeconfig=fixture.operator_kubeconfig,
                lease_namespace="kubedistill-system",
                name=f"operator-{number}",
                watchNamespaces=[fixture.namespace],
                **SETTINGS,
            )

        with supervising(start) as operator:
            with measuring_memory(operator) as peak, fixture.player(scale=1, journal=journal):
                seconds = run_jobs(fixture, journal)
            requests = read_lines(fixture.plane.audit_log)
            with fixture.player(scale=0.02, journal=FOLDER / "over"):
                run_one(fixture)
            idle, scrape = measure_idle(fixture, operator.replicas[-1])
        shutil.copy(fixture.plane.audit_log, FOLDER)
    entries = read_lines(journal)
    times = sorted(handovers(entries, requests))
    stages = sum(entry["what"] == "Result" for entry in entries)
    for (verb, what), count in counted(requests).most_common(16):
        print(f"{count / stages:6.2f} {verb:<7} {what} per stage")
    figures = {
        "handoverP95Seconds": round(times[int(0.95 * len(times))], 2),
        "handoverMedianSeconds": round(times[len(times) // 2], 2),
        "handovers": len(times),
        "rssMiB": round(peak[0] / _MIB, 1),
        "apiRequestsPerStage": round(len(requests) / stages, 1),
        "idleCpuFraction": round(idle, 4),
        "scrapeSeconds": round(scrape, 2),
        "jobs": COUNT,
        "children": stages,
        "seconds": round(seconds),
        "operatorEnds": len(operator.exits),
        "probeRatio": round(probe() / quiet, 2),
        "load": [round(one, 2) for one in os.getloadavg()],
    }
    print(json.dumps({"figures": figures}))
    missed = [name for name, limit in LIMITS.items() if figures[name] >= limit]
    return 1 if missed or stages < 3 * COUNT else 0


def run_jobs(fixture: ClusterFixture, journal: Path) -> float:
    """Submit at an even pace, wait for three results of each job on average, and delete all; returns the seconds."""
    began = time.monotonic()
    for number in range(COUNT):
        fixture.submit(f"minutes-{number}", childRetentionSeconds=60)
        time.sleep(max(0.0, began + number / PER_SECOND - time.monotonic()))
    while (stages := sum(entry["what"] == "Result" for entry in read_lines(journal))) < 3 * COUNT:
        phases = Counter(fixture.phases().values())
        assert not phases["Failed"], phases
        print(f"{time.monotonic() - began:6.0f} s, {stages} results, {dict(phases)}", flush=True)
        time.sleep(15)
    seconds = time.monotonic() - began
    for number in range(COUNT):
        fixture.api.delete(JOBS, f"minutes-{number}", namespace=fixture.namespace)
    return seconds


def run_one(fixture: ClusterFixture) -> None:
    """Let one job succeed, whose status the others that are over take on."""
    fixture.submit("ok-0", childRetentionSeconds=0)
    while fixture.phases().get("ok-0") != "Succeeded":
        time.sleep(1)


def measure_idle(fixture: ClusterFixture, operator: Replica) -> tuple[float, float]:
    """Return (part of a core that is used with 1,000 jobs that are over, with one resync; seconds of a scrape)."""
    model = fixture.api.get(JOBS, "ok-0", namespace=fixture.namespace)
    assert model is not None
    for number in range(1, IDLE_COUNT):
        made = fixture.api.create(small_job(f"over-{number}"), namespace=fixture.namespace)
        status = {**model["status"], "observedGeneration": made["metadata"]["generation"]}
        fixture.api.patch(JOBS, f"over-{number}", {"status": status}, namespace=fixture.namespace, subresource="status")
    wait_until_calm(operator)
    began, process = time.monotonic(), psutil.Process(operator.process.pid)
    spent = sum(process.cpu_times()[:2])
    time.sleep(SETTINGS["resyncSeconds"])
    idle = (sum(process.cpu_times()[:2]) - spent) / (time.monotonic() - began)
    began = time.monotonic()
    assert len(operator.metrics()) > IDLE_COUNT
    return idle, time.monotonic() - began


def wait_until_calm(operator: Replica) -> None:
    """Until the operator has used hardly anything for 10 s: the last children are kept for a minute."""
    process = psutil.Process(operator.process.pid)
    for _ in range(60):
        spent = sum(process.cpu_times()[:2])
        time.sleep(10)
        if sum(process.cpu_times()[:2]) - spent < 0.5:
            return
    raise AssertionError("the operator does not come to rest")


def handovers(entries: list[Entry], requests: list[Entry]) -> Iterator[float]:
    """Yield seconds from each result to the POST of the next stage's child."""
    posted = {
        request["objectRef"]["name"]: datetime.fromisoformat(request["requestReceivedTimestamp"]).timestamp()
        for request in requests
        if request["verb"] == "create"
        and request["objectRef"]["resource"] in ("jobs", "rayjobs")
        and request["responseStatus"]["code"] == 201
    }
    results = {(one["job"], one["stage"]): one["at"] for one in entries if one["what"] == "Result"}
    children = {(one["job"], one["stage"]): one["child"] for one in entries if one["what"] == "Seen"}
    for (job, stage), at in results.items():
        following = STAGES[STAGES.index(stage) + 1 :][:1]
        for name in following:
            if (child := children.get((job, name))) in posted:  # the last ones are deleted before they hand over
                yield posted[child] - at


def counted(requests: list[Entry]) -> Counter[tuple[str, str]]:
    """Return how many requests there were by verb and resource."""
    return Counter(
        (one["verb"], "/".join(filter(None, (one["objectRef"]["resource"], one["objectRef"].get("subresource")))))
        for one in requests
        if "objectRef" in one
    )


def read_lines(file: Path) -> list[Entry]:
    return [json.loads(line) for line in file.read_text().splitlines()]


@contextmanager
def measuring_memory(operator: Supervisor) -> Iterator[list[int]]:
    """Keep the highest resident size of the operator's process, in bytes."""
    peak, ended = [0], Event()

    def look() -> None:
        while not ended.wait(1):
            try:
                peak[0] = max(peak[0], psutil.Process(operator.replicas[-1].process.pid).memory_info().rss)
            except psutil.NoSuchProcess:  # another one is about to be started
                continue

    watcher = Thread(target=look)
    watcher.start()
    try:
        yield peak
    finally:
        ended.set()
        watcher.join()


if __name__ == "__main__":
    sys.exit(main())
