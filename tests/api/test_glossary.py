"""docs/glossary.md links each word to the code that defines it."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| ([^|]+) \| [^|]+\. \| \[`(.+?)`\]\(\.\./(.+?)\) \|$", PAGE, re.MULTILINE)
"""Word, symbol and file of each row of the tables."""


def defined_in(body: list[ast.stmt], *, above: str = "") -> Iterator[str]:
    """Yield the names that statements define, those of the members of a class as `Class.member`."""
    for one in body:
        match one:
            case ast.ClassDef(name=name):
                yield f"{above}{name}"
                yield from defined_in(one.body, above=f"{name}.")
            case ast.FunctionDef(name=name):
                yield f"{above}{name}"
            case ast.AnnAssign(target=ast.Name(id=name)):
                yield f"{above}{name}"
            case ast.Assign(targets=[ast.Name(id=name)]):
                yield f"{above}{name}"


def test_each_word_is_explained_once() -> None:
    words = [line.split(" | ")[0].removeprefix("| ") for line in PAGE.splitlines() if line.startswith("| ")]
    heads = PAGE.count("| word | meaning | definition |")
    assert words.count("word") == heads > 3
    assert [word for word in words if word != "word"] == [row[0] for row in ROWS]
    assert len({*words}) == len(words) - heads + 1


@pytest.mark.parametrize(("word", "symbol", "file"), ROWS, ids=[row[0] for row in ROWS])
def test_a_word_is_defined_where_its_link_says(word: str, symbol: str, file: str) -> None:
    body = ast.parse((ROOT / file).read_text(encoding="utf-8")).body
    assert symbol in set(defined_in(body)), f"{word}: {file} does not define {symbol}"
