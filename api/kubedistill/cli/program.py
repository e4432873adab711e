"""What this program is called by: kubectl's users know it as `kubectl distill`."""

import sys
from pathlib import Path

_PLUGIN, _ALONE = "kubectl distill", "kubedistill"


def program() -> str:
    """The name under which it was started."""
    return _PLUGIN if Path(sys.argv[0]).name == "kubectl-distill" else _ALONE


def named(text: str) -> str:
    """A text whose commands are those that its reader has typed."""
    return text.replace(f"`{_ALONE} ", f"`{program()} ")
