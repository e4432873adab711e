"""Makes what these tests share importable: `tiny` models and samples, and the `dense` forms of the losses."""

import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    """Sums in one order, whatever the machine."""
    torch.set_num_threads(1)
