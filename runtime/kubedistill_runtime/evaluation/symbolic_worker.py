"""The process in which math-verify compares answers, so that a hang or a full memory affects nothing else.

It reads a JSON line `[answer, reference]` from stdin, and writes one byte: `r` when it is ready, then `1` or `0`.
"""

import json
import logging
import os
import re
import resource
import sys

_MOST_BYTES = 4 * 2**30
"""Address space; importing takes about 1 GiB of it."""
_WORD_OR_DOLLAR = re.compile(r"(?<![\\A-Za-z])[A-Za-z]{2}|(?<!\\)\$")


def main() -> None:
    """Answer until stdin ends, which it does when the parent ends."""
    replies = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # output of libraries must not mix with replies
    logging.disable()  # each comparison would warn that the caller sets the time limit
    from math_verify import parse, verify

    resource.setrlimit(resource.RLIMIT_AS, (_MOST_BYTES, _MOST_BYTES))

    def are_equal(answer: str, reference: str) -> bool:
        given, wanted = (parse(_as_latex(text), parsing_timeout=None) for text in (answer, reference))
        return bool(given and wanted) and verify(wanted, given, timeout_seconds=None)

    replies.write(b"r")
    for line in sys.stdin:
        try:
            equal = are_equal(*json.loads(line))
        except Exception:  # sympy raises any error; answers that can't be compared are not equal
            equal = False
        replies.write(b"1" if equal else b"0")


def _as_latex(text: str) -> str:
    """Return a formula between dollar signs, so that all of it is parsed; a string with a unit stays unchanged."""
    return text if _WORD_OR_DOLLAR.search(text) else f"${text}$"


if __name__ == "__main__":
    main()
