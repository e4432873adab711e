"""What is printed for people: text in which nothing is left that a terminal, a page or a reader's eye would obey.

Whoever may create a job chooses names, paths and messages that others print. Escape sequences in them would rewrite a
terminal, line breaks would forge rows, and bidi controls would show a text in another order than it has.
"""

import re
from typing import Final

_BIDI: Final = "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # Unicode's property Bidi_Control
_OBEYED: Final = re.compile(f"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff{_BIDI}]")
_BREAKS: Final = re.compile("[\t\n]")
_SHORT: Final = {"\t": r"\t", "\n": r"\n", "\r": r"\r"}


def printable(text: str) -> str:
    r"""Return a text with control characters and bidi controls as escapes, such as \u001b; tabs and newlines stay.

    The escapes are those of JSON, so that a line of JSON stays one.
    """
    return _OBEYED.sub(_escape, text)


def printable_line(text: str) -> str:
    """Return the same for what stays on one line: tabs and newlines are escapes too."""
    return _BREAKS.sub(_escape, printable(text))


def _escape(found: re.Match[str]) -> str:
    return _SHORT.get(found[0], f"\\u{ord(found[0]):04x}")
