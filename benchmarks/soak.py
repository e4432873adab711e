"""The operator over 5,000 jobs, each deleted after its end: its memory must not grow with the jobs that it has seen.

A real process with the rights of deploy/rbac, a real API server, played children. Every tenth job goes through all six
stages; the others find their artifacts made, and are over after Prepare. LIVES sets another number.
"""

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
sys.path.insert(0, str(ROOT / "tests" / "support"))

from ground import JOBS, Ground, make_ground
from operator_process import replica

FOLDER = ROOT / "build" / "soak"
LIVES, AT_ONCE, SCALE = int(os.environ.get("LIVES", "5000")), 24, 0.02
WARM = min(1000, LIVES // 5)
"""Lives after which memory counts: pools and caches have filled by then."""
LIMIT_MIB = 1.0
_SHARED = {"volumeClaim": "shared", "uri": "file:///kubedistill/storage/shared"}
_OVER, _MIB = ("Succeeded", "Failed"), 2**20


def main() -> int:
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    began = time.monotonic()
    with (
        make_ground(FOLDER / "plane") as ground,
        replica(
            FOLDER, kubeconfig=ground.operator_kubeconfig, lease_namespace="kubedistill-system",
            watchNamespaces=[ground.namespace],
        ) as operator,
        ground.player(scale=SCALE, journal=FOLDER / "journal"),
    ):  # fmt: skip
        process = psutil.Process(operator.process.pid)
        samples = list(live(ground, process))
        errors = [line for line in operator.lines() if line["level"] in ("ERROR", "CRITICAL")]
    counted = [(lives, rss) for lives, rss in samples if lives >= WARM]
    slope = 1000 * statistics.linear_regression(*zip(*counted, strict=True)).slope
    figures = {
        "lives": LIVES, "rssSlopeMiBPer1000Lives": round(slope, 3), "rssMiBAfterWarmUp": round(counted[0][1], 1),
        "rssMiB": round(samples[-1][1], 1), "errors": len(errors), "seconds": round(time.monotonic() - began),
        "load": [round(one, 2) for one in os.getloadavg()],
    }  # fmt: skip
    print(json.dumps({"figures": figures}))
    return 0 if slope < LIMIT_MIB and not errors else 1


def live(ground: Ground, process: psutil.Process) -> Iterator[tuple[int, float]]:
    """Keep some jobs going and delete those that are over; gives (lives so far, MiB) every now and then."""
    begun = over = told = 0
    while over < LIVES:
        phases = ground.phases()
        for name, phase in phases.items():
            if phase in _OVER:
                assert phase == "Succeeded", name
                ground.api.delete(JOBS, name, namespace=ground.namespace)
                over += 1
        for _ in range(min(AT_ONCE - len(phases), LIVES - begun)):
            submit(ground, begun)
            begun += 1
        if over - told >= LIVES // 100:
            told = over
            rss = process.memory_info().rss / _MIB
            print(f"{over} lives, {rss:.1f} MiB", flush=True)
            yield over, rss
        time.sleep(0.5)


def submit(ground: Ground, number: int) -> None:
    """A job of its own store, which makes everything, or one whose artifacts the first one has made."""
    if number % 10:
        ground.submit(f"ok-{number}", storage=_SHARED)
    else:
        ground.submit(f"ok-{number}", **({} if number else {"storage": _SHARED}))


if __name__ == "__main__":
    sys.exit(main())
