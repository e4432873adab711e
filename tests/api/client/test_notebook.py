"""What a notebook shows: the job and the comparison, and no code of those who named things."""

from collections.abc import Callable

from kubedistill.client.job import Job
from kubedistill.contract.stored_status import NOT_UNDERSTOOD
from kubedistill.printing import printable
from support.sample_reports import HOSTILE


def test_a_job_shows_its_stages_and_its_result(a_job: Callable[..., Job]) -> None:
    stages = [
        {"name": "Prepare", "state": "Succeeded"},
        {"name": "Generate", "state": "Running", "percent": 40, "message": "480 of 1,200 rows"},
    ]
    page = a_job("Generating", stages=stages, result={"distilledAccuracy": 0.8})._repr_html_()
    assert "team-a/support</b> <b>Generating" in page
    assert "<td>●</td><td>Generate</td><td>Running</td>" in page
    assert "width:40%" in page
    assert "480 of 1,200 rows" in page
    assert "<td>accuracy</td><td>-</td><td>-</td><td>80.0%</td>" in page


def test_a_job_that_has_not_begun_shows_that(a_job: Callable[..., Job]) -> None:
    page = a_job()._repr_html_()
    assert "Pending" in page
    assert "<table>" not in page


def test_a_job_that_the_operator_ignores_says_why(a_job: Callable[..., Job]) -> None:
    stalled = {"type": "Stalled", "status": "True", "reason": NOT_UNDERSTOOD, "message": "spec.x is not known"}
    page = a_job("Pending", conditions=[stalled])._repr_html_()
    assert "<p>spec.x is not known</p>" in page


def test_texts_are_texts(a_job: Callable[..., Job]) -> None:
    stages = [{"name": "Train", "state": "Failed", "message": HOSTILE}]
    page = a_job("Failed", message=f"{HOSTILE}\u202egnp", stages=stages)._repr_html_()
    assert r"\u202egnp" in page
    assert printable(page) == page
    assert "<script" not in page
    assert "<img" not in page
