"""The runtime's entry: how a whole run leaves when it is asked to."""

import signal
import subprocess
import sys

import pytest

SCRIPT = """
import os, signal
from kubedistill_runtime.__main__ import _exit
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, _exit)
try:
    os.kill(os.getpid(), signal.{first})
finally:
    os.kill(os.getpid(), signal.SIGINT)
    os.kill(os.getpid(), signal.SIGTERM)
    os.kill(os.getpid(), signal.SIGHUP)
    print("processes stopped")
"""


@pytest.mark.parametrize("first", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_second_signal_does_not_disturb_the_leaving(first: str) -> None:
    script = SCRIPT.format(first=first)
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (run.returncode, run.stdout, run.stderr) == (128 + signal.Signals[first], "processes stopped\n", "")
