"""kubectl_complete-distill: how `kubectl distill …` is completed by the shell.

kubectl calls it with the words after `distill`, the last one unfinished, and reads one completion a line and then
:N, a number that says what else the shell may offer (0: files too, 4: nothing else).
"""

import contextlib
import io
import os
import shlex
import sys

from kubedistill.cli.app import app
from kubedistill.cli.output import say_line

_PROGRAM, _VARIABLE = "kubectl-distill", "_KUBECTL_DISTILL_COMPLETE"
_FILES_TOO, _NOTHING_ELSE = 0, 4


def main() -> None:
    """Print the completions of the words that this was called with."""
    found = complete(sys.argv[1:])
    for one in found:
        say_line(one)
    say_line(f":{_NOTHING_ELSE if found else _FILES_TOO}")


def complete(words: list[str]) -> list[str]:
    """The completions of the last word."""
    line = [_PROGRAM, *(words or [""])]
    os.environ |= {
        _VARIABLE: "complete_bash",
        "COMP_WORDS": shlex.join(line),
        "COMP_CWORD": str(len(line) - 1),
    }
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.suppress(SystemExit):
        app(prog_name=_PROGRAM)
    return said.getvalue().split()
