"""GPUs that are declared to vLLM and need not be there, so that its own checks of a configuration run anywhere.

Call declare_gpus before anything of vLLM is imported. It declares NVIDIA's platform with the GPUs of a pool, and puts
empty modules in place of compiled extensions that a build without CUDA lacks. Nothing is computed on such GPUs.
"""

import re
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from kubedistill.contract import Hardware

if TYPE_CHECKING:
    from torch.library import Library
    from vllm.platforms.cuda import NonNvmlCudaPlatform

_CAPABILITIES: tuple[tuple[str, tuple[int, int]], ...] = (
    (r"B300|GB300", (10, 3)),
    (r"B100|B200|GB200", (10, 0)),
    (r"GB10", (12, 1)),
    (r"RTX PRO|RTX 50\d\d", (12, 0)),
    (r"H100|H200|H800|H20|GH200", (9, 0)),
    (r"L4|L40|L40S|L20|RTX 40\d\d|RTX \d+ ADA", (8, 9)),
    (r"A10|A10G|A16|A40|A2|A6000|A5000|A4000|RTX 30\d\d", (8, 6)),
    (r"A100|A800|A30", (8, 0)),
    (r"T4|RTX 20\d\d|QUADRO RTX|TITAN RTX|GTX 16\d\d", (7, 5)),
    (r"V100|V100S|TITAN V", (7, 0)),
    (r"P4|P40|GTX 10\d\d", (6, 1)),
    (r"P100", (6, 0)),
)
"""Names of GPUs and their compute capability: https://developer.nvidia.com/cuda-gpus."""
_UNKNOWN, _UNKNOWN_MEMORY = (9, 0), 80 * 2**30
_FP8_CAPABILITY = 89
_EXTENSIONS = ("_C_stable_libtorch", "vllm_flash_attn._vllm_fa2_C", "vllm_flash_attn._vllm_fa3_C")
_ANSWERS = re.compile(r"cutlass_.*(_supports_|_supported)")
"""Compiled functions of vLLM that say what a compute capability can do."""


def compute_capability(accelerator: str) -> tuple[int, int]:
    """Return the compute capability of a GPU by its name; of one that is not known, that of an H100."""
    name = re.sub(r"[-_]", " ", accelerator).upper()
    return next((found for names, found in _CAPABILITIES if re.search(rf"\b({names})\b", name)), _UNKNOWN)


@dataclass(slots=True)
class DeclaredGpus:
    """The GPUs that vLLM sees; `hardware` may change between two checks."""

    hardware: Hardware
    kernels: "Library | None" = None
    """The definitions of what is not compiled; they end with this object."""


def declare_gpus(hardware: Hardware) -> DeclaredGpus:
    """Make vLLM see the GPUs of one pod, and return them."""
    _replace_missing_extensions()
    import vllm.platforms

    declared = DeclaredGpus(hardware)
    vllm.platforms._current_platform = _platform(declared)
    declared.kernels = _define_missing_kernels()
    _inspect_models_in_process()
    return declared


def _replace_missing_extensions() -> None:
    """Put an empty module in place of each compiled extension that this build does not have."""
    package = find_spec("vllm")
    assert package is not None, "vLLM is installed"
    folder = Path(str(package.origin)).parent
    for name in _EXTENSIONS:
        if not list(folder.glob(f"{name.replace('.', '/')}*.so")):
            sys.modules[f"vllm.{name}"] = ModuleType(f"vllm.{name}")


def _platform(declared: DeclaredGpus) -> "NonNvmlCudaPlatform":
    from vllm.platforms.cuda import NonNvmlCudaPlatform
    from vllm.platforms.interface import DeviceCapability

    answers = {
        "get_device_capability": lambda *_, **__: DeviceCapability(*compute_capability(declared.hardware.accelerator)),
        "get_device_name": lambda *_, **__: declared.hardware.accelerator,
        "get_device_total_memory": lambda *_, **__: declared.hardware.memory_per_gpu or _UNKNOWN_MEMORY,
        "is_fully_connected": lambda *_, **__: True,
        "device_count": lambda *_, **__: declared.hardware.gpus_per_pod,
    }
    methods = {name: staticmethod(answer) for name, answer in answers.items()}
    return type("DeclaredPlatform", (NonNvmlCudaPlatform,), methods)()


def _define_missing_kernels() -> "Library":
    """Define the compiled functions that say what a compute capability can do, if this build does not have them."""
    import torch
    from torch.library import Library
    from vllm import _custom_ops

    library = Library("_C", "FRAGMENT")
    for name in filter(_ANSWERS.match, dir(_custom_ops)):
        if not hasattr(torch.ops._C, name):
            library.define(f"{name}(int capability) -> bool")
            library.impl(name, lambda capability: capability >= _FP8_CAPABILITY, "CompositeExplicitAutograd")
    return library


def _inspect_models_in_process() -> None:
    """Let vLLM read the properties of a model's class here: it would start a process of 15 s to protect real GPUs."""
    from vllm.model_executor.models import registry

    def inspect(model: registry._LazyRegisteredModel) -> registry._ModelInfo:
        return registry._ModelInfo.from_model_cls(model.load_model_cls())

    registry._LazyRegisteredModel.inspect_model_cls = inspect
