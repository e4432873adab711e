"""Kills: SIGKILL in every stage of the small job, each time followed by the same command."""

import os
import random
import signal
import subprocess
import time
import uuid
from dataclasses import dataclass
from pathlib import Path

import psutil

from kubedistill.chain import CHAIN
from support.small_job import Ended, Reference, alive, finish, make_job, run_job, start
from support.store_facts import published_shards


@dataclass(frozen=True, slots=True)
class Survived:
    """What is to be seen after a kill in every stage and a run to the end."""

    store: Path
    ended: Ended
    kills: list[str]
    """Where each kill fell: group or driver, stage and seconds after its start."""
    rewritten: list[str]
    """Published shards that a later run changed or lost."""
    processes_left: int


def kill_every_stage(reference: Reference, folder: Path, *, seed: int) -> Survived:
    """Run the small job on a new store, killed once in each stage at a seeded moment, and then to its end."""
    job, store = make_job(folder / "job"), folder / "store"
    moments = random.Random(seed)
    kills, marks, rewritten = [], [], []
    seconds = {
        event["stage"]: event["seconds"] for event in reference.ended.events if "seconds" in event and "stage" in event
    }
    for stage in CHAIN:
        shards = published_shards(store)
        after, group = moments.uniform(0, 0.9 * seconds[stage.name]), moments.random() < 0.5
        marks.append(kill_in(stage.name, job.manifest, store, after=after, group=group))
        kills.append(f"{'group' if group else 'driver'} {stage.name} +{after:.2f}s")
        now = published_shards(store)
        rewritten += [name for name, digest in shards.items() if now.get(name) != digest]
    ended = run_job(job.manifest, store)
    return Survived(store, ended, kills, rewritten, sum(len(alive(mark)) for mark in marks))


def kill_in(stage: str, manifest: Path, store: Path, *, after: float, group: bool) -> str:
    """Kill a run, or its driver alone, some seconds after a stage began; returns the mark of its processes."""
    mark = uuid.uuid4().hex
    process = start(manifest, store, mark=mark)
    assert process.stdout is not None
    for line in process.stdout:
        if f'"stage": "{stage}", "state": "Running"' in line:
            break
    time.sleep(after)
    if group:
        os.killpg(process.pid, signal.SIGKILL)
    else:
        for driver in drivers(process):
            driver.kill()
    ended = finish(process)
    assert group or ended.code in (0, 1), "the command line outlives its driver and says so"
    return mark


def drivers(process: subprocess.Popen[str]) -> list[psutil.Process]:
    """Return the runtime under the command line."""
    try:
        children = psutil.Process(process.pid).children()
    except psutil.NoSuchProcess:  # a stage of milliseconds was over before we came
        return []
    return [child for child in children if "kubedistill_runtime" in " ".join(child.cmdline())]
