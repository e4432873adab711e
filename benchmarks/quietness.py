"""How quiet the machine is, for benchmarks to print with their times."""

import subprocess
import sys
import time


def probe() -> float:
    """Return seconds that both cores take for a fixed piece of work."""
    began = time.monotonic()
    work = "x = 0\nfor i in range(6_000_000): x += i"
    both = [subprocess.Popen([sys.executable, "-c", work]) for _ in range(2)]
    for one in both:
        one.wait()
    return time.monotonic() - began
