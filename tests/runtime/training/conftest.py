"""What the training tests share."""

import pytest
import torch


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    """Sum in one order, whatever the machine."""
    torch.set_num_threads(1)
