"""What the tests of endpoints share."""

from collections.abc import Iterator

import pytest

from support.endpoint_server import EndpointServer, endpoint_server


@pytest.fixture
def server() -> Iterator[EndpointServer]:
    with endpoint_server() as server:
        yield server
