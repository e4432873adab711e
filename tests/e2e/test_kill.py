"""Killed at any moment, the same command continues: nothing is lost, duplicated, rewritten or left over."""

from pathlib import Path

from support.kill_runs import kill_every_stage
from support.small_job import Reference
from support.store_facts import facts_of


def test_killed_in_every_stage_it_ends_as_if_undisturbed(reference: Reference, tmp_path: Path) -> None:
    survived = kill_every_stage(reference, tmp_path, seed=4)
    assert survived.ended.code == 0, survived.ended.stderr[-3000:]
    assert survived.rewritten == []
    assert survived.processes_left == 0
    assert facts_of(survived.store) == facts_of(reference.store)
