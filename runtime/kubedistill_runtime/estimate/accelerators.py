"""Accelerators: what each kind can compute and read per second, and how much of it engines and training reach."""

import re
from dataclasses import dataclass

from kubedistill.contract import Hardware


@dataclass(frozen=True, slots=True)
class Accelerator:
    """One device, by its data sheet: dense 16-bit floating-point operations and bytes of memory, per second."""

    operations: float
    bandwidth: float


_TERA, _GIGA = 1e12, 1e9
# Words of a name, all in lower case; the first row whose words are all in it is taken.
_TABLE: tuple[tuple[tuple[str, ...], Accelerator], ...] = (
    (("gb200",), Accelerator(2500 * _TERA, 8000 * _GIGA)),
    (("b200",), Accelerator(2250 * _TERA, 8000 * _GIGA)),
    (("h200",), Accelerator(989 * _TERA, 4800 * _GIGA)),
    (("h100", "pcie"), Accelerator(756 * _TERA, 2000 * _GIGA)),
    (("h100",), Accelerator(989 * _TERA, 3350 * _GIGA)),
    (("a100", "40gb"), Accelerator(312 * _TERA, 1555 * _GIGA)),
    (("a100",), Accelerator(312 * _TERA, 2039 * _GIGA)),
    (("l40s",), Accelerator(362 * _TERA, 864 * _GIGA)),
    (("l4",), Accelerator(121 * _TERA, 300 * _GIGA)),
    (("a10g",), Accelerator(70 * _TERA, 600 * _GIGA)),
    (("rtx", "4090"), Accelerator(165 * _TERA, 1008 * _GIGA)),
)
CPU_CORE = Accelerator(125 * _GIGA, 10 * _GIGA)
"""One core with AVX-512, in float32."""
PREFILL_SHARE, DECODE_SHARE, TRAINING_SHARE = 0.5, 0.6, 0.35
"""Shares of the data sheet that are reached: operations in prompts, bandwidth in answers, operations in training."""


def find_accelerator(hardware: Hardware) -> Accelerator | None:
    """Return the device of a kind of hardware; None if its name is not in the table, or for a part of one."""
    if not hardware.has_gpus:
        return CPU_CORE
    words = re.split(r"[^a-z0-9]+", hardware.accelerator.lower())
    if "mig" in words:  # a part of a GPU
        return None
    return next((found for needed, found in _TABLE if set(needed) <= set(words)), None)
