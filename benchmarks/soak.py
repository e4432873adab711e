"""The operator over 5,000 jobs, each deleted after its end: its memory must not grow with the jobs that it has seen.

A real process with the rights of deploy/rbac, a real API server, played children. Every tenth job goes through all six
stages; the others find their artifacts made, and are over after Prepare. LIVES sets another number. Memory counts for
the last process: one ends by itself, and is started again, when the API server does not answer for 10 s.
"""

import contextlib
import json
import os
import shutil
import statistics
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from support.cluster_fixture import JOBS, ClusterFixture, make_cluster_fixture
from support.operator_process import Replica, launch
from support.supervision import Supervisor, supervising

FOLDER = ROOT / "build" / "soak"
LIVES, AT_ONCE, SCALE = int(os.environ.get("LIVES", "5000")), 24, 0.02
WARM = min(1000, LIVES // 5)
"""Lives of a process after which its memory counts: pools and caches have filled by then."""
LIMIT_MIB, LEAST_SAMPLES = 1.0, 10
_SHARED = {"volumeClaim": "shared", "uri": "file:///kubedistill/storage/shared"}
_OVER, _MIB = ("Succeeded", "Failed"), 2**20


def main() -> int:
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    began = time.monotonic()
    with make_cluster_fixture(FOLDER / "plane") as fixture, fixture.player(scale=SCALE, journal=FOLDER / "journal"):

        def start(number: int) -> Replica:
            return launch(
                FOLDER,
                kubeconfig=fixture.operator_kubeconfig,
                lease_namespace="kubedistill-system",
                name=f"operator-{number}",
                watchNamespaces=[fixture.namespace],
            )

        with supervising(start) as operator:
            samples = list(live(fixture, operator))
        lines = [line for replica in operator.replicas for line in replica.lines()]
    errors = [line for line in lines if line["level"] == "ERROR"]
    final = [(lives, rss) for run, lives, rss in samples if run == samples[-1][0]]
    counted = [(lives, rss) for lives, rss in final if lives >= final[0][0] + WARM]
    assert len(counted) >= LEAST_SAMPLES, f"the operator ended {len(operator.exits)} times, the last time too late"
    slope = 1000 * statistics.linear_regression(*zip(*counted, strict=True)).slope
    figures = {
        "lives": LIVES,
        "rssSlopeMiBPer1000Lives": round(slope, 3),
        "rssMiBAfterWarmUp": round(counted[0][1], 1),
        "rssMiB": round(counted[-1][1], 1),
        "errors": len(errors),
        "operatorEnds": len(operator.exits),
        "seconds": round(time.monotonic() - began),
        "load": [round(one, 2) for one in os.getloadavg()],
    }
    print(json.dumps({"figures": figures}))
    return 0 if slope < LIMIT_MIB and not errors else 1


def live(fixture: ClusterFixture, operator: Supervisor) -> Iterator[tuple[int, int, float]]:
    """Keep some jobs going and delete those that are over; gives (process, lives so far, MiB) every now and then."""
    begun = over = told = 0
    while over < LIVES:
        phases = fixture.phases()
        for name, phase in phases.items():
            if phase in _OVER:
                assert phase == "Succeeded", name
                fixture.api.delete(JOBS, name, namespace=fixture.namespace)
                over += 1
        for _ in range(min(AT_ONCE - len(phases), LIVES - begun)):
            submit(fixture, begun)
            begun += 1
        if over - told >= LIVES // 100:
            told = over
            with contextlib.suppress(psutil.NoSuchProcess):  # another one is about to be started
                rss = psutil.Process(operator.replicas[-1].process.pid).memory_info().rss / _MIB
                print(f"{over} lives, {rss:.1f} MiB", flush=True)
                yield len(operator.replicas), over, rss
        time.sleep(0.5)


def submit(fixture: ClusterFixture, number: int) -> None:
    """A job of its own store, which makes everything, or one whose artifacts the first one has made."""
    if number % 10:
        fixture.submit(f"ok-{number}", storage=_SHARED)
    else:
        fixture.submit(f"ok-{number}", **({} if number else {"storage": _SHARED}))


if __name__ == "__main__":
    sys.exit(main())
