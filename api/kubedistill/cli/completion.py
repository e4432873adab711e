"""kubectl_complete-distill: completion of `kubectl distill …` in a shell.

kubectl calls it with the words after `distill`, of which the last one is incomplete. It reads one completion per line,
and then :N, a number that says what else the shell may offer (0: files too, 4: nothing else).
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
    """Print the completions of the arguments of this program."""
    found = complete(sys.argv[1:])
    for one in found:
        say_line(one)
    say_line(f":{_NOTHING_ELSE if found else _FILES_TOO}")


def complete(words: list[str]) -> list[str]:
    """Return the completions of the last word."""
    line = [_PROGRAM, *(words or [""])]
    os.environ |= {
        _VARIABLE: "complete_bash",
        "COMP_WORDS": shlex.join(line),
        "COMP_CWORD": str(len(line) - 1),
    }
    output = io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.suppress(SystemExit):
        app(prog_name=_PROGRAM)
    return output.getvalue().split()
