"""How long nobody leads when the leader is killed: from SIGKILL to the first thing that the next one writes.

Two replicas with the rights of deploy/rbac on a real API server; the one that leads is killed twelve times, at seeded
moments of its lease's renewal, and another one takes the place of the one that waited.
"""

import json
import os
import random
import shutil
import statistics
import sys
import time
from contextlib import ExitStack
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from support.cluster_fixture import ClusterFixture, make_cluster_fixture
from support.kube_api import wait_for
from support.operator_process import Replica, replica

FOLDER = ROOT / "build" / "bench-handover"
COUNT, LIMIT_SECONDS, RENEWAL_SECONDS, SEED = 12, 30.0, 2.0, 5
_PATIENCE = 120


def main() -> int:
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    chance = random.Random(SEED)
    with make_cluster_fixture(FOLDER / "plane") as fixture, ExitStack() as started:
        replicas = [start(fixture, started, number) for number in range(2)]
        times = []
        for number in range(COUNT):
            leader, other = replicas
            time.sleep(chance.uniform(0, RENEWAL_SECONDS))
            times.append(hand_over(fixture, leader, f"job-{number}"))
            print(f"{times[-1]:5.1f} s", flush=True)
            wait_for(other.leads, what="the other one leads", seconds=_PATIENCE)
            replicas = [other, start(fixture, started, number + 2)]
    times.sort()
    figures = {
        "handoverP95Seconds": round(times[int(0.95 * (COUNT - 1) + 0.5)], 1),
        "handovers": COUNT,
        "handoverMedianSeconds": round(statistics.median(times), 1),
        "handoverMostSeconds": round(times[-1], 1),
        "load": [round(one, 2) for one in os.getloadavg()],
    }
    print(json.dumps({"figures": figures}))
    return 0 if figures["handoverP95Seconds"] <= LIMIT_SECONDS else 1


def start(fixture: ClusterFixture, started: ExitStack, number: int) -> Replica:
    """Return one more replica, once it is ready: the first leads, any other waits."""
    made = started.enter_context(
        replica(
            FOLDER,
            kubeconfig=fixture.operator_kubeconfig,
            lease_namespace="kubedistill-system",
            name=f"replica-{number}",
            watchNamespaces=[fixture.namespace],
        )
    )
    is_there = made.leads if number == 0 else lambda: made.probe("/readyz") == 200
    wait_for(is_there, what=f"replica {number} is there", seconds=_PATIENCE)
    return made


def hand_over(fixture: ClusterFixture, leader: Replica, job: str) -> float:
    """Kill the leader, and submit a job at once; the seconds until it has a status."""
    leader.process.kill()
    killed = time.monotonic()
    fixture.submit(job)
    wait_for(lambda: fixture.phases()[job], what=f"{job} is looked at", seconds=_PATIENCE)
    return time.monotonic() - killed


if __name__ == "__main__":
    sys.exit(main())
