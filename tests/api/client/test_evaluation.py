"""How good a job's models are: figures from the report, from the status without it, and a place where it is."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kubedistill.client.evaluation import METRICS, compare, evaluate
from kubedistill.client.interpreters import Interpreter
from kubedistill.errors import InvalidInput, NotAllowed, NotAvailable
from support.messages import CheckMessage
from support.sample_reports import make_values

KEY = "c0ffee"
RESULT = {
    "teacherAccuracy": 0.9, "baselineAccuracy": 0.4, "distilledAccuracy": 0.8, "retention": 0.8889, "gain": 0.4,
    "gapClosed": 0.8, "gatePassed": True,
}  # fmt: skip


@pytest.fixture
def judged(make_job: Callable[..., Any]) -> dict[str, Any]:
    """Return a job that has succeeded, with its store on a claim."""
    job = make_job("Succeeded", result=RESULT)
    job["status"]["run"]["artifacts"] = [{"name": "report", "key": KEY, "complete": True}]
    job["spec"]["storage"] = {"uri": "file:///kubedistill/storage/a", "volumeClaim": "shared"}
    return job


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Return the same store, mounted here."""
    folder = tmp_path / "artifacts" / "report" / KEY
    folder.mkdir(parents=True)
    (folder / "report.json").write_text(json.dumps(make_values()))
    return tmp_path


def ask(server: Any, job: Any, model: str = "support", **options: Any) -> Any:
    server.answers = [job]
    given = {"metrics": METRICS, "test_data": None, "namespace": "team-a", "store": None, **options}
    return Interpreter(server).run(evaluate(model, **given))


def test_a_report_of_a_newer_version_is_named(
    server: Any, judged: Any, store: Path, check_message: CheckMessage
) -> None:
    path = store / "artifacts" / "report" / KEY / "report.json"
    values = make_values()
    path.write_text(json.dumps(values | {"fairness": {"groups": []}}))
    assert ask(server, judged, store=store).accuracy == 0.8
    values["comparison"]["verdict"] = "faster"
    path.write_text(json.dumps(values))
    with pytest.raises(NotAvailable) as caught:
        ask(server, judged, store=store)
    check_message(caught.value, "comparison.verdict", "faster")
    assert caught.value.at == str(path)


@pytest.mark.parametrize(("model", "accuracy"), [("support", 0.8), ("support/baseline", 0.4), ("support/teacher", 0.9)])
def test_each_model_has_its_figures(model: str, accuracy: float, server: Any, judged: Any, store: Path) -> None:
    figures = ask(server, judged, model, store=store)
    assert dict(figures) == {"accuracy": accuracy, "bleu_score": None, "inference_time": 0.011}
    assert (figures.accuracy, figures.source) == (accuracy, "report")


@pytest.mark.parametrize(("model", "accuracy"), [("support", 0.8), ("support/baseline", 0.4), ("support/teacher", 0.9)])
def test_accuracy_is_in_the_status_too(model: str, accuracy: float, server: Any, judged: Any) -> None:
    figures = ask(server, judged, model, metrics=["accuracy"])
    assert (dict(figures), figures.source) == ({"accuracy": accuracy}, "status")


def test_what_is_out_of_reach_is_said_with_its_place(server: Any, judged: Any, check_message: CheckMessage) -> None:
    place = f"file:///kubedistill/storage/a/artifacts/report/{KEY}/report.html on claim shared"
    with pytest.raises(NotAvailable) as caught:
        ask(server, judged)
    check_message(caught.value)
    assert place in str(caught.value)


def test_metrics_of_the_task_are_known_and_others_are_not(
    server: Any, judged: Any, store: Path, check_message: CheckMessage
) -> None:
    assert dict(ask(server, judged, metrics=["macroF1"], store=store)) == {"macroF1": 0.625}
    with pytest.raises(InvalidInput) as caught:
        ask(server, judged, metrics=["f2"], store=store)
    check_message(caught.value, "f2")


def test_a_model_that_no_job_has_is_refused(server: Any, judged: Any, check_message: CheckMessage) -> None:
    with pytest.raises(InvalidInput) as caught:
        ask(server, judged, "support/bigger")
    check_message(caught.value, "support/baseline", "support/teacher")


TEST_DATA = {
    "held out": (None, "test.jsonl", "on records held out of its training data, not on test.jsonl"),
    "another file": ({"uri": "a/test.jsonl"}, "b/other.jsonl", "on a/test.jsonl, not on b/other.jsonl"),
    "the same file": ({"uri": "a/test.jsonl"}, "test.jsonl", ""),
    "none asked for": (None, None, ""),
}


@pytest.mark.parametrize("case", TEST_DATA)
def test_other_test_data_is_refused(case: str, server: Any, judged: Any, check_message: CheckMessage) -> None:
    test, asked, problem = TEST_DATA[case]
    if test:
        judged["spec"]["data"]["test"] = test
    if not problem:
        assert ask(server, judged, test_data=asked, metrics=["accuracy"]).accuracy == 0.8
        return
    with pytest.raises(InvalidInput) as caught:
        ask(server, judged, test_data=asked)
    check_message(caught.value)
    assert problem in str(caught.value)


def test_nothing_is_judged_before_its_time(
    server: Any, make_job: Callable[..., Any], check_message: CheckMessage
) -> None:
    with pytest.raises(NotAvailable) as caught:
        ask(server, make_job("Training"))
    check_message(caught.value, "Training")


def test_the_operators_store_is_asked_for_where_the_job_names_none(server: Any, judged: Any) -> None:
    del judged["spec"]["storage"]
    judged["status"]["stages"] = [{"name": "Prepare", "child": "support-prepare-abcde"}]
    for answer, place in (
        ({"data": {"job.json": '{"store": "file:///kubedistill/storage"}'}}, "file:///kubedistill/storage/artifacts"),
        (NotAllowed("no"), "the operator’s default store/artifacts"),
    ):
        server.answers = [judged, answer]
        found = Interpreter(server).run(compare("support", namespace="team-a", store=None))
        assert found.page.startswith(place)


def test_a_comparison_reads_as_a_table(server: Any, judged: Any, store: Path, check_message: CheckMessage) -> None:
    server.answers = [judged, judged]
    whole = Interpreter(server).run(compare("support", namespace="team-a", store=store))
    short = Interpreter(server).run(compare("support", namespace="team-a", store=None))
    check_message(short, "90.0", "40.0", "80.0", "89")
    lines = str(whole).splitlines()
    assert lines[0].split() == ["teacher", "before", "distilled", "against", "teacher"]
    assert lines[4].split() == ["accuracy", "90.0%", "40.0%", "80.0%", "89%", "kept"]
    assert lines[-1] == ("accuracy went from 40.0% to 80.0% (teacher 90.0%), 80% of the gap closed, p < 0.0001.")
    assert (whole.improvement, short.improvement) == (0.4, 0.4)
    assert "<td>40.0%</td><td>80.0%</td>" in short._repr_html_()
