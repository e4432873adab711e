"""Exports: the formats of an exported student. Each format is one file and a row in FORMATS."""

from collections.abc import Callable
from pathlib import Path

from kubedistill_runtime.export.safetensors import write_safetensors

FORMATS: dict[str, Callable[[Path, Path], None]] = {"Safetensors": write_safetensors}
