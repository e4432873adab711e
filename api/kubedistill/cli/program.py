"""The name of this program: kubedistill, or `kubectl distill` for users of kubectl."""

import sys
from pathlib import Path

_PLUGIN, _ALONE = "kubectl distill", "kubedistill"


def program() -> str:
    """Return the name with which the program was started."""
    return _PLUGIN if Path(sys.argv[0]).name == "kubectl-distill" else _ALONE


def with_program_name(text: str) -> str:
    """Return text in which all commands start with the name that the user has typed."""
    return text.replace(f"`{_ALONE} ", f"`{program()} ")
