from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from pulse_domain.strategies import STRATEGIES
from tests.unit.market_desk.desk_world import OWN, DeskWorld, Stores


@pytest.fixture(autouse=True)
def own_kinds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Strategies of the tests, as if they were shipped."""
    for kind, made in OWN.items():
        monkeypatch.setitem(STRATEGIES, kind, made)


@pytest.fixture
def stores() -> Stores:
    return Stores()


@pytest_asyncio.fixture
async def replayed(stores: Stores) -> AsyncIterator[DeskWorld]:
    """A desk on recorded prices."""
    async with DeskWorld(stores, recorded=True).running() as world:
        yield world
