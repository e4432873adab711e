"""Safetensors: the folder that transformers and vLLM load, as training left it."""

import shutil
from pathlib import Path


def write_safetensors(student: Path, target: Path) -> None:
    """Copy a student's model folder into an empty folder."""
    shutil.copytree(student, target, dirs_exist_ok=True)
