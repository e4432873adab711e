"""Filters for text that is printed: they escape control characters, so that a job cannot change its output.

A user who may create jobs chooses names, paths and messages that other users print. Escape sequences in them could
rewrite a terminal, line breaks could forge rows, and bidi controls could reorder text.
"""

import re
from typing import Final

_BIDI: Final = "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # Unicode's property Bidi_Control
_CONTROLS: Final = re.compile(f"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff{_BIDI}]")
_BREAKS: Final = re.compile("[\t\n]")
_SHORT: Final = {"\t": r"\t", "\n": r"\n", "\r": r"\r"}


def printable(text: str) -> str:
    r"""Return text with escapes for control characters and bidi controls, such as \u001b; keep tabs and newlines.

    The escapes are those of JSON, so that a line of JSON stays valid.
    """
    return _CONTROLS.sub(_escape, text)


def printable_line(text: str) -> str:
    """Return text on one line: printable, and with escapes for tabs and newlines too."""
    return _BREAKS.sub(_escape, printable(text))


def _escape(found: re.Match[str]) -> str:
    return _SHORT.get(found[0], f"\\u{ord(found[0]):04x}")
