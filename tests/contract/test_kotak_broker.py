"""KotakBroker keeps the port's contract: over a real socket, against a server by the broker's documents.

They run with the broker's SDK, and with the same requests made without it.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from random import Random

import pytest
from msgspec.structs import replace

from pulse_adapters.clock import SystemClock
from pulse_adapters.kotak.broker import KotakBroker
from pulse_adapters.kotak.client import choose_client
from pulse_adapters.kotak.login import log_in, stored_credentials
from pulse_adapters.kotak.sessions import KotakSessions
from pulse_adapters.kotak.settings import ClientKind
from pulse_domain.errors import BrokerRejected
from pulse_domain.instruments import Instrument, InstrumentTerms
from pulse_domain.testing.contracts.broker import BrokerContract, BrokerVenue
from pulse_domain.testing.memory_sessions import InMemorySessions
from tests.contract.kotak_server import KotakServer, Traded, kotak_server
from tests.unit.kotak.make import FEED, SETTINGS, seal, symbol_of
from tests.unit.virtual.fixed_market import FixedMarket

NIFTY = InstrumentTerms(lot_size=65, tick_size=Decimal("0.10"), freeze_quantity=1800)
CRUDE = InstrumentTerms(
    lot_size=100, tick_size=Decimal("1"), freeze_quantity=10_000, units_per_broker_quantity=100
)


class KotakVenue:
    refuses_known_tags = False

    def __init__(
        self,
        server: KotakServer,
        market: FixedMarket,
        broker: KotakBroker,
        instrument: Instrument,
        terms: InstrumentTerms,
        price: Decimal,
    ) -> None:
        self._server = server
        self._market = market
        self.broker = broker
        self.instrument = instrument
        self.terms = terms
        self.price = price

    async def move_price(self, price: Decimal) -> None:
        self._market.set(self.instrument, price)
        await self._server.exchange.match_resting()

    async def settle(self) -> None:
        await asyncio.sleep(0.02)


@asynccontextmanager
async def open_venue(
    name: str, terms: InstrumentTerms, price: str, kind: ClientKind
) -> AsyncIterator[KotakVenue]:
    clock, instrument, store = SystemClock(), Instrument.parse(name), InMemorySessions()
    market = FixedMarket(clock, terms.tick_size)
    market.set(instrument, price)
    symbol = await symbol_of(instrument)
    assert symbol is not None
    async with kotak_server(market, {symbol: Traded(instrument=instrument, terms=terms)}) as server:
        settings = replace(SETTINGS, login_url=server.base_url, client=kind)
        make, credentials = choose_client(kind), stored_credentials(settings, clock)
        assert credentials is not None
        await log_in(settings, credentials, make, store, clock)
        sessions = KotakSessions(store, seal(), clock)
        broker = KotakBroker(settings, make, sessions, clock, Random(1), symbols=symbol_of, feed=FEED)
        try:
            yield KotakVenue(server, market, broker, instrument, terms, Decimal(price))
        finally:
            await broker.close()


class TestKotakBroker(BrokerContract):
    @pytest.fixture
    async def venue(self) -> AsyncIterator[KotakVenue]:
        async with open_venue("NFO:NIFTY26DECFUT", NIFTY, "25000.00", ClientKind.REST) as venue:
            yield venue


class TestKotakBrokerBySdk(BrokerContract):
    @pytest.fixture
    async def venue(self) -> AsyncIterator[KotakVenue]:
        async with open_venue("NFO:NIFTY26DECFUT", NIFTY, "25000.00", ClientKind.SDK) as venue:
            yield venue


class TestKotakBrokerWhereItCountsLots(BrokerContract):
    @pytest.fixture
    async def venue(self) -> AsyncIterator[KotakVenue]:
        async with open_venue("MCX:CRUDEOIL26DECFUT", CRUDE, "6000", ClientKind.REST) as venue:
            yield venue

    async def test_ioc_that_cannot_fill_is_cancelled(self, venue: BrokerVenue) -> None:
        """Not on MCX, which takes DAY orders only."""
        with pytest.raises(BrokerRejected, match="DAY"):
            await super().test_ioc_that_cannot_fill_is_cancelled(venue)
