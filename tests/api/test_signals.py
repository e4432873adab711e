"""A process of ours answers the signals that end it, whatever its parent ignored or blocked."""

import json
import subprocess
import sys

import pytest

from support.inherited_signals import INHERITED

SCRIPT = """
import json, signal
from kubedistill.signals import reset_inherited_signals
reset_inherited_signals()
numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD, signal.SIGHUP)
ignored = [one.name for one in numbers if signal.getsignal(one) is signal.SIG_IGN]
blocked = sorted(one.name for one in signal.pthread_sigmask(signal.SIG_BLOCK, ()))
print(json.dumps([ignored, blocked]))
"""


def started(*command: str) -> list[list[str]]:
    """Return which signals the process ignores and blocks after the reset."""
    whole = ["env", "--default-signal=HUP", *command, sys.executable, "-c", SCRIPT]  # these tests may run under nohup
    found = subprocess.run(whole, capture_output=True, text=True, check=True)
    return json.loads(found.stdout)


@pytest.mark.parametrize("inherited", INHERITED)
def test_inherited_signals_are_answered(inherited: str) -> None:
    assert started(*INHERITED[inherited]) == [[], []]


def test_nohup_is_respected() -> None:
    assert started("env", "--ignore-signal=HUP,INT") == [["SIGHUP"], []]
