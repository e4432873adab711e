"""The phase that people see, from what is done and what is not."""

import pytest

from kubedistill.chain import CHAIN
from kubedistill.v1alpha1 import Condition, Run, StageStatus, Status
from kubedistill_operator.cluster.events import event_manifest
from kubedistill_operator.job import Job
from kubedistill_operator.plan import Event
from kubedistill_operator.status import summarize, with_condition, with_stage

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
    assert summarize(status, now=0.0, generation=1).phase == phase


SAID = {
    "an escape sequence in what the API server refuses": ("422 \x1b[2J\x9b: no", r"422 \u001b[2J\u009b: no"),
    "several problems, a line each": ("spec.a: bad\nspec.b: bad\n", "spec.a: bad spec.b: bad"),
    "a bidi control": ("user\u202egnp.exe", r"user\u202egnp.exe"),
    "more than a condition holds": ("\x01" * 2000, (r"\u0001" * 2000)[:1024]),
}


@pytest.mark.parametrize("case", SAID)
def test_no_message_of_a_status_holds_control_characters(case: str) -> None:
    message, told = SAID[case]
    status = Status(run=RUN, stages=stages(0))
    status = with_condition(status, "Failed", "True", reason="Rejected", message=message, now=0.0, generation=1)
    status = summarize(with_stage(status, "Prepare", message=message), now=0.0, generation=1)
    assert {status.message, status.stages[0].message, *(one.message for one in status.conditions if one.message)} == {
        told
    }
    event = event_manifest(Event("RunFailed", message), Job("team-a", "j", "u", status=status), now=0.0, instance="i")
    assert event["message"] == told
