import pytest

from tests.unit.workers.floor import Floor


@pytest.fixture
def floor() -> Floor:
    return Floor()
