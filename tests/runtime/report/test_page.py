"""report.html: a page that is whole by itself, true, and safe to open."""

import re
from collections.abc import Callable, Iterator
from html.parser import HTMLParser

import pytest

from kubedistill.printing import printable
from kubedistill.report.models import Report
from kubedistill_runtime.report.markdown import render_markdown
from kubedistill_runtime.report.page import render_page
from support import sample_reports as made


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
        """Yield what a browser would fetch: references of tags and of styles, but for places in the page itself."""
        for tag, attributes in self.tags:
            for name in ("src", "srcset", "href", "xlink:href", "data", "action", "poster", "background"):
                if not (attributes.get(name) or "#").startswith("#"):
                    yield f"{tag} {name}={attributes[name]}"
        for style in [*self.styles, *(attributes.get("style") or "" for _, attributes in self.tags)]:
            yield from re.findall(r"@import[^;]*|url\((?!#)[^)]*\)", style)


def show(report: Report) -> Page:
    return Page(render_page(report, title="j"))


@pytest.mark.parametrize("kind", made.REPORTS)
def test_page_is_whole_by_itself(kind: str) -> None:
    page = show(made.REPORTS[kind])
    assert list(page.loaded()) == []
    names = {tag for tag, _ in page.tags}
    assert not names & {"script", "link", "img", "iframe", "object", "embed", "base", "form"}
    assert not [name for _, attributes in page.tags for name in attributes if name.startswith("on")]
    assert {"html", "head", "title", "body", "table", "svg"} <= names


def test_text_of_records_is_shown_and_never_run() -> None:
    html = render_page(made.REPORTS["hostile"], title="j")
    assert "<script" not in html
    assert "<img" not in html
    shown = Page(html).text
    told = " ".join(made.HOSTILE.split())
    assert shown.count(told) == 11, "each place tells the text as it is"


def test_page_says_the_verdict_first() -> None:
    text = show(made.make_report()).text
    verdict = "Accuracy went from 40.0% to 80.0% (teacher 90.0%), 80% of the gap closed, p < 0.0001."
    order = [
        "gate passed",
        verdict,
        "+40.0 points of accuracy against the untrained student, 95% interval +35.7 to +42.9",
        "80.0% of the gap",
        "88.9% of the teacher's accuracy kept",
        "88% less memory",
        "55% less time per answer",
        "92% less cost per answer",
        "Teacher and student side by side",
        "From prompts to training set",
        "What they say",
        "Where this comes from",
    ]
    assert [text.index(part) for part in order] == sorted(text.index(part) for part in order)
    assert "Why the gate failed" not in text


def test_table_has_all_three_models_and_the_other_metrics() -> None:
    text = show(made.make_report()).text
    for row in (
        "parameters 2.56M 295K 295K 88% less",
        "accuracy 90.0% 40.0% 80.0% 89% kept",
        "macroF1 62.5% 62.5% 62.5%",
        "answers in a wrong form 2.5% 2.5% 2.5%",
        "cost per 1,000 answers $0.0200 $0.0016 $0.0016 92% less",
        "records read 1,200 300 1,000",
        "rejected: cut off 2",
        "answers kept 1,195",
    ):
        assert row in text
    assert text.count("accuracy 90.0% 40.0% 80.0%") == 1, "the headline is not a further metric"


def test_labels_begin_with_the_widest_gap_to_the_teacher() -> None:
    text = show(made.make_report()).text
    assert text.index("far 30% of 27") < text.index("near 88% of 34")


@pytest.mark.parametrize(
    ("said", "mark"), [("near", "hit"), (" Near\n", "hit"), ("far", "miss"), ("near, I think", "miss")]
)
def test_answers_to_label_tasks_are_marked_right_or_wrong(said: str, mark: str) -> None:
    values = made.make_values()
    values["examples"][0]["distilled"] = said
    classes = [attributes.get("class") for _, attributes in show(Report.model_validate(values)).tags]
    marks = [name.split()[1] for name in classes if name and name.startswith("text ")]
    assert marks == ["hit", "miss", mark], "teacher, before, distilled"


def test_any_reference_makes_an_answer_right() -> None:
    example = {**made.make_values()["examples"][0], "references": ["near", "cafe\u0301"], "distilled": "CAFÉ"}
    page = show(made.make_report(examples=[example]))
    marks = [attributes["class"] for _, attributes in page.tags if (attributes.get("class") or "").startswith("text ")]
    assert marks == ["text hit", "text miss", "text hit"], "teacher near, before far, distilled the second reference"
    assert "near / cafe\u0301" in page.text


def test_free_text_is_not_marked_at_all() -> None:
    classes = [attributes.get("class") for _, attributes in show(made.make_report(labels=[])).tags]
    assert not [name for name in classes if name and ("hit" in name or "miss" in name)]


def test_what_is_unknown_is_said_and_not_made_up() -> None:
    text = show(made.REPORTS["all unknown"]).text
    for part in (
        "gate failed",
        "not distinguishable from the untrained student (p = 0.3100)",
        "gap closed is not known, but minGapClosed requires 0.6",
        "No test record has a reference",
        "1,000 test records, none with a reference",
        "80.0% agreement with the teacher",
        "4 steps, not validated, so the last checkpoint was kept",
        "25% more memory than the teacher",
        "The teacher was measured on NVIDIA H200, the student on cpu, 2 cores, so their times are not compared.",
        "Cost is unknown without a price of the hardware.",
        "cost per 1,000 answers - - -",
        "records read 1,200 held out of train held out of train",
    ):
        assert part in text
    for absent in ("Accuracy", "accuracy", "None", "nan", "of the teacher's", "less time per answer", "of the gap"):
        assert absent not in text


BETTER = {"comparison__verdict": "better", "comparison__pValue": 0.01}
OUTCOMES = {
    "teacher no better": (
        {**BETTER, "comparison__gapClosed": None},
        "unknown how much of the gap is closed: the teacher is not measurably better than the untrained student",
    ),
    "worse": (
        {"comparison__verdict": "worse", "comparison__gain": -0.4, "comparison__gapClosed": -0.8,
         "comparison__ci95": [-0.5, -0.3]},
        "40.0 points of accuracy lost against the untrained student, 95% interval -50.0 to -30.0",
    ),
    "not distinguishable": (
        {"comparison__verdict": "not distinguishable", "comparison__pValue": 0.3},
        "+40.0 points of accuracy against the untrained student, 95% interval +35.7 to +42.9, p = 0.3000: this may be "
        "chance",
    ),
    "some references": ({"comparison__totalRows": 1010}, "1,000 of 1,010 test records have a reference"),
    "no gate": ({"gate": {"passed": True, "reasons": [], "limits": []}}, "no gate set"),
    "gate": (
        {"gate": {"passed": True, "reasons": [], "limits": ["minGain", "requireSignificance"]}},
        "gate passed: minGain, requireSignificance",
    ),
    "noise": (
        {"latencyControl": {"rounds": 5, "outputTokens": 32, "ratio": 1.62, "spread": [1.4, 1.9], "noise": True},
         "reductions__latency": None},
        "Latency is noise: the distilled student takes 1.62 times (1.40 to 1.90 in 5 rounds) the time",
    ),
    "note": (
        {"gate": {"passed": True, "reasons": [], "limits": ["maxLatencyRatio"], "notes": ["it was not checked"]}},
        "What the gate did not check it was not checked",
    ),
    "a metric that is not known": ({"arms__teacher__metrics": {"accuracy": 0.9, "macroF1": None}}, "macroF1 - 62.5%"),
}  # fmt: skip


@pytest.mark.parametrize("case", OUTCOMES)
def test_page_has_the_words_of_each_outcome(case: str) -> None:
    paths, text = OUTCOMES[case]
    found = show(made.make_report(**paths)).text
    assert text in found
    assert "None" not in found
    if case in ("worse", "not distinguishable"):
        assert "gap between" not in found


@pytest.mark.parametrize("case", made.COSTS)
def test_page_says_why_a_cost_is_not_known(case: str) -> None:
    paths, notes = made.COSTS[case]
    text = show(made.make_report(**paths)).text
    for note in notes:
        assert f"{note[0].upper()}{note[1:]}." in text
    assert text.count("cost is unknown") + text.count("Cost is unknown") == len(notes)
    assert text.count("without a price") == sum("without a price" in note for note in notes)


def test_page_says_why_the_students_were_not_timed_in_turn() -> None:
    text = show(made.make_report(provenance__untimed="no loader for <b>it</b>.")).text
    assert "not timed in turn, but each in its own engine: no loader for <b>it</b>. " in f"{text} "
    assert "timed in turn" not in show(made.make_report()).text


def test_page_says_how_many_greedy_answers_were_sampled() -> None:
    assert (
        "1,200 greedy answers of the teacher were sampled"
        in show(made.make_report(provenance__sampled_answers=1200)).text
    )
    assert "were sampled" not in show(made.make_report()).text


def test_same_report_gives_the_same_page() -> None:
    assert render_page(made.make_report(), title="j") == render_page(made.make_report(), title="j")


@pytest.mark.parametrize("render", [render_page, render_markdown])
def test_what_would_be_obeyed_is_shown_as_escapes(render: Callable[..., str]) -> None:
    text = "a\x1b[2J\x9b\u202egnp"
    report = made.make_report(
        arms__teacher__hardware=text,
        provenance__hardware=text,
        training__objectiveReason=f"{text}\n# forged",
        gate={"passed": False, "reasons": [text]},
    )
    shown = render(report, title=text)
    assert shown.count(r"a\u001b[2J\u009b\u202egnp") >= 4
    assert printable(shown) == shown
    assert render is render_page or "\n# forged" not in shown
