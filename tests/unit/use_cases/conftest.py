import pytest

from tests.unit.use_cases.desk import Desk


@pytest.fixture
def desk() -> Desk:
    return Desk()
