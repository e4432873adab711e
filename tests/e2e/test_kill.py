"""Killed at any moment, the same command goes on: nothing is lost, doubled or rewritten, and nothing stays behind."""

import random
from pathlib import Path

from small_job import Reference, alive, kill_in, make_job, run_job
from stores import facts_of, published_shards

STAGES = ("Prepare", "Generate", "Curate", "Train", "Evaluate", "Export")


def test_killed_in_every_stage_it_ends_as_if_undisturbed(reference: Reference, tmp_path: Path) -> None:
    job, store = make_job(tmp_path / "job"), tmp_path / "store"
    moments = random.Random(4)
    marks = []
    for place, stage in enumerate(STAGES):
        seconds = next(e["seconds"] for e in reference.ended.events if e.get("stage") == stage and "seconds" in e)
        shards = published_shards(store)
        mark = kill_in(stage, job.manifest, store, after=moments.uniform(0, 0.9 * seconds), group=place % 2 == 0)
        marks.append(mark)
        assert shards.items() <= published_shards(store).items(), f"killed in {stage}, a published shard changed"
    ended = run_job(job.manifest, store)
    assert ended.code == 0, ended.stderr[-3000:]
    assert not [process for mark in marks for process in alive(mark)], "a killed run left processes"
    assert facts_of(store) == facts_of(reference.store)
