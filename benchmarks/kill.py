"""Kill and resume: 24 SIGKILLs at seeded moments, four in each stage; every result must equal the undisturbed one's."""

import json
import os
import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from support.kill_runs import kill_every_stage
from support.small_job import OFFLINE, Reference, make_job, run_job
from support.store_facts import facts_of

ROUNDS = 4


def main() -> int:
    folder = ROOT / "build" / "bench-kill"
    shutil.rmtree(folder, ignore_errors=True)
    job = make_job(folder / "reference" / "job")
    ended = run_job(job.manifest, folder / "reference" / "store", prefix=OFFLINE)
    assert ended.code == 0, ended.stderr[-3000:]
    reference = Reference(job, folder / "reference" / "store", ended)
    expected = facts_of(reference.store)

    figures = {"kills": 0, "identicalRounds": 0, "shardsRewritten": 0, "processesLeft": 0}
    for seed in range(ROUNDS):
        survived = kill_every_stage(reference, folder / f"round-{seed}", seed=seed)
        same = survived.ended.code == 0 and facts_of(survived.store) == expected
        print(f"round {seed}: {'as undisturbed' if same else 'DIFFERS'}: {', '.join(survived.kills)}", flush=True)
        figures["kills"] += len(survived.kills)
        figures["identicalRounds"] += same
        figures["shardsRewritten"] += len(survived.rewritten)
        figures["processesLeft"] += survived.processes_left
    print(f"load average {os.getloadavg()}")
    print(json.dumps({"figures": figures}))
    clean = figures["identicalRounds"] == ROUNDS and not figures["shardsRewritten"] and not figures["processesLeft"]
    return 0 if clean else 1


if __name__ == "__main__":
    sys.exit(main())
