"""kubedistill: distill large language models into small ones, from one manifest.

All names are imported on first use, so that `import kubedistill` is cheap.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"
__all__ = [
    "AsyncClient",
    "Client",
    "DistillationJob",
    "KubedistillError",
    "__version__",
    "distillation_job",
    "load_manifest",
]

_HOMES = {
    "AsyncClient": "kubedistill.client.asynchronous",
    "Client": "kubedistill.client.sync",
    "DistillationJob": "kubedistill.v1alpha1",
    "KubedistillError": "kubedistill.errors",
    "distillation_job": "kubedistill.client.from_arguments",
    "load_manifest": "kubedistill.manifest.loading",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'kubedistill' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
