"""The report: facts under the agreed keys, in JSON, in Markdown and in plots."""

import json
import re
from pathlib import Path

import pytest

from kubedistill.contract.artifacts import Curve, TrainPoint, ValidationPoint
from kubedistill.report.models import Report
from kubedistill_runtime.report import write_report
from kubedistill_runtime.report.markdown import render_markdown
from kubedistill_runtime.report.plots import plot_curve
from kubedistill_runtime.storage.store import open_store
from support import sample_reports as made


@pytest.mark.parametrize(
    ("place", "keys"),
    [
        ("arms", ["teacher", "baseline", "distilled"]),
        *((f"arms.{arm}", ["accuracy", "parameters", "memoryBytes", "latencySeconds", "throughputPerHour"])
          for arm in ("teacher", "baseline", "distilled")),
        ("comparison", ["retention", "gain", "gapClosed", "pValue", "ci95"]),
        ("reductions", ["latency", "memory", "cost"]),
        ("gate", ["passed", "reasons"]),
        ("", ["schemaVersion", "data", "provenance"]),
    ],
)  # fmt: skip
@pytest.mark.parametrize("kind", made.REPORTS)
def test_report_json_has_the_agreed_keys_null_where_unknown(
    kind: str, place: str, keys: list[str], tmp_path: Path
) -> None:
    store = open_store(str(tmp_path))
    write_report(made.REPORTS[kind], store=store, folder="here", title="j")
    assert sorted(path.name for path in (tmp_path / "here").iterdir()) == ["report.html", "report.json", "report.md"]
    values = json.loads(store.read("here/report.json"))
    assert values["schemaVersion"] == 1
    assert Report.model_validate(values) == made.REPORTS[kind]
    for part in filter(None, place.split(".")):
        values = values[part]
    assert set(keys) <= values.keys()


def test_markdown_has_headline_table_gate_and_data() -> None:
    lines = render_markdown(made.make_report(), title="j").splitlines()
    assert lines[0] == "# j"
    assert lines[2].startswith("Accuracy went from 40.0% to 80.0%")
    rows = [line for line in lines if line.startswith("|")]
    assert {row.count("|") for row in rows} == {6}
    assert "| accuracy | 90.0% | 40.0% | 80.0% | 89% kept |" in rows
    assert lines[-5:] == [
        "- Gate: passed",
        "- Gain +40.0 points, 95% interval +35.7 to +42.9, 1,000 test records",
        "- Data: 1,195 of 1,197 answers kept; rejected: 2 cut off",
        "- Objective: CachedLogits (teacher and student share a tokenizer)",
        "- Hardware: cpu, 2 cores",
    ]


MARKDOWN = {
    "no gate": ({"gate": {"passed": True, "reasons": [], "limits": []}}, "- Gate: no gate set"),
    "limits": ({"gate": {"passed": True, "reasons": [], "limits": ["minGain"]}}, "- Gate: passed: minGain"),
    "worse": (
        {"comparison__verdict": "worse", "comparison__gain": -0.4, "comparison__ci95": [-0.5, -0.3]},
        "- Loss of 40.0 points, 95% interval -50.0 to -30.0, 1,000 test records",
    ),
    "some references": (
        {"comparison__totalRows": 1010},
        "- Gain +40.0 points, 95% interval +35.7 to +42.9, 1,000 of 1,010 test records have a reference",
    ),
    "noise": (
        {"latencyControl": {"rounds": 5, "outputTokens": 32, "ratio": 1.62, "spread": [1.4, 1.9], "noise": True}},
        "- Control: latency is noise: the distilled student takes 1.62 times (1.40 to 1.90 in 5 rounds) the time of "
        "the same model before training, so no limit on latency is checked",
    ),
}


@pytest.mark.parametrize("case", MARKDOWN)
def test_markdown_has_the_words_of_each_outcome(case: str) -> None:
    paths, line = MARKDOWN[case]
    assert line in render_markdown(made.make_report(**paths), title="j").splitlines()


@pytest.mark.parametrize("case", made.COSTS)
def test_markdown_says_why_a_cost_is_not_known(case: str) -> None:
    paths, notes = made.COSTS[case]
    lines = render_markdown(made.make_report(**paths), title="j").splitlines()
    assert [line for line in lines if line.startswith("- Cost: ")] == [f"- Cost: {note}" for note in notes]


def test_markdown_says_why_the_students_were_not_timed_in_turn() -> None:
    lines = render_markdown(made.make_report(provenance__untimed="no loader"), title="j").splitlines()
    assert "- Control: the students were not timed in turn, but each in its own engine: no loader" in lines
    assert not [line for line in render_markdown(made.make_report(), title="j").splitlines() if "Control" in line]


@pytest.mark.parametrize(("number", "what"), [(1, "1 greedy answer of the teacher was"), (12, "12 greedy answers")])
def test_markdown_says_how_many_greedy_answers_were_sampled(number: int, what: str) -> None:
    lines = render_markdown(made.make_report(provenance__sampled_answers=number), title="j").splitlines()
    (line,) = (line for line in lines if line.startswith("- Teacher: "))
    assert what in line
    assert "- Teacher" not in render_markdown(made.make_report(), title="j")
    assert "sampledAnswers" not in made.make_report().to_values()["provenance"]


def test_markdown_says_how_servers_run_the_student_by_default() -> None:
    report = made.make_report(provenance__served_defaults=["servers sample"])
    assert "- Serving: servers sample" in render_markdown(report, title="j").splitlines()
    assert "- Serving" not in render_markdown(made.make_report(), title="j")


def test_a_report_of_an_earlier_version_can_be_read() -> None:
    """What this version added is absent there, and no verdict is made up for it."""
    report = made.make_report()
    assert (report.gate.limits, report.comparison.total_rows, report.latency_control) == (None, None, None)
    assert "- Gate: passed" in render_markdown(report, title="j").splitlines()


def test_markdown_of_unknowns_lists_the_reasons_and_makes_nothing_up() -> None:
    text = render_markdown(made.REPORTS["all unknown"], title="j")
    assert "- Gate: **failed**: gap closed is not known, but minGapClosed requires 0.6" in text
    assert "| cost per 1,000 answers | - | - | - |  |" in text
    assert "None" not in text
    assert "ccuracy" not in text


@pytest.mark.parametrize(
    ("train", "validation"),
    [([], []), ([0.0], []), ([1e-7, 3.0], [(1, 2.0)]), ([0.5, -1e-7], [(2, 0.5)]), ([2.0] * 300, [(300, 2.0)])],
)
def test_any_curve_can_be_drawn(train: list[float], validation: list[tuple[int, float]]) -> None:
    curve = Curve(
        train=[TrainPoint(step=step, loss=loss) for step, loss in enumerate(train, start=1)],
        validation=[ValidationPoint(step=step, loss=loss) for step, loss in validation],
        best_step=1,
    )
    assert plot_curve(curve).startswith("<svg")


def test_plots_follow_the_colors_and_the_font_of_the_page() -> None:
    svg = plot_curve(made.make_report().training.curve)
    assert "fill: var(--ink)" in svg
    assert "fill: var(--dim)" in svg
    assert set(re.findall(r"font-family: ([^;\"]*)", svg)) == {"inherit"}
    assert not re.search(r"#000000|black", svg), "black on a dark page can't be read"
