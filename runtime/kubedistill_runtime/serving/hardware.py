"""Hardware: a description of a machine, equal for two machines of one kind."""

import math
import os
import platform
from pathlib import Path

_CPU_QUOTA = Path("/sys/fs/cgroup/cpu.max")
_ACCELERATORS = (Path("/dev/nvidiactl"), Path("/dev/kfd"))


def describe_processor() -> str:
    """Return the processor and the number of cores that this process may use."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.machine()}, {usable_cores()} cores"


def has_accelerators() -> bool:
    """Return whether this machine has a GPU driver; vLLM may still be built without GPU support."""
    return any(device.exists() for device in _ACCELERATORS)


def usable_cores() -> int:
    """Return the cores that this process may run on, or fewer if the pod's CPU limit is lower (cgroup v2 cpu.max)."""
    allowed = len(os.sched_getaffinity(0))
    if not _CPU_QUOTA.exists():
        return allowed
    quota, period = _CPU_QUOTA.read_text().split()
    return allowed if quota == "max" else max(1, min(allowed, math.ceil(int(quota) / int(period))))
