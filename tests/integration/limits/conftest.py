from collections.abc import Iterator

import pytest

from pulse_adapters.embedded.redis import EmbeddedRedis


@pytest.fixture
def own_redis() -> Iterator[EmbeddedRedis]:
    """A server that a test may halt."""
    with EmbeddedRedis.start() as server:
        yield server
