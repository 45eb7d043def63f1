"""KotakBroker keeps the port's contract: over a real socket, against the simulated broker."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from random import Random

import pytest
from msgspec.structs import replace

from pulse_adapters.clock import SystemClock
from pulse_adapters.kotak.broker import KotakBroker
from pulse_adapters.kotak.sessions import KotakSessions
from pulse_adapters.simulator.kotak.serve import KotakSimulator
from pulse_domain.errors import BrokerRejected
from pulse_domain.instruments import Exchange, Instrument, InstrumentTerms
from pulse_domain.testing.contracts.broker import BrokerContract, BrokerVenue
from pulse_domain.testing.memory_sessions import InMemorySessions
from tests.unit.kotak.make import FEED, SETTINGS, seal, symbol_of
from tests.unit.kotak.simulated_kotak import log_in_there, simulated_kotak
from tests.unit.virtual.fixed_market import FixedMarket

NIFTY = InstrumentTerms(lot_size=65, tick_size=Decimal("0.10"), freeze_quantity=1800)
CRUDE = InstrumentTerms(
    lot_size=100, tick_size=Decimal("1"), freeze_quantity=10_000, units_per_broker_quantity=100
)


class KotakVenue:
    refuses_known_tags = False

    def __init__(
        self,
        simulator: KotakSimulator,
        market: FixedMarket,
        broker: KotakBroker,
        instrument: Instrument,
        terms: InstrumentTerms,
        price: Decimal,
    ) -> None:
        self._desk = simulator.desk
        self._market = market
        self.broker = broker
        self.instrument = instrument
        self.terms = terms
        self.price = price

    async def move_price(self, price: Decimal) -> None:
        self._market.set(self.instrument, price)
        await self._desk.deliver()
        await self._desk.match_resting()

    async def settle(self) -> None:
        await self._desk.deliver()
        await self._desk.durable()
        await asyncio.sleep(0.02)


@asynccontextmanager
async def open_venue(folder: Path, root: str, terms: InstrumentTerms, price: str) -> AsyncIterator[KotakVenue]:
    clock, store = SystemClock(), InMemorySessions()
    market = FixedMarket(clock, terms.tick_size)
    async with simulated_kotak(folder, market, terms.tick_size) as simulator:
        instrument = next(
            listing.instrument
            for listing in simulator.desk.catalog
            if listing.kind == "FUT" and listing.name == root
        )
        market.set(instrument, price)
        await log_in_there(simulator, SETTINGS, store)
        settings, sessions = replace(SETTINGS, login_url=simulator.url), KotakSessions(store, seal(), clock)
        broker = KotakBroker(settings, sessions, clock, Random(1), symbols=symbol_of, feed=FEED)
        try:
            yield KotakVenue(simulator, market, broker, instrument, terms, Decimal(price))
        finally:
            await broker.close()


class TestKotakBroker(BrokerContract):
    @pytest.fixture
    async def venue(self, tmp_path: Path) -> AsyncIterator[KotakVenue]:
        async with open_venue(tmp_path, "NIFTY", NIFTY, "25000.00") as venue:
            assert venue.instrument.exchange is Exchange.NFO
            yield venue


class TestKotakBrokerWhereItCountsLots(BrokerContract):
    @pytest.fixture
    async def venue(self, tmp_path: Path) -> AsyncIterator[KotakVenue]:
        async with open_venue(tmp_path, "CRUDEOIL", CRUDE, "6000") as venue:
            assert venue.instrument.exchange is Exchange.MCX
            yield venue

    async def test_ioc_that_cannot_fill_is_cancelled(self, venue: BrokerVenue) -> None:
        """Not on MCX, which takes DAY orders only."""
        with pytest.raises(BrokerRejected, match="DAY"):
            await super().test_ioc_that_cannot_fill_is_cancelled(venue)
