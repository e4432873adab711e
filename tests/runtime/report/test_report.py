"""The report: facts under the agreed keys, and a page that is whole by itself, true, and safe to open."""

import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from kubedistill.report import Report
from kubedistill_runtime.report import write_report
from kubedistill_runtime.report.markdown import render_markdown
from kubedistill_runtime.report.page import render_page
from kubedistill_runtime.report.plots import plot_curve
from kubedistill_runtime.storage.store import open_store

HOSTILE = '<script>alert(1)</script><img src=x onerror="alert(2)"> & $\\frac{1}$ | `x`'


def make_arm(accuracy: float | None, **values: Any) -> dict[str, Any]:
    return {
        "accuracy": accuracy, "accuracyCi95": None if accuracy is None else [accuracy - 0.05, accuracy + 0.05],
        "agreement": 0.8, "invalidRate": 0.025, "metrics": {"accuracy": accuracy or 0.0, "macroF1": 0.625},
        "parameters": 295_392, "memoryBytes": 1_247_104, "peakMemoryBytes": 2**31, "latencySeconds": 0.011,
        "latencyP95Seconds": 0.016, "throughputPerHour": 6_314_014.0, "costPerThousand": 0.0016,
        "hardware": "cpu, 2 cores", **values,
    }  # fmt: skip


def make_values() -> dict[str, Any]:
    """A report as JSON values: everything known, and the gate passed."""
    losses = [2.0, 1.0, 0.5, 0.25]
    return {
        "arms": {
            "teacher": make_arm(0.9, parameters=2_558_400, costPerThousand=0.02),
            "baseline": make_arm(0.4),
            "distilled": make_arm(0.8),
        },
        "comparison": {
            "measure": "accuracy", "retention": 0.8889, "gain": 0.4, "gapClosed": 0.8, "pValue": 1e-9,
            "ci95": [0.357, 0.429], "verdict": "better", "rows": 1000,
        },
        "reductions": {"latency": 0.55, "memory": 0.88, "cost": 0.92},
        "gate": {"passed": True, "reasons": []},
        "data": {
            "read": {"train": 1200, "validation": 300, "test": 1000}, "heldOut": [],
            "dropped": {"TooLong": {"train": 3, "validation": 0, "test": 0}},
            "counts": {"train": 1197, "validation": 300, "test": 1000}, "asked": 1197, "kept": 1195,
            "rejected": {"Unfinished": 2}, "keepRatio": 0.998,
        },
        "training": {
            "objective": "CachedLogits", "objectiveReason": "teacher and student share a tokenizer", "samples": 1195,
            "steps": 4, "bestStep": 3, "overlong": 0, "withoutLogprobs": 0, "workers": 1, "topLogprobs": 32,
            "curve": {
                "train": [{"step": step, "loss": loss} for step, loss in enumerate(losses, start=1)],
                "validation": [{"step": 2, "loss": 1.1}, {"step": 4, "loss": 0.9}], "bestStep": 4,
            },
        },
        "labels": [
            {"label": "near", "rows": 34, "teacher": 0.9, "baseline": 0.5, "distilled": 0.88},
            {"label": "far", "rows": 27, "teacher": 0.9, "baseline": 0.2, "distilled": 0.3},
        ],
        "examples": [
            {"id": "t1", "prompt": "The ledger is wrong.", "reference": "near", "teacher": "near", "baseline": "far",
             "distilled": " Near"},
        ],
        "provenance": {
            "job": "default/j", "run": "local", "specDigest": "fcfcdb22", "at": "2026-11-24T20:46:46.601Z",
            "task": "Classification", "artifacts": {"rows": "77f36eca"}, "seeds": {"generation": 0, "training": 0},
            "teacher": {"source": "teacher", "digest": "09c156bde30ae3657037"},
            "student": {"source": "student", "digest": "cd07be0d82ba9446eb8b"}, "hardware": "cpu, 2 cores",
            "versions": {"torch": "2.13.0"},
        },
    }  # fmt: skip


def change(values: dict[str, Any], **paths: Any) -> dict[str, Any]:
    """Set values by path; arms__teacher__hardware is values["arms"]["teacher"]["hardware"]."""
    for path, value in paths.items():
        *parents, last = path.split("__")
        place = values
        for parent in parents:
            place = place[parent]
        place[last] = value
    return values


def make_report(**paths: Any) -> Report:
    return Report.model_validate(change(make_values(), **paths))


def make_unknown() -> Report:
    """No references, no prices, other hardware, no gap, no validation, no reference split, no label."""
    unknown = {
        "comparison__measure": "agreement with the teacher", "comparison__gapClosed": None,
        "comparison__retention": None, "comparison__verdict": "not distinguishable", "comparison__pValue": 0.31,
        "reductions": {"latency": None, "memory": -0.25, "cost": None}, "labels": [],
        "arms__teacher__hardware": "NVIDIA H200", "provenance__task": "Conversation",
        "data__read": {"train": 1200}, "data__heldOut": ["validation", "test"], "data__rejected": {},
        "gate": {"passed": False, "reasons": ["gap closed is not known, and minGapClosed asks for 0.6"]},
        "training__curve__validation": [], "training__curve__bestStep": 0,
    }  # fmt: skip
    values = change(make_values(), **unknown)
    values["examples"][0]["reference"] = None
    for arm in values["arms"].values():
        arm |= {"accuracy": None, "accuracyCi95": None, "costPerThousand": None, "metrics": {"chrf": 0.3, "bleu": 0.1}}
    return Report.model_validate(values)


class Page(HTMLParser):
    """All tags of a page with their attributes, and its text as a reader sees it."""

    VOID = ("meta", "link", "img", "br", "input")

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.styles: list[str] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.feed(html)
        assert self.open == [], "every tag is closed"
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        (self.styles if "style" in self.open else self.words).append(data)

    def loaded(self) -> Iterator[str]:
        """What a browser would fetch: references of tags and of styles, but for places in the page itself."""
        for tag, attributes in self.tags:
            for name in ("src", "srcset", "href", "xlink:href", "data", "action", "poster", "background"):
                if not (attributes.get(name) or "#").startswith("#"):
                    yield f"{tag} {name}={attributes[name]}"
        for style in [*self.styles, *(attributes.get("style") or "" for _, attributes in self.tags)]:
            yield from re.findall(r"@import[^;]*|url\((?!#)[^)]*\)", style)


def show(report: Report) -> Page:
    return Page(render_page(report, title="j"))


REPORTS = {
    "all known": make_report(),
    "all unknown": make_unknown(),
    "hostile": make_report(
        examples=[{"id": HOSTILE, "prompt": HOSTILE, "reference": HOSTILE, "teacher": HOSTILE, "baseline": HOSTILE,
                   "distilled": HOSTILE}],
        labels=[{"label": HOSTILE, "rows": 1, "teacher": 1.0, "baseline": 0.0, "distilled": 1.0}],
        gate={"passed": False, "reasons": [HOSTILE]}, training__objectiveReason=HOSTILE, data__rejected={HOSTILE: 1},
        provenance__teacher={"source": HOSTILE, "digest": HOSTILE}, arms__teacher__hardware=HOSTILE,
    ),
}  # fmt: skip


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
@pytest.mark.parametrize("kind", REPORTS)
def test_report_json_has_the_agreed_keys_null_where_unknown(
    kind: str, place: str, keys: list[str], tmp_path: Path
) -> None:
    store = open_store(str(tmp_path))
    write_report(REPORTS[kind], store=store, folder="here", title="j")
    assert sorted(path.name for path in (tmp_path / "here").iterdir()) == ["report.html", "report.json", "report.md"]
    values = json.loads(store.read("here/report.json"))
    assert values["schemaVersion"] == 1
    assert Report.model_validate(values) == REPORTS[kind]
    for part in filter(None, place.split(".")):
        values = values[part]
    assert set(keys) <= values.keys()


@pytest.mark.parametrize("kind", REPORTS)
def test_page_is_whole_by_itself(kind: str) -> None:
    page = show(REPORTS[kind])
    assert list(page.loaded()) == []
    names = {tag for tag, _ in page.tags}
    assert not names & {"script", "link", "img", "iframe", "object", "embed", "base", "form"}
    assert not [name for _, attributes in page.tags for name in attributes if name.startswith("on")]
    assert {"html", "head", "title", "body", "table", "svg"} <= names


def test_text_of_records_is_shown_and_never_run() -> None:
    html = render_page(REPORTS["hostile"], title="j")
    assert "<script" not in html
    assert "<img" not in html
    shown = Page(html).text
    told = " ".join(HOSTILE.split())
    assert shown.count(told) == 11, "each place tells the text as it is"


def test_page_says_the_verdict_first() -> None:
    text = show(make_report()).text
    verdict = "Accuracy went from 40.0% to 80.0% (teacher 90.0%), 80% of the gap closed, p < 0.0001."
    order = [
        "gate passed", verdict, "+40.0 points of accuracy against the untrained student, 95% interval +35.7 to +42.9",
        "80.0% of the gap", "88.9% of the teacher's accuracy kept", "88% less memory", "55% less time per answer",
        "92% less cost per answer", "Teacher and student side by side", "From prompts to training set",
        "What they say", "Where this comes from",
    ]  # fmt: skip
    assert [text.index(part) for part in order] == sorted(text.index(part) for part in order)
    assert "Why the gate said no" not in text


def test_table_has_all_three_models_and_the_other_metrics() -> None:
    text = show(make_report()).text
    for row in (
        "parameters 2.56M 295K 295K 88% less", "accuracy 90.0% 40.0% 80.0% 89% kept", "macroF1 62.5% 62.5% 62.5%",
        "answers in a wrong form 2.5% 2.5% 2.5%", "cost per 1,000 answers $0.0200 $0.0016 $0.0016 92% less",
        "records read 1,200 300 1,000", "rejected: Unfinished 2", "answers kept 1,195",
    ):  # fmt: skip
        assert row in text


def test_labels_begin_with_the_widest_gap_to_the_teacher() -> None:
    text = show(make_report()).text
    assert text.index("far 30% of 27") < text.index("near 88% of 34")


@pytest.mark.parametrize(
    ("said", "mark"), [("near", "hit"), (" Near\n", "hit"), ("far", "miss"), ("near, I think", "miss")]
)
def test_answers_to_label_tasks_are_marked_right_or_wrong(said: str, mark: str) -> None:
    values = make_values()
    values["examples"][0]["distilled"] = said
    classes = [attributes.get("class") for _, attributes in show(Report.model_validate(values)).tags]
    marks = [name.split()[1] for name in classes if name and name.startswith("text ")]
    assert marks == ["hit", "miss", mark], "teacher, before, distilled"


def test_free_text_is_not_marked_at_all() -> None:
    classes = [attributes.get("class") for _, attributes in show(make_report(labels=[])).tags]
    assert not [name for name in classes if name and ("hit" in name or "miss" in name)]


def test_what_is_unknown_is_said_and_not_made_up() -> None:
    text = show(REPORTS["all unknown"]).text
    for part in (
        "gate failed",
        "not distinguishable from the untrained student (p = 0.3100)",
        "gap closed is not known, and minGapClosed asks for 0.6",
        "unknown how much of the gap is closed: the teacher is not measurably better than the untrained student",
        "80.0% agreement with the teacher",
        "25% more memory than the teacher",
        "The teacher was measured on NVIDIA H200, the student on cpu, 2 cores, so their times are not compared.",
        "Cost is unknown without a price of the hardware.",
        "cost per 1,000 answers - - -",
        "records read 1,200 held out of train held out of train",
    ):
        assert part in text
    for absent in ("Accuracy", "accuracy", "None", "nan", "of the teacher's", "less time per answer", "reference"):
        assert absent not in text


def test_markdown_has_headline_table_gate_and_data() -> None:
    lines = render_markdown(make_report(), title="j").splitlines()
    assert lines[0] == "# j"
    assert lines[2].startswith("Accuracy went from 40.0% to 80.0%")
    rows = [line for line in lines if line.startswith("|")]
    assert {row.count("|") for row in rows} == {6}
    assert "| accuracy | 90.0% | 40.0% | 80.0% | 89% kept |" in rows
    assert lines[-5:] == [
        "- Gate: passed",
        "- Gain +40.0 points, 95% interval +35.7 to +42.9, 1,000 test records",
        "- Data: 1,197 answers asked for, 1,195 kept",
        "- Objective: CachedLogits (teacher and student share a tokenizer)",
        "- Hardware: cpu, 2 cores",
    ]


def test_markdown_of_unknowns_lists_the_reasons_and_makes_nothing_up() -> None:
    text = render_markdown(REPORTS["all unknown"], title="j")
    assert "- Gate: **failed**: gap closed is not known, and minGapClosed asks for 0.6" in text
    assert "| cost per 1,000 answers | - | - | - |  |" in text
    assert "None" not in text
    assert "ccuracy" not in text


@pytest.mark.parametrize(
    ("train", "validation"),
    [([], []), ([0.0], []), ([1e-7, 3.0], [(1, 2.0)]), ([0.5, -1e-7], [(2, 0.5)]), ([2.0] * 300, [(300, 2.0)])],
)
def test_any_curve_can_be_drawn(train: list[float], validation: list[tuple[int, float]]) -> None:
    curve = {
        "train": [{"step": step, "loss": loss} for step, loss in enumerate(train, start=1)],
        "validation": [{"step": step, "loss": loss} for step, loss in validation], "bestStep": 1,
    }  # fmt: skip
    assert plot_curve(curve).startswith("<svg")


def test_plots_follow_the_colours_and_the_font_of_the_page() -> None:
    svg = plot_curve(make_values()["training"]["curve"])
    assert "fill: var(--ink)" in svg
    assert "fill: var(--dim)" in svg
    assert set(re.findall(r"font-family: ([^;\"]*)", svg)) == {"inherit"}
    assert not re.search(r"#000000|black", svg), "black on a dark page can't be read"


def test_same_report_gives_the_same_page() -> None:
    assert render_page(make_report(), title="j") == render_page(make_report(), title="j")
