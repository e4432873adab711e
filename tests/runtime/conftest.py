"""What the tests of the runtime's rooms share."""

from pathlib import Path

import pytest

from workshop import Workshop, make_workshop


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    return make_workshop(tmp_path)
