"""Reasoning in the text of a reply: remove it where a server has not separated it from the answer."""

import re

from kubedistill_runtime.chat.template import REASONING


def remove_reasoning(text: str) -> str:
    """Return the answer in a reply: what follows the reasoning at its start; empty if the reasoning never ended.

    A template that opens the reasoning in the prompt leaves only the closing tag, which then has a line of its own.
    """
    head = text.lstrip()
    for opening, closing in REASONING:
        if head.startswith(opening):
            return head.rpartition(closing)[2].lstrip() if closing in head else ""
    for opening, closing in REASONING:
        lines = list(re.finditer(rf"^[ \t]*{re.escape(closing)}[ \t\r]*$", text, re.MULTILINE))
        if lines and opening not in text:  # a reply with both shows them to its reader
            return text[lines[-1].end() :].lstrip()
    return text
