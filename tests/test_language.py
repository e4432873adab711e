"""The word list of CONTRIBUTING.md holds for the pages, and for strings and comments of the listed code."""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    {
        *ROOT.glob("*.md"),
        *(ROOT / "docs").glob("*.md"),
        *(ROOT / "benchmarks").glob("*.md"),
        *(ROOT / "charts").glob("*/README.md"),
        *(ROOT / "examples").glob("*/README.md"),
    }
)
CODE = (
    "api",
    "benchmarks",
    "charts",
    "operator",
    "runtime",
    "tests/api",
    "tests/benchmarks",
    "tests/charts",
    "tests/cluster",
    "tests/conftest.py",
    "tests/e2e",
    "tests/examples",
    "tests/gitops",
    "tests/images",
    "tests/operator",
    "tests/runtime",
    "tests/support",
    "tests/test_golden_messages.py",
    "tests/test_imports.py",
    "tests/test_logs.py",
    "tests/test_network.py",
    "tests/test_ratchet.py",
    "tests/upgrade",
)
"""Folders and files whose strings, docstrings and comments are checked."""
_CODE_FONT = re.compile(r"^ *```.*?^ *```$|<!--.*?-->|`[^`\n]*`|\]\([^)]*\)", re.DOTALL | re.MULTILINE)


def read_word_list() -> dict[str, tuple[str, re.Pattern[str]]]:
    """Return what not to write, with what to write instead and a pattern that finds it."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    table = text.partition("| write | do not write | except |\n|---|---|---|\n")[2].partition("\n\n")[0]
    found = {}
    for line in table.splitlines():
        write, banned, allowed = line.strip("|").split("|")
        exceptions = "".join(rf"\b{_spaced(word)}\b|" for word in re.findall(r"`(.+?)`", allowed))
        for word in re.findall(r"`(.+?)`", banned):
            found[word] = (write.strip(), re.compile(rf"{exceptions}\b({_spaced(word)})\b", re.IGNORECASE))
    return found


def _spaced(words: str) -> str:
    """Return a pattern of words, over line breaks; `*` is any ending."""
    return re.escape(words).replace(r"\ ", r"\s+").replace(r"\*", r"\w*")


def find_banned(text: str, *, at: str) -> Iterator[str]:
    """Yield each place of a text that has a word of the list, with what to write instead."""
    lowered = text.lower()
    for word, (write, pattern) in WORDS.items():
        if word.split()[0].rstrip("*") not in lowered:  # cheaper than the pattern
            continue
        for match in pattern.finditer(text):
            if match[1] is not None:
                line = text.count("\n", 0, match.start()) + 1
                yield f"{at}:{line}: write {write!r}, not {word!r}"


def prose(page: str) -> str:
    """Return a page with code, links and comments blanked, on the same lines."""
    return _CODE_FONT.sub(lambda found: re.sub(r"[^\n]", " ", found[0]), page)


def strings(source: str) -> Iterator[tuple[int, str]]:
    """Yield the line and the text of all that is read: docstrings, messages and comments."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value:
            yield node.lineno, node.value
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string


WORDS = read_word_list()


def test_the_list_is_read_with_its_exceptions() -> None:
    found = [*find_banned("Mend it, for  ever. It is no file; there is no file, and it is no longer here.", at="x")]
    assert len(WORDS) > 30
    assert [line.rpartition("not ")[2] for line in found] == ["'mend*'", "'is no'", "'for ever'"]
    assert not [*find_banned(prose("`mend` and\n```\nfor ever\n```\n[x](for ever)"), at="x")]


def test_strings_and_comments_of_code_are_read() -> None:
    source = '"""Mend it."""\nx = f"It is no file: {1}"  # for ever\n'
    assert [line for number, text in strings(source) for line in find_banned(text, at=str(number))] == [
        "1:1: write 'fix, correct', not 'mend*'",
        "2:1: write 'is not a, there is no', not 'is no'",
        "2:1: write 'forever, indefinitely', not 'for ever'",
    ]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_page_keeps_to_the_word_list(page: Path) -> None:
    assert [*find_banned(prose(page.read_text(encoding="utf-8")), at=page.name)] == []


def test_the_code_keeps_to_the_word_list() -> None:
    files = [file for place in CODE for file in sorted((ROOT / place).rglob("*.py")) or [ROOT / place]]
    assert files
    found = [
        f"{file.relative_to(ROOT)}:{number}: {text}"
        for file in files
        for number, string in strings(file.read_text(encoding="utf-8"))
        for text in find_banned(string, at="")
    ]
    assert found == []
