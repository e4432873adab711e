"""Which run a job's spec and annotations ask for: the rule that the operator starts by and clients wait by."""

import pytest

from kubedistill.runs import requested_run, rerun_id
from kubedistill.v1alpha1 import Run, RunRecord, Status

FIRST = Run(id="1", digest="d", started_at="")
OVER = (RunRecord(id="old", outcome="Succeeded"),)
CASES = {
    "nothing has run": (None, "", Status(), "1"),
    "nothing has run, and it has a name": ("a", "", Status(), "a"),
    "it runs": (None, "", Status(run=FIRST), None),
    "it runs under its name": ("1", "", Status(run=FIRST), None),
    "a new name": ("b", "", Status(run=FIRST), "b"),
    "a name that was used": ("old", "", Status(run=FIRST, run_history=OVER), None),
    "a rerun": (None, "t1", Status(run=FIRST), "rerun-t1"),
    "a rerun that was handled": (None, "t1", Status(run=FIRST, handled_requests=("rerun:t1",)), None),
    "a rerun before the first run": (None, "t1", Status(), "rerun-t1"),
    "a rerun that was taken back before it began": (
        None,
        "t1",
        Status(run_history=(RunRecord(id="1", outcome="Superseded"),), handled_requests=("rerun:t1",)),
        "rerun-1-2",
    ),
    "a new name that was taken back before it began": ("old", "", Status(run_history=OVER), "rerun-old-2"),
    "the same again": (
        "old",
        "",
        Status(run_history=(*OVER, RunRecord(id="rerun-old-2", outcome="Superseded"))),
        "rerun-old-3",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_the_requested_run(case: str) -> None:
    run_id, token, status, wanted = CASES[case]
    annotations = {"kubedistill.io/rerun": token} if token else {}
    assert requested_run(run_id=run_id, annotations=annotations, status=status) == wanted


@pytest.mark.parametrize("token", ["Again!", "a" * 43, "", "-a"])
def test_a_token_that_no_label_may_hold_is_hashed(token: str) -> None:
    assert len(rerun_id(token)) == len("rerun-") + 5
    assert rerun_id(token) == rerun_id(token)
