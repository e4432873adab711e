"""The guide's table of reasons: each that a job can show is in it, and no other."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from kubedistill import errors
from kubedistill.stored_status import NOT_UNDERSTOOD
from kubedistill_operator.decisions import causes, diagnosis

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs" / "guide.md").read_text()
DECISIONS = ROOT / "operator" / "kubedistill_operator" / "decisions"
FINE = {"", "Admitted", "Complete", "Exported", "Resumed", "Valid"}
"""Reasons of conditions that ask for nothing."""
ON_THE_COMMAND_LINE = {
    "ClusterUnavailable", "Conflict", "JobFailed", "NoCluster", "NoSuchJob", "NotAllowed", "NotInstalled", "NotKept",
    "Rejected", "WaitTimeout",
}  # fmt: skip
"""Errors that no job shows, for they are the client's."""
BY_ENDPOINTS = {"BadCredentials"}


def said_by_deciders() -> Iterator[str]:
    """Every literal that is given as a reason, or first in the call of one that says why a job waits."""
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


def said_by_errors(kind: type[errors.KubedistillError] = errors.KubedistillError) -> Iterator[str]:
    for below in kind.__subclasses__():
        if below.__module__ == errors.__name__:  # other tests have errors of their own
            yield below.reason
            yield from said_by_errors(below)


def table() -> set[str]:
    rows = re.findall(r"^\| ((?:[A-Z]\w+(?:, )?)+) \|", GUIDE, flags=re.MULTILINE)
    return {reason for row in rows for reason in row.split(", ")}


@pytest.fixture
def known() -> set[str]:
    found = {*said_by_deciders(), *said_by_errors(), *causes._BY_EVIDENCE, *diagnosis.REASONS}
    return (found | BY_ENDPOINTS | {NOT_UNDERSTOOD}) - FINE - ON_THE_COMMAND_LINE


def test_every_reason_is_explained(known: set[str]) -> None:
    assert not known - table()


def test_no_reason_is_explained_that_nothing_gives(known: set[str]) -> None:
    others = {"WriteRefused", "NameTaken", "Edited", "RunIDReused", "ArtifactMissing"}
    assert not table() - known - others
    sources = "".join(path.read_text() for path in DECISIONS.parent.rglob("*.py"))
    assert not [reason for reason in others if f'"{reason}"' not in sources]
