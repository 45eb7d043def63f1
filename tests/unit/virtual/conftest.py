from decimal import Decimal
from random import Random

import pytest

from pulse_adapters.virtual.exchange import VirtualExchange
from pulse_domain.testing.fake_clock import FakeClock
from tests.unit.virtual.fixed_market import FixedMarket
from tests.unit.virtual.tickets import INFY


@pytest.fixture
def clock() -> FakeClock:
    """Sleeps pass at once; a test that needs time to stand still overrides it."""
    return FakeClock(auto=True)


@pytest.fixture
def market(clock) -> FixedMarket:
    market = FixedMarket(clock)
    market.set(INFY, Decimal(100))
    return market


@pytest.fixture
async def exchange(clock, market):
    exchange = VirtualExchange(market, clock, Random(1))
    yield exchange
    await exchange.close()
