"""The table of reasons: all that errors, operator, pages, runbooks and Argo CD say is in it, and nothing else is."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from kubedistill import errors, runtime_process
from kubedistill.contract.stored_status import NOT_UNDERSTOOD
from kubedistill.manifest.settings_file import InvalidSettings
from kubedistill.reasons import REASONS
from kubedistill_operator.cluster.api_errors import NameCollision
from kubedistill_operator.cluster.execution import read_refusal
from kubedistill_operator.decisions import causes, diagnosis
from kubedistill_operator.observed import DELAYED, UNREADABLE
from support.job_states import STATES, play

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
DECISIONS = ROOT / "operator" / "kubedistill_operator" / "decisions"
NAME_TAKEN = read_refusal(NameCollision("")).reason
FINE = {"", "Admitted", "Complete", "Exported", "Resumed", "Valid"}
"""Reasons of conditions that ask for nothing."""
OTHERS = {"DriverRestarted", "WaitingForNodes", "Unschedulable", "WriteRefused", "Edited", "RunIDReused"}
"""Reasons that deciders hand on by a variable."""


def said_by_deciders() -> Iterator[str]:
    """Yield every literal that is given as a reason, or first in the call of one that says why a job waits."""
    for path in DECISIONS.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call):
                continue
            words = [one.value for one in node.keywords if one.arg == "reason"]
            if isinstance(node.func, ast.Name) and node.func.id in ("_queue", "Obstacle"):
                words += node.args
            yield from (
                word.value
                for word in words
                if isinstance(word, ast.Constant) and re.fullmatch(r"[A-Z]?\w*", str(word.value))
            )


def error_classes(
    kind: type[errors.KubedistillError] = errors.KubedistillError,
) -> Iterator[type[errors.KubedistillError]]:
    for below in kind.__subclasses__():
        if below.__module__.startswith("kubedistill"):  # tests have errors of their own
            yield below
            yield from error_classes(below)


def tables(page: str, *, section: str = "") -> list[list[str]]:
    """Return the cells of every row of the tables of a page, or of one of its sections."""
    text = (DOCS / page).read_text()
    lines = (text.partition(f"\n## {section}\n")[2].partition("\n## ")[0] if section else text).splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]


@pytest.fixture
def said() -> set[str]:
    """Return every reason that the sources say."""
    said = {*said_by_deciders(), *causes._BY_EVIDENCE, *diagnosis.REASONS, *OTHERS}
    said |= {NAME_TAKEN, DELAYED, UNREADABLE, NOT_UNDERSTOOD}
    return (said | {runtime_process.RuntimeDied.reason, *(kind.reason for kind in error_classes())}) - FINE


def test_every_reason_is_in_the_table(said: set[str]) -> None:
    assert not said - REASONS.keys()


def test_no_reason_is_in_the_table_that_nothing_says(said: set[str]) -> None:
    assert not REASONS.keys() - said
    sources = "".join(path.read_text() for path in DECISIONS.glob("*.py"))
    assert not [reason for reason in OTHERS if f'"{reason}"' not in sources]


def test_an_error_is_charged_as_the_table_says() -> None:
    charged = {
        kind: (kind.cause, REASONS[kind.reason].cause)
        for kind in error_classes()
        if kind is not InvalidSettings  # the operator's own: no job is charged with it
    }
    assert {kind.__name__: pair for kind, pair in charged.items() if pair[0] != pair[1]} == {}


def test_evidence_and_waits_are_charged_as_the_table_says() -> None:
    assert {reason: REASONS[reason].cause for reason in causes._BY_EVIDENCE} == causes._BY_EVIDENCE
    assert {REASONS[reason].cause for reason in diagnosis.REASONS - {"CrashLooping"}} == {"waiting"}


def test_the_guide_has_the_table() -> None:
    _, _, *rows = tables("guide.md", section="Troubleshooting")
    shown = {name: (one.cause, one.meaning, one.fix) for name, one in REASONS.items() if one.shown == "job"}
    assert {name: tuple(rest) for names, *rest in rows for name in names.split(", ")} == shown


def test_the_behavior_page_charges_as_the_table_says() -> None:
    """Each row with a charge names reasons of that cause; each wait is a reason that is not charged."""
    rows = {cells[0]: cells for cells in tables("behavior.md")}
    charged = {
        (row, reason): cells[2].partition(",")[0]
        for row, cells in rows.items()
        if re.fullmatch(r"A\d+", row) and cells[2].partition(",")[0] in ("user", "failure", "infrastructure")
        for reason in re.findall(r"\b[A-Z]\w+", f"{cells[1]} {cells[3]}")
        if reason in REASONS
    }
    assert {place: cause for place, cause in charged.items() if REASONS[place[1]].cause != cause} == {}
    assert {reason for _, reason in charged} >= {"InvalidData", "OutOfMemory", "NodeLost", "ChildVanished"}
    waits = {
        (row, reason): REASONS[reason].cause
        for row, cells in rows.items()
        if re.fullmatch(r"W\d+", row)
        for reason in re.findall(r"\b[A-Z]\w+", cells[2])
        if reason in REASONS and reason != "Pending"
    }
    assert {place: cause for place, cause in waits.items() if cause not in ("waiting", "queued")} == {}
    named = set(re.findall(r"\b[A-Z]\w+", (DOCS / "behavior.md").read_text()))
    assert {name for name, one in REASONS.items() if one.cause in ("waiting", "queued")} - named == set()


def test_runbooks_name_no_reason_that_there_is_not() -> None:
    words = set(re.findall(r"\b([A-Z][a-z]+(?:[A-Z][a-z]+)+)\b: ", (DOCS / "runbooks.md").read_text()))
    assert words - REASONS.keys() == set()
    assert words & REASONS.keys()


ENDS = ("Complete", "Failed")
"""Conditions that Progressing=False points to."""


def test_reasons_that_argo_cd_and_alerts_show_are_in_the_table() -> None:
    """In every state of a job that others meet, the condition that health and alerts read has a reason of the table."""
    troubles = (("Failed", "True"), ("Validated", "False"), ("QuotaReserved", "False"), ("SpecDrift", "True"))
    found = {}
    for state in STATES:
        for condition in play(state).status.conditions:
            if (condition.type, condition.status) in troubles:
                found[state] = condition.reason
            if (condition.type, condition.status) == ("Progressing", "False") and condition.reason not in ENDS:
                found[f"{state}, waiting"] = condition.reason
    assert {state: reason for state, reason in found.items() if reason not in REASONS} == {}
    assert {"SharedArtifact", "QuotaExceeded", "InvalidData", "Edited"} <= set(found.values())
