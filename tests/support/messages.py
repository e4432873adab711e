"""The golden page of messages: tests name reasons, fields and numbers, and this page alone has the words."""

import fcntl
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

TESTS = Path(__file__).parents[1]
PAGE = TESTS / "golden" / "messages.md"
WRITE = "KUBEDISTILL_WRITE_MESSAGES"
_HEAD = f"""\
# Messages

Every message that a test checks, by test. The tests assert its class, reason, field and numbers; the words are here.
`{WRITE}=1 .venv/bin/pytest FOLDER` writes again what the tests of a folder say; read the difference.
"""
_INDENT = "    "
_UNSTABLE = (
    (re.compile(r"(127\.0\.0\.1(?:', |:))\d{4,5}\b"), r"\1{port}"),
    (re.compile(r"\b[0-9a-f]{64}\b"), "{sha256}"),
    (re.compile(r"/tmp/kd-shared-\w{8}"), "{folder}"),
    (re.compile(r"\bresult has \d+ bytes"), "result has {size} bytes"),  # it has times, whose digits vary
)
"""What differs from run to run -> what stands for it on the page."""

Entry = tuple[str, str]
"""(file below tests/, name of the test, of all its cases)."""
Page = dict[Entry, list[str]]
"""The messages of each test, in the order of their first characters."""
_begun: set[Entry] = set()
"""The tests whose messages this process has begun to write again."""


@dataclass(frozen=True, slots=True)
class CheckMessage:
    """Compares what one test hears with the golden page."""

    file: str
    test: str
    replaced: Mapping[str, str]
    """Strings that differ from run to run, such as a folder -> what stands for them on the page."""

    def __call__(self, said: object, *facts: object) -> None:
        """Check that a message names these facts (fields, numbers, names), and that its words are the page's."""
        check_facts(said, *facts)
        found, entry = self._stable(str(said)), (self.file, self.test)
        if os.environ.get(WRITE):
            _add_to_page(entry, found)
        assert found in read_page().get(entry, ()), f"{PAGE.name} lacks this of {entry}: {found!r}; {WRITE}=1 adds it"

    def _stable(self, text: str) -> str:
        for value in sorted(self.replaced, key=len, reverse=True):
            text = text.replace(value, self.replaced[value])
        for pattern, stand_in in _UNSTABLE:
            text = pattern.sub(stand_in, text)
        return "\n".join(line.rstrip() for line in text.strip("\n").splitlines() if line.strip())


def check_facts(said: object, *facts: object) -> None:
    """Check that a message names these facts (fields, numbers, names), whatever its words are."""
    text = str(said)
    missing = [str(fact) for fact in facts if not re.search(rf"(?<!\w){re.escape(str(fact))}(?!\w)", text)]
    assert not missing, f"{missing} not in the message {text!r}"


def _add_to_page(entry: Entry, text: str) -> None:
    """Add a message; two runs at once, such as those of `make test`, wait for each other."""
    folder = os.open(PAGE.parent, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        page = read_page()
        before = page.get(entry, []) if entry in _begun else []
        _begun.add(entry)
        write_page(page | {entry: [*before, *([] if text in before else [text])]})
    finally:
        os.close(folder)


def read_page() -> Page:
    """Return what the golden page holds; empty lines stand between the messages of a test."""
    page: Page = {}
    file, messages = "", list[str]()
    text = PAGE.read_text() if PAGE.is_file() else ""
    for block in re.split(r"\n{2,}", text.strip("\n")):
        if block.startswith("## "):
            file = block[3:]
        elif block.startswith("### "):
            messages = page.setdefault((file, block[4:]), [])
        elif file:
            messages.append("\n".join(line.removeprefix(_INDENT) for line in block.splitlines()))
    return page


def write_page(page: Page) -> None:
    """Write the golden page, in the order of files, tests and messages."""
    parts, last = [_HEAD], ""
    for (file, test), messages in sorted(page.items()):
        if file != last:
            parts.append(f"## {file}\n")
            last = file
        parts.append(f"### {test}\n")
        parts += ["".join(f"{_INDENT}{line}\n" for line in text.splitlines()) for text in sorted(messages)]
    PAGE.write_text("\n".join(parts))
