"""The golden page of messages has an entry for each message that a test checks, and no other."""

import ast
from functools import cache

import pytest

from support.messages import TESTS, CheckMessage, read_page, write_page


@cache
def checkers(file: str) -> frozenset[str]:
    """Return the tests of a file that check a message."""
    return frozenset(
        node.name
        for node in ast.walk(ast.parse((TESTS / file).read_text()))
        if isinstance(node, ast.FunctionDef)
        and any(one.arg == "check_message" for one in ast.walk(node.args) if isinstance(one, ast.arg))
    )


def test_every_entry_belongs_to_a_test() -> None:
    stale = [f"{file}: {test}" for file, test in read_page() if test not in checkers(file)]
    assert not stale


def test_every_test_that_checks_a_message_has_an_entry() -> None:
    files = [
        path.relative_to(TESTS).as_posix()
        for path in TESTS.rglob("test_*.py")
        if path.name != "test_golden_messages.py"
    ]
    assert {(file, test) for file in files for test in checkers(file)} == set(read_page())


@pytest.mark.parametrize(("said", "fact"), [("other words", ""), ("3 words", "4")])
def test_other_words_and_missing_facts_are_refused(said: str, fact: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBEDISTILL_WRITE_MESSAGES", raising=False)
    (file, test), _ = next(iter(read_page().items()))
    with pytest.raises(AssertionError):
        CheckMessage(file, test, {})(said, fact)


def test_reading_gives_what_was_written(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    monkeypatch.setattr("support.messages.PAGE", tmp_path / "page.md")
    page = {("a/test_b.py", "test_c"): ["one\n  two", "two"], ("a/test_b.py", "test_d"): ["## three"]}
    write_page(page)
    assert read_page() == page
