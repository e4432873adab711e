"""docs/security.md: each row names a test that is there, and all that the operator reads or makes has a row."""

import re

import pytest

from kubedistill_operator.kinds import KINDS
from support.child_scenarios import ROOT

PAGE = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
ROWS = {
    cells[1].strip(): cells for line in PAGE.splitlines() if len(cells := line.split("|")) == 8 and cells[1].strip()
}
ROWS = {row: cells for row, cells in ROWS.items() if re.fullmatch(r"[TD]\d+", row)}
TESTS = {
    name for file in (ROOT / "tests").rglob("test_*.py") for name in re.findall(r"def (test_\w+)", file.read_text())
}
WORDS = {"ConfigMap": "frozen run", "PersistentVolumeClaim": "claim", "Node": "nodes", "Pod": "pods"}
"""What the page calls a kind, where not by its name."""


@pytest.mark.parametrize("row", ROWS)
def test_a_row_names_a_test(row: str) -> None:
    named = re.findall(r"`(test_\w+)`", ROWS[row][6])
    assert named or "the same test" in ROWS[row][6]
    assert set(named) <= TESTS


def test_rows_are_numbered_without_a_gap() -> None:
    for letter in "TD":
        numbers = [int(row[1:]) for row in ROWS if row[0] == letter]
        assert numbers == list(range(1, len(numbers) + 1))


def test_every_kind_that_the_operator_reads_has_a_row() -> None:
    objects = " ".join(cells[2] for cells in ROWS.values())
    assert [kind for kind in KINDS if WORDS.get(kind, kind) not in objects] == []
