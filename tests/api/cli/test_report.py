"""kubedistill report: the gate in words, from the report or from status and spec."""

from typing import Any

import pytest

from kubedistill.cli.report import show_comparison
from kubedistill.client.evaluation import comparison_of
from kubedistill.client.job import read_job
from kubedistill.client.storage import StoredReport
from support import sample_reports as made

FAILED = "gain 0.05 is below minGain 0.5"
FROM_STATUS = {
    "passed by default": (True, {}, "Gate passed: requireSignificance."),
    "passed a limit": (True, {"minGain": 0.1, "requireSignificance": False}, "Gate passed: minGain."),
    "no gate": (True, {"requireSignificance": False}, "No gate set."),
    "failed": (False, {"minGain": 0.5}, f"Gate failed: {FAILED}."),
    "not judged": (None, {}, None),
}


@pytest.mark.parametrize("case", FROM_STATUS)
@pytest.mark.parametrize("kept", [False, True])
def test_gate_is_said_from_the_report_or_the_status(
    case: str, *, kept: bool, job_values: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    passed, limits, line = FROM_STATUS[case]
    values = {**job_values, "metadata": {**job_values["metadata"], "namespace": "team-a"}}
    values["spec"] = {**job_values["spec"], "evaluation": {"gate": limits}}
    result = {"distilledAccuracy": 0.8, **({} if passed is None else {"gatePassed": passed})}
    job = read_job({**values, "status": {"phase": "Succeeded", "message": FAILED, "result": result}})
    verdict = {"passed": bool(passed), "reasons": [] if passed else [FAILED], "limits": job.spec.evaluation.gate.limits}
    report = made.make_report(gate=verdict) if kept and passed is not None else None
    show_comparison(job, comparison_of(job, StoredReport(report, "here/report.html")))
    said = [text for text in capsys.readouterr().out.splitlines() if text.lower().startswith(("gate", "no gate"))]
    assert said == ([] if line is None else [line])
