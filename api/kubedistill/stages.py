"""Stages of a run: the states that are done, working and live, the current stage, and its progress."""

from typing import Final

from kubedistill.chain import CHAIN
from kubedistill.v1alpha1 import StageStatus, Status

DONE: Final = ("Succeeded", "Skipped")
"""States of a stage whose artifacts are complete."""
WORKING: Final = ("Starting", "Running")
"""States of a stage whose attempt has not ended."""
LIVE: Final = (*WORKING, "Stopping")
"""States of a stage that may have a child object in the cluster."""
TERMINAL: Final = ("Succeeded", "Failed")
"""Phases of a job whose run has ended."""


def new_stages() -> tuple[StageStatus, ...]:
    """Return all stages of the chain in state Pending."""
    return tuple(StageStatus(name=stage.name) for stage in CHAIN)


def current_stage(status: Status) -> StageStatus | None:
    """Return the first stage that is not done; None if all are done."""
    return next((stage for stage in status.stages if stage.state not in DONE), None)


def percent_done(stage: StageStatus) -> int:
    """Return the share of a stage's work that is done, 0 to 100; a skipped stage counts as done."""
    return 100 if stage.state in DONE else stage.percent
