"""What brokers tell of market and account keeps the port's contract: the double, and adapters at simulators."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from random import Random

import pytest
from kiteconnect import KiteConnect

from pulse_adapters.clock import SystemClock
from pulse_adapters.kotak.broker import KotakBroker
from pulse_adapters.simulator.faults import Call, FaultKind, FaultRule
from pulse_adapters.simulator.kite.serve import KiteSimulator
from pulse_adapters.simulator.kotak import names as kotak_names
from pulse_adapters.simulator.kotak.serve import KotakSimulator
from pulse_adapters.simulator.prices import Pinned
from pulse_adapters.zerodha.broker import ZerodhaBroker
from pulse_domain.account import Holding
from pulse_domain.instruments import Exchange, Instrument, InstrumentTerms
from pulse_domain.orders.model import Product, Side
from pulse_domain.ports.broker_reads import BrokerHolding, BrokerPosition
from pulse_domain.testing.contracts.broker_reads import BrokerReadsContract
from pulse_domain.testing.contracts.circuit_reads import CircuitReadsContract
from pulse_domain.testing.fake_clock import FakeClock
from pulse_domain.testing.memory_circuits import InMemoryCircuits
from pulse_domain.testing.memory_reads import InMemoryReads
from pulse_domain.testing.memory_sessions import InMemorySessions
from tests.unit.kotak.make import PATIENCE_S, ticket
from tests.unit.kotak.make import SETTINGS as KOTAK_SETTINGS
from tests.unit.kotak.make import make_broker as make_kotak_broker
from tests.unit.kotak.simulated_kotak import log_in_there as log_in_at_kotak
from tests.unit.kotak.simulated_kotak import simulated_kotak
from tests.unit.virtual.fixed_market import FixedMarket
from tests.unit.zerodha.make import API_KEY, SETTINGS, sessions
from tests.unit.zerodha.simulated_kite import log_in_there, pointed_at, simulated_kite

INFY = Instrument.parse("NSE:INFY")
NOWHERE = Instrument.parse("NSE:NOWHERE")
PRICE = Decimal(100)


class MemoryVenue:
    unpriced = NOWHERE
    priced = (INFY, Instrument.parse("NSE:TCS"))
    held = (INFY, 40)
    lot = 1
    product = "CNC"

    def __init__(self) -> None:
        self.reads = InMemoryReads(FakeClock())
        self.reads.held.append(BrokerHolding(instrument=INFY, quantity=40, average_price=PRICE))

    async def set_price(self, instrument: Instrument, price: Decimal, *, bid: Decimal, ask: Decimal) -> None:
        self.reads.set(instrument, price, bid=bid, ask=ask)

    async def trade(self, instrument: Instrument, quantity: int) -> Decimal:
        before = sum(position.quantity for position in self.reads.open)
        self.reads.open = [
            BrokerPosition(
                instrument=instrument, product=self.product, quantity=before + quantity, average_price=PRICE
            )
        ]
        return PRICE

    async def fall_silent(self) -> None:
        self.reads.down = True


class TestInMemoryReads(BrokerReadsContract):
    @pytest.fixture
    def venue(self) -> MemoryVenue:
        return MemoryVenue()


class MemoryCircuits:
    unpriced = NOWHERE
    priced = (INFY, Instrument.parse("NSE:TCS"))

    def __init__(self) -> None:
        self.circuits = InMemoryCircuits()

    async def limit_around(self, instrument: Instrument, price: Decimal) -> None:
        self.circuits.limits[instrument] = (price - price / 10, price + price / 10)

    async def fall_silent(self) -> None:
        self.circuits.down = True


class TestInMemoryCircuits(CircuitReadsContract):
    @pytest.fixture
    def venue(self) -> MemoryCircuits:
        return MemoryCircuits()


class KiteVenue:
    """units: what one of the broker's quantity stands for."""

    unpriced = NOWHERE
    held = (INFY, 40)
    product = "NRML"

    def __init__(
        self,
        simulator: KiteSimulator,
        broker: ZerodhaBroker,
        priced: tuple[Instrument, Instrument],
        lot: int,
        units: int,
    ) -> None:
        self.reads = self.circuits = broker.reads
        self.priced = priced
        self.lot = lot
        self._units = units
        self._simulator = simulator

    async def set_price(self, instrument: Instrument, price: Decimal, *, bid: Decimal, ask: Decimal) -> None:
        self._simulator.desk.prices.pin(instrument, Pinned(last_price=price, bid=bid, ask=ask))

    async def limit_around(self, instrument: Instrument, price: Decimal) -> None:
        # The day before, of which there is nothing, closed at the first price.
        self._simulator.desk.prices.pin(instrument, Pinned(last_price=price))

    async def trade(self, instrument: Instrument, quantity: int) -> Decimal:
        self._simulator.desk.prices.pin(instrument, Pinned(last_price=PRICE))
        session = self._simulator.face.sessions.current()
        assert session is not None
        kite = KiteConnect(API_KEY, session.access_token, root=self._simulator.url)
        await asyncio.to_thread(
            kite.place_order,
            "regular",
            instrument.exchange.value,
            instrument.symbol,
            "BUY" if quantity > 0 else "SELL",
            abs(quantity) // self._units,
            self.product,
            "LIMIT",
            price=float(PRICE),
        )
        await self._simulator.desk.deliver()
        kite.reqsession.close()
        return PRICE

    async def fall_silent(self) -> None:
        self._simulator.face.sessions.end_all()


@asynccontextmanager
async def kite_venue(folder: Path, exchange: Exchange, units: int) -> AsyncIterator[KiteVenue]:
    clock = SystemClock()
    owned = Holding(instrument=INFY, quantity=40, average_price=Decimal("1400.5"))
    async with simulated_kite(folder, FixedMarket(clock), holdings=(owned,)) as simulator:
        listed = [
            listing
            for listing in simulator.desk.catalog
            if listing.kind == "FUT" and listing.instrument.exchange is exchange
        ]
        store = InMemorySessions()
        await log_in_there(simulator, SETTINGS, store)
        broker = ZerodhaBroker(pointed_at(simulator, SETTINGS), sessions(store, clock), clock, Random(1))
        try:
            yield KiteVenue(
                simulator,
                broker,
                (listed[0].instrument, listed[1].instrument),
                lot=listed[0].lot_size * units,
                units=units,
            )
        finally:
            await broker.close()


class TestZerodhaReads(BrokerReadsContract, CircuitReadsContract):
    @pytest.fixture
    async def venue(self, tmp_path: Path) -> AsyncIterator[KiteVenue]:
        async with kite_venue(tmp_path, Exchange.NFO, units=1) as venue:
            assert venue.lot > 1
            yield venue


class TestZerodhaReadsWhereItCountsLots(BrokerReadsContract, CircuitReadsContract):
    @pytest.fixture
    async def venue(self, tmp_path: Path) -> AsyncIterator[KiteVenue]:
        async with kite_venue(tmp_path, Exchange.CDS, units=1000) as venue:
            yield venue


class KotakVenue:
    """units: what one of the broker's quantity stands for."""

    unpriced = NOWHERE
    held = (INFY, 40)
    product = "NRML"

    def __init__(
        self,
        simulator: KotakSimulator,
        broker: KotakBroker,
        priced: tuple[Instrument, Instrument],
        lot: int,
        units: int,
    ) -> None:
        self.reads = self.circuits = broker.reads
        self.priced = priced
        self.lot = lot
        self._units = units
        self._broker = broker
        self._simulator = simulator

    async def set_price(self, instrument: Instrument, price: Decimal, *, bid: Decimal, ask: Decimal) -> None:
        self._simulator.desk.prices.pin(instrument, Pinned(last_price=price, bid=bid, ask=ask))

    async def limit_around(self, instrument: Instrument, price: Decimal) -> None:
        # The day before, of which there is nothing, closed at the first price.
        self._simulator.desk.prices.pin(instrument, Pinned(last_price=price))

    async def trade(self, instrument: Instrument, quantity: int) -> Decimal:
        self._simulator.desk.prices.pin(instrument, Pinned(last_price=PRICE))
        order = ticket(
            instrument=instrument,
            side=Side.BUY if quantity > 0 else Side.SELL,
            quantity=abs(quantity),
            product=Product.NRML,
            limit_price=PRICE,
            terms=InstrumentTerms(units_per_broker_quantity=self._units),
        )
        await self._broker.place(order, timeout_s=PATIENCE_S)
        await self._simulator.desk.deliver()
        return PRICE

    async def fall_silent(self) -> None:
        self._simulator.desk.faults.add([FaultRule(kind=FaultKind.DROP_BEFORE, call=Call.READ, times=None)])


@asynccontextmanager
async def kotak_venue(folder: Path, exchange: Exchange) -> AsyncIterator[KotakVenue]:
    clock = SystemClock()
    owned = Holding(instrument=INFY, quantity=40, average_price=Decimal("1400.5"))
    async with simulated_kotak(folder, FixedMarket(clock), holdings=(owned,)) as simulator:
        catalog = simulator.desk.catalog

        async def symbol(instrument: Instrument) -> str | None:
            listing = catalog.find(instrument)
            return None if listing is None else kotak_names.trading_symbol(listing)

        async def number(instrument: Instrument) -> str | None:
            listing = catalog.find(instrument)
            # One that the broker does not know makes it refuse the whole request.
            return "nse_cm|99999999" if listing is None else kotak_names.neo_symbol(listing)

        listed = [
            listing for listing in catalog if listing.kind == "FUT" and listing.instrument.exchange is exchange
        ]
        units = catalog.contracts.multiplier(listed[0].instrument)
        store = InMemorySessions()
        await log_in_at_kotak(simulator, KOTAK_SETTINGS, store)
        broker = await make_kotak_broker(simulator.url, store=store, symbols=symbol, tokens=number)
        try:
            yield KotakVenue(
                simulator,
                broker,
                (listed[0].instrument, listed[1].instrument),
                lot=listed[0].lot_size * units,
                units=units,
            )
        finally:
            await broker.close()


class TestKotakReads(BrokerReadsContract, CircuitReadsContract):
    @pytest.fixture
    async def venue(self, tmp_path: Path) -> AsyncIterator[KotakVenue]:
        async with kotak_venue(tmp_path, Exchange.NFO) as venue:
            yield venue


class TestKotakReadsWhereItCountsLots(BrokerReadsContract, CircuitReadsContract):
    @pytest.fixture
    async def venue(self, tmp_path: Path) -> AsyncIterator[KotakVenue]:
        async with kotak_venue(tmp_path, Exchange.MCX) as venue:
            assert venue.lot > 1
            yield venue
