"""Makes the examples' own code importable: `generator` and `pretraining` are next to the quickstart's data."""

import runpy
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
sys.path.insert(0, str(EXAMPLES / "quickstart"))


@pytest.fixture
def examples() -> Path:
    return EXAMPLES


@pytest.fixture
def write_data() -> Callable[[str, Path], None]:
    """Run an example's build_data.py into another folder."""

    def write(example: str, folder: Path) -> None:
        runpy.run_path(str(EXAMPLES / example / "build_data.py"))["main"](folder)

    return write
