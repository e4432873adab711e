"""The golden page of messages: tests name reasons, fields and numbers, and this page alone has the words."""

import fcntl
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

TESTS = Path(__file__).parents[1]
PAGE = TESTS / "golden" / "messages.md"
WRITE = "KUBEDISTILL_WRITE_MESSAGES"
_HEAD = f"""\
# Messages

Every message that a test checks, by test. The tests assert its class, reason, field and numbers; the words are here.
`{WRITE}=1 .venv/bin/pytest FOLDER` writes anew what the tests of a folder say; read the difference.
"""
_INDENT = "    "
_PORT = re.compile(r"(127\.0\.0\.1(?:', |:))\d{4,5}\b")

Entries = dict[tuple[str, str], str]
"""(file below tests/, name of the test) -> the message."""


@dataclass(slots=True)
class CheckMessage:
    """Compares what one test hears with the golden page."""

    file: str
    test: str
    replaced: Mapping[str, str]
    """Strings that differ from run to run, such as a folder -> what stands for them on the page."""
    _heard: list[str] = field(default_factory=list)

    def __call__(self, said: object, *facts: object) -> None:
        """Check that a message names these facts (fields, numbers, names), and that its words are the page's."""
        text = str(said)
        missing = [str(fact) for fact in facts if not re.search(rf"(?<!\w){re.escape(str(fact))}(?!\w)", text)]
        assert not missing, f"{missing} not in the message {text!r}"
        if (found := self._stable(text)) in self._heard:
            return
        self._heard.append(found)
        key = (self.file, self.test if len(self._heard) == 1 else f"{self.test} ({len(self._heard)})")
        if os.environ.get(WRITE):
            _add_to_page(key, found)
        assert found == read_page().get(key), f"{PAGE.name} has other words for {key}; {WRITE}=1 writes them anew"

    def _stable(self, text: str) -> str:
        for value in sorted(self.replaced, key=len, reverse=True):
            text = text.replace(value, self.replaced[value])
        text = _PORT.sub(r"\1{port}", text)
        return "\n".join(line.rstrip() for line in text.strip("\n").splitlines())


def _add_to_page(key: tuple[str, str], text: str) -> None:
    """Add an entry; two runs at once, such as those of `make test`, wait for each other."""
    PAGE.parent.mkdir(exist_ok=True)
    folder = os.open(PAGE.parent, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        write_page(read_page() | {key: text})
    finally:
        os.close(folder)


def read_page() -> Entries:
    """Return the entries of the golden page."""
    entries: dict[tuple[str, str], list[str]] = {}
    file, lines = "", list[str]()
    for line in PAGE.read_text().splitlines() if PAGE.is_file() else ():
        if line.startswith("## "):
            file = line[3:]
        elif line.startswith("### "):
            lines = entries.setdefault((file, line[4:]), [])
        else:
            lines.append(line.removeprefix(_INDENT))
    return {key: "\n".join(lines).strip("\n") for key, lines in entries.items()}


def write_page(entries: Entries) -> None:
    """Write the golden page, in the order of files and tests."""
    parts, last = [_HEAD], ""
    for (file, test), text in sorted(entries.items()):
        if file != last:
            parts.append(f"## {file}\n")
            last = file
        body = "\n".join(f"{_INDENT}{line}".rstrip() for line in text.splitlines())
        parts.append(f"### {test}\n\n{body}\n")
    PAGE.write_text("\n".join(parts))
