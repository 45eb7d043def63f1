"""ZerodhaBroker keeps the port's contract: the real SDK over a real socket, against the simulated broker."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from random import Random

import pytest
from msgspec.structs import replace

from pulse_adapters.clock import SystemClock
from pulse_adapters.simulator.kite.serve import KiteSimulator
from pulse_adapters.zerodha.broker import ZerodhaBroker
from pulse_adapters.zerodha.protection import OWN_LIMIT
from pulse_adapters.zerodha.settings import ZerodhaSettings
from pulse_domain.instruments import Exchange, Instrument, InstrumentTerms
from pulse_domain.testing.contracts.broker import BrokerContract
from pulse_domain.testing.memory_sessions import InMemorySessions
from tests.unit.virtual.fixed_market import FixedMarket
from tests.unit.zerodha.make import SETTINGS, sessions
from tests.unit.zerodha.simulated_kite import log_in_there, pointed_at, simulated_kite

# Futures of a small lot, where the broker counts units; and of a currency, where it counts lots.
NIFTY = InstrumentTerms(lot_size=65, tick_size=Decimal("0.10"), freeze_quantity=1800)
USDINR = InstrumentTerms(
    lot_size=1000, tick_size=Decimal("0.0025"), freeze_quantity=10_000_000, units_per_broker_quantity=1000
)


class ZerodhaVenue:
    refuses_known_tags = False

    def __init__(
        self,
        simulator: KiteSimulator,
        market: FixedMarket,
        broker: ZerodhaBroker,
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
async def open_venue(
    folder: Path, root: str, terms: InstrumentTerms, price: str, settings: ZerodhaSettings = SETTINGS
) -> AsyncIterator[ZerodhaVenue]:
    clock = SystemClock()
    market = FixedMarket(clock, terms.tick_size)
    async with simulated_kite(folder, market, terms.tick_size) as simulator:
        instrument = next(
            listing.instrument
            for listing in simulator.desk.catalog
            if listing.kind == "FUT" and listing.name == root
        )
        market.set(instrument, Decimal(price))
        store = InMemorySessions()
        await log_in_there(simulator, settings, store)
        broker = ZerodhaBroker(pointed_at(simulator, settings), sessions(store, clock), clock, Random(1))
        try:
            yield ZerodhaVenue(simulator, market, broker, instrument, terms, Decimal(price))
        finally:
            await broker.close()


class TestZerodhaBroker(BrokerContract):
    @pytest.fixture
    async def venue(self, tmp_path: Path) -> AsyncIterator[ZerodhaVenue]:
        async with open_venue(tmp_path, "NIFTY", NIFTY, "25000.00") as venue:
            assert venue.instrument.exchange is Exchange.NFO
            yield venue


class TestZerodhaBrokerWhereItCountsLots(BrokerContract):
    @pytest.fixture
    async def venue(self, tmp_path: Path) -> AsyncIterator[ZerodhaVenue]:
        async with open_venue(tmp_path, "USDINR", USDINR, "85.0000") as venue:
            assert venue.instrument.exchange is Exchange.CDS
            yield venue


class TestZerodhaBrokerWithOwnLimits(BrokerContract):
    @pytest.fixture
    async def venue(self, tmp_path: Path) -> AsyncIterator[ZerodhaVenue]:
        settings = replace(SETTINGS, market_protection=OWN_LIMIT)
        async with open_venue(tmp_path, "NIFTY", NIFTY, "25000.00", settings) as venue:
            yield venue
