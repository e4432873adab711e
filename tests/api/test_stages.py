"""Stages: every state and phase is known to the facts about them, and the current stage is the first not done."""

from typing import get_args

import pytest

from kubedistill.chain import CHAIN, StageName, StagePhase
from kubedistill.stages import DONE, LIVE, TERMINAL, WORKING, current_stage, new_stages, percent_done
from kubedistill.symbols import colored_symbol, symbol
from kubedistill.v1alpha1 import StageStatus, Status
from kubedistill.v1alpha1.status import Phase

STATES = get_args(StageStatus.model_fields["state"].annotation)


def test_the_chain_names_every_stage_and_every_phase_of_one_once() -> None:
    assert tuple(stage.name for stage in CHAIN) == get_args(StageName)
    assert tuple(stage.phase for stage in CHAIN) == get_args(StagePhase)
    assert set(get_args(StagePhase)) < set(get_args(Phase))


def test_every_state_but_pending_and_failed_is_either_done_or_live() -> None:
    assert sorted(("Pending", "Failed", *DONE, *LIVE)) == sorted(STATES)
    assert set(WORKING) < set(LIVE)
    assert set(TERMINAL) < set(get_args(Phase))


@pytest.mark.parametrize("state", STATES)
def test_every_state_has_a_symbol(state: str) -> None:
    assert symbol(state) in colored_symbol(state)


CURRENT: dict[str, tuple[tuple[str, ...], StageName | None]] = {
    "a run that has not begun": ((), "Prepare"),
    "done and skipped stages are past": (("Succeeded", "Skipped"), "Curate"),
    "a failed stage stays the current one": (("Succeeded", "Failed"), "Generate"),
    "a run whose stages are all done": (("Succeeded",) * 6, None),
}


@pytest.mark.parametrize("case", CURRENT)
def test_the_current_stage_is_the_first_that_is_not_done(case: str) -> None:
    states, expected = CURRENT[case]
    padded = (*states, *["Pending"] * (len(CHAIN) - len(states)))
    stages = tuple(one.model_copy(update={"state": state}) for one, state in zip(new_stages(), padded, strict=True))
    found = current_stage(Status(stages=stages))
    assert (found.name if found is not None else None) == expected


def test_a_job_without_stages_has_no_current_one() -> None:
    assert current_stage(Status()) is None


def test_a_skipped_stage_is_done_whatever_percent_it_had() -> None:
    assert percent_done(StageStatus(name="Train", state="Skipped", percent=0)) == 100
    assert percent_done(StageStatus(name="Train", state="Running", percent=40)) == 40
