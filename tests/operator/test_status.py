"""The phase that people see, from what is done and what is not."""

import pytest

from kubedistill.chain import CHAIN
from kubedistill.v1alpha1 import Condition, Run, StageStatus, Status
from kubedistill_operator.status import summarise

RUN = Run(id="1", digest="d", started_at="2026-11-25T00:00:00Z")
COMPLETE = (Condition(type="Complete", status="True", reason="Done"),)


def stages(done: int) -> tuple[StageStatus, ...]:
    return tuple(
        StageStatus(name=stage.name, state="Succeeded" if index < done else "Pending")
        for index, stage in enumerate(CHAIN)
    )


PHASES = {
    "nothing is begun": (Status(), "Pending"),
    "the first stage is to come": (Status(run=RUN, stages=stages(0)), "Preparing"),
    "the last stage is to come": (Status(run=RUN, stages=stages(5)), "Exporting"),
    "all is done, and not yet said": (Status(run=RUN, stages=stages(6)), "Exporting"),
    "all is done": (Status(run=RUN, stages=stages(6), conditions=COMPLETE), "Succeeded"),
}


@pytest.mark.parametrize("case", PHASES)
def test_the_phase_follows_the_stages(case: str) -> None:
    status, phase = PHASES[case]
    assert summarise(status, now=0.0, generation=1).phase == phase
