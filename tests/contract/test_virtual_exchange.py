"""The virtual exchange, its feeds and its instrument master keep the ports' contracts."""

from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from random import Random

import pytest

from pulse_adapters.feeds.recordings import FeedFile
from pulse_adapters.feeds.replay import ReplayFeed
from pulse_adapters.feeds.synthetic import SyntheticFeed
from pulse_adapters.virtual.broker import VirtualBroker
from pulse_adapters.virtual.exchange import VirtualExchange
from pulse_adapters.virtual.instrument_master import VirtualInstrumentMaster
from pulse_domain.account import Account, AccountSettings
from pulse_domain.charges import ZERODHA
from pulse_domain.instruments import Instrument, InstrumentTerms
from pulse_domain.orders.model import OrderType, Product, Side, Validity
from pulse_domain.ports.broker import OrderTicket
from pulse_domain.ports.instrument_master import InstrumentMaster
from pulse_domain.ports.market_data import MarketData
from pulse_domain.testing.contracts.broker import BrokerContract
from pulse_domain.testing.contracts.instrument_master import InstrumentMasterContract
from pulse_domain.testing.contracts.market_data import MarketDataContract
from pulse_domain.testing.fake_clock import FakeClock, settle
from pulse_domain.testing.memory_reads import InMemoryReads
from tests.unit.virtual.fixed_market import FixedMarket

NIFTY = Instrument.parse("NFO:NIFTY26NOVFUT")
RELIANCE = Instrument.parse("NSE:RELIANCE")
TCS = Instrument.parse("NSE:TCS")


def rich() -> Account:
    """Of somebody whom nothing is refused for want of money."""
    account = Account(AccountSettings(charges=ZERODHA))
    account.open(Decimal(10**9))
    return account


class VirtualVenue:
    instrument = NIFTY
    terms = InstrumentTerms(lot_size=65, tick_size=Decimal("0.10"), freeze_quantity=1800)
    price = Decimal("25000.00")
    refuses_known_tags = True

    def __init__(self, account: Account | None = None) -> None:
        clock = FakeClock(auto=True)
        self.market = FixedMarket(clock, tick_size=self.terms.tick_size)
        self.market.set(NIFTY, self.price)
        self.broker = VirtualExchange(self.market, clock, Random(1), account=account)

    async def move_price(self, price: Decimal) -> None:
        self.market.set(NIFTY, price)
        await self.broker.match_resting()

    async def settle(self) -> None:
        await settle()


class TestVirtualExchange(BrokerContract):
    @pytest.fixture
    async def venue(self):
        venue = VirtualVenue()
        yield venue
        await venue.broker.close()


class TestVirtualExchangeWithAnAccount(BrokerContract):
    @pytest.fixture
    async def venue(self):
        account = rich()
        venue = VirtualVenue(account)
        yield venue
        await venue.broker.close()
        account.check()


class ProxyVenue:
    instrument = NIFTY
    terms = VirtualVenue.terms
    price = VirtualVenue.price
    refuses_known_tags = True

    def __init__(self, account: Account | None = None) -> None:
        self._clock = FakeClock(auto=True)
        self._reads = InMemoryReads(self._clock)
        self._set(self.price)
        self.broker = VirtualBroker(self._reads, self._clock, Random(1), account=account)

    def _set(self, price: Decimal) -> None:
        tick = self.terms.tick_size
        self._reads.set(NIFTY, price, bid=price - tick, ask=price + tick)

    async def move_price(self, price: Decimal) -> None:
        self._set(price)
        # To the next poll: in between it goes by what it knows.
        await self._clock.sleep(1.0)
        await self.broker.match_resting()

    async def settle(self) -> None:
        await settle()


class TestVirtualBroker(BrokerContract):
    @pytest.fixture
    async def venue(self):
        venue = ProxyVenue()
        yield venue
        await venue.broker.close()


class TestVirtualBrokerWithAnAccount(BrokerContract):
    @pytest.fixture
    async def venue(self):
        account = rich()
        venue = ProxyVenue(account)
        yield venue
        await venue.broker.close()
        account.check()


class FeedVenue:
    def __init__(self, clock: FakeClock, market: MarketData, tick_size: Decimal, *, complete: bool) -> None:
        self._clock = clock
        self.market = market
        self.instrument = RELIANCE
        self.tick_size = tick_size
        self.without_price = None if complete else TCS

    def now(self) -> datetime:
        return self._clock.now()

    async def advance(self, seconds: float) -> None:
        await self._clock.advance(seconds)


class TestSyntheticFeed(MarketDataContract):
    @pytest.fixture
    def venue(self) -> FeedVenue:
        clock = FakeClock()
        feed = SyntheticFeed(clock, seed=5)
        return FeedVenue(clock, feed, feed.tick_size(RELIANCE), complete=True)


class TestReplayFeed(MarketDataContract):
    @pytest.fixture
    def venue(self, candle_file: Path) -> FeedVenue:
        clock = FakeClock()
        feed = ReplayFeed(clock, {RELIANCE: FeedFile(candle_file)})
        return FeedVenue(clock, feed, Decimal("0.05"), complete=False)


class MasterVenue:
    cash = RELIANCE
    derivative = NIFTY

    def __init__(self, master: InstrumentMaster, unknown: Instrument | None) -> None:
        self.master = master
        self.unknown = unknown


class TestVirtualInstrumentMaster(InstrumentMasterContract):
    @pytest.fixture
    def venue(self) -> MasterVenue:
        return MasterVenue(VirtualInstrumentMaster(), None)


class TestVirtualInstrumentMasterOnAReplay(InstrumentMasterContract):
    @pytest.fixture
    def venue(self, candle_file: Path) -> MasterVenue:
        file = FeedFile(candle_file)
        feed = ReplayFeed(FakeClock(), {RELIANCE: file, NIFTY: file})
        return MasterVenue(VirtualInstrumentMaster(feed.tick_size), TCS)


@pytest.fixture
def candle_file(tmp_path: Path) -> Path:
    opening = datetime.fromisoformat("2026-01-05T09:15:00+05:30")
    rows = ["timestamp,open,high,low,close,volume"]
    for minute in range(10):
        price = Decimal(1500) + minute
        rows.append(
            f"{(opening + timedelta(minutes=minute)).isoformat()},"
            f"{price},{price + Decimal('2.35')},{price - Decimal('0.95')},{price + 1},1200"
        )
    path = tmp_path / "RELIANCE.csv"
    path.write_text("\n".join(rows) + "\n")
    return path


async def test_fills_on_a_replay_lie_inside_the_candle_that_plays(candle_file: Path) -> None:
    clock, rng = FakeClock(), Random(2)
    feed = ReplayFeed(clock, {RELIANCE: FeedFile(candle_file)}, speed=60)
    exchange = VirtualExchange(feed, clock, rng, latency_ms=(0, 0))
    terms = await VirtualInstrumentMaster(feed.tick_size).terms(RELIANCE)
    filled: set[str] = set()

    for number in range(400):
        side = rng.choice(list(Side))
        limit = (await feed.quote(RELIANCE)).last_price + rng.randint(-20, 20) * terms.tick_size
        is_limit = rng.random() < 0.7
        await exchange.place(
            OrderTicket(
                tag=str(number),
                instrument=RELIANCE,
                side=side,
                quantity=1,
                order_type=OrderType.LIMIT if is_limit else OrderType.MARKET,
                product=Product.CNC,
                validity=Validity.DAY,
                limit_price=limit if is_limit else None,
                trigger_price=None,
                terms=terms,
            ),
            timeout_s=1,
        )
        minute = feed.recorded_at(RELIANCE).minute - 15
        low, high = 1500 + minute - Decimal("0.95"), 1500 + minute + Decimal("2.35")
        for row in (await exchange.order_book()).orders:
            if row.fills and row.broker_order_id not in filled:
                filled.add(row.broker_order_id)
                assert low <= row.average_price <= high
        await clock.advance(0.13)
        await exchange.match_resting()

    assert len(filled) > 200
