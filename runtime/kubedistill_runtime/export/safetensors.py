"""Safetensors: the folder that transformers and vLLM load, as training left it."""

from pathlib import Path

from kubedistill_runtime.storage.unfinished import copy_folder


def write_safetensors(student: Path, target: Path) -> None:
    """Copy a student's model folder into an empty folder."""
    copy_folder(student, target)
