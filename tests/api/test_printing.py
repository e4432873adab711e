"""The filter of text that is printed: nothing is left that a terminal obeys, and everything else stays as it is."""

import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubedistill.errors import InvalidInput
from kubedistill.printing import printable, printable_line

SHOWN = {
    "\x1b[2J\x1b]0;title\x07": r"\u001b[2J\u001b]0;title\u0007",
    "\x1b]52;c;cm0gLXJm\x1b\\": "\\u001b]52;c;cm0gLXJm\\u001b\\",  # OSC 52 writes the clipboard
    "\x9b31mred": r"\u009b31mred",  # C1's one-byte CSI
    "over\rwritten\x7f\x08": r"over\rwritten\u007f\u0008",
    "user\u202egnp.exe": r"user\u202egnp.exe",
    "\u2066a\u2069\u200fb\u061c": r"\u2066a\u2069\u200fb\u061c",
    "a\u2028b\u0085c": r"a\u2028b\u0085c",
    "half\ud83d": r"half\ud83d",
    "naïve 漢字 😀 👩\u200d🔬 \\u001b": "naïve 漢字 😀 👩\u200d🔬 \\u001b",
}


@pytest.mark.parametrize("text", SHOWN, ids=ascii)
def test_what_would_be_obeyed_is_shown(text: str) -> None:
    assert printable(text) == printable_line(text) == SHOWN[text]


def test_tabs_and_newlines_stay_where_lines_may_be() -> None:
    assert printable("a\n\tb") == "a\n\tb"
    assert printable_line("a\n\tb") == r"a\n\tb"


@given(text=st.text())
def test_all_that_is_left_can_be_printed(text: str) -> None:
    shown = printable(text)
    assert not [one for one in shown if unicodedata.category(one) in ("Cc", "Cs", "Zl", "Zp") and one not in "\t\n"]
    assert not [one for one in shown if unicodedata.bidirectional(one) in BIDI]
    assert printable(shown) == shown, "what is shown is not escaped again"
    assert "\n" not in printable_line(text)
    assert len(printable_line(text).splitlines()) <= 1


BIDI = ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")


@given(value=st.text())
def test_a_line_of_json_says_what_it_said(value: str) -> None:
    line = json.dumps({"message": value}, ensure_ascii=False)
    assert json.loads(printable_line(line), strict=False) == {"message": value}


def test_an_error_is_printable_wherever_it_is_shown() -> None:
    error = InvalidInput("no\x1b[2J\nsecond", at="spec\x9b", fix="\u202e")
    assert str(error) == "spec\\u009b: no\\u001b[2J\nsecond. \\u202e"
