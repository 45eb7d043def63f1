"""Every feed keeps its port's contract; those of brokers against the simulators, over real sockets."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import count
from pathlib import Path

import pytest

from pulse.simulate import DEFAULT_UCC
from pulse_adapters.clock import SystemClock
from pulse_adapters.feeds.recordings import FeedFile
from pulse_adapters.feeds.replay_clock import ReplayClock
from pulse_adapters.feeds.replay_feed import ReplayMarketFeed
from pulse_adapters.feeds.synthetic_feed import SyntheticMarketFeed
from pulse_domain.errors import FeedRefused
from pulse_domain.instruments import Instrument
from pulse_domain.matching import Tick
from pulse_domain.ports.market_feed import MarketFeed
from pulse_domain.testing.contracts.clock import ClockContract
from pulse_domain.testing.contracts.market_feed import MarketFeedContract, moving, running
from pulse_domain.testing.fake_clock import FakeClock
from pulse_domain.testing.memory_feed import InMemoryFeed, KeptFeed
from tests.integration.feeds.making import kotak_feed, zerodha_feed
from tests.integration.simulator.neo import KotakProcess
from tests.integration.simulator.process import KiteProcess, SimulatorProcess

INFY, TCS = Instrument.parse("NSE:INFY"), Instrument.parse("NSE:TCS")
_OPEN = datetime(2026, 1, 20, 3, 45, tzinfo=UTC)


class Venue:
    one, other = INFY, TCS
    ends = False
    feed: MarketFeed

    async def move(self) -> None:
        await asyncio.sleep(0.005)


class ScriptedVenue(Venue):
    def __init__(self) -> None:
        self.feed: InMemoryFeed = InMemoryFeed()
        self._number = count()

    async def move(self) -> None:
        number = next(self._number)
        at, price = _OPEN + timedelta(seconds=number), Decimal(100 + number)
        self.feed.give(*(Tick(instrument, at, price) for instrument in (self.one, self.other)))
        await asyncio.sleep(0)


class ReplayVenue(Venue):
    ends = True

    def __init__(self, folder: Path) -> None:
        path = folder / "ticks.csv"
        rows = (
            f"{(_OPEN + timedelta(seconds=second)).isoformat()},{symbol},{price + second % 7},{second * 10}"
            for second in range(1200)
            for symbol, price in (("INFY", 1500), ("TCS", 3000))
        )
        path.write_text("timestamp,symbol,price,volume\n" + "\n".join(rows))
        # Twenty minutes in three seconds.
        self.feed = ReplayMarketFeed(SystemClock(), {}, FeedFile(path), speed=400)


class SyntheticVenue(Venue):
    def __init__(self) -> None:
        self.feed = SyntheticMarketFeed(SystemClock(), interval=timedelta(milliseconds=20))


class SimulatedVenue(Venue):
    """A broker, simulated by a process; its prices are moved by hand."""

    def __init__(self, process: SimulatorProcess, feed: MarketFeed) -> None:
        self._process = process
        self._prices = count(1500)
        self.feed = feed

    async def move(self) -> None:
        price = str(next(self._prices))
        for instrument in (self.one, self.other):
            await asyncio.to_thread(self._process.pin, str(instrument), price)


@pytest.fixture(scope="module")
def kite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KiteProcess]:
    process = KiteProcess(tmp_path_factory.mktemp("kite")).start()
    yield process
    process.stop()


@pytest.fixture(scope="module")
def kotak(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KotakProcess]:
    process = KotakProcess(tmp_path_factory.mktemp("kotak")).start()
    yield process
    process.stop()


class TestInMemoryFeed(MarketFeedContract):
    @pytest.fixture
    def venue(self) -> Venue:
        return ScriptedVenue()

    async def test_it_ends_when_it_is_told_to(self) -> None:
        feed = InMemoryFeed()
        run = asyncio.create_task(feed.run(KeptFeed()))
        await asyncio.sleep(0)

        feed.end()
        await run

        assert not feed.figures().connected

    async def test_it_refuses_when_it_is_told_to(self) -> None:
        feed = InMemoryFeed()
        run = asyncio.create_task(feed.run(KeptFeed()))
        await asyncio.sleep(0)

        feed.refuse("log in first")

        with pytest.raises(FeedRefused, match="log in first"):
            await run


class TestReplayFeed(MarketFeedContract):
    @pytest.fixture
    def venue(self, tmp_path: Path) -> Venue:
        return ReplayVenue(tmp_path)


class TestSyntheticFeed(MarketFeedContract):
    @pytest.fixture
    def venue(self) -> Venue:
        return SyntheticVenue()


class LiveContract(MarketFeedContract):
    async def test_prices_come_with_the_best_quotes_and_the_extremes_of_the_day(self, venue: Venue) -> None:
        venue.feed.subscribe([venue.one])

        def full() -> list[Tick]:
            # A broker may give a first price before it has heard that quotes are wanted too.
            return [tick for tick in kept.taken if tick.bid is not None]

        async with running(venue) as kept:
            await moving(venue, lambda: len(full()) > 1)

        first = full()[0]
        for tick in kept.taken[kept.taken.index(first) :]:
            assert None not in (tick.bid, tick.ask)
            assert tick.day_low is not None
            assert tick.day_high is not None
            assert tick.day_low <= tick.price <= tick.day_high


class TestZerodhaFeed(LiveContract):
    @pytest.fixture
    async def venue(self, kite: KiteProcess) -> Venue:
        return SimulatedVenue(kite, await zerodha_feed(kite.url, kite.access_token()))


class TestKotakFeed(LiveContract):
    @pytest.fixture
    async def venue(self, kotak: KotakProcess) -> Venue:
        headers = kotak.session()
        feed = await kotak_feed(kotak.url, token=headers["Auth"], sid=headers["Sid"], ucc=DEFAULT_UCC)
        return SimulatedVenue(kotak, feed)


class TestReplayClock(ClockContract):
    @pytest.fixture
    def clock(self) -> ReplayClock:
        clock = ReplayClock(FakeClock(auto=True), _OPEN, 60)
        clock.start()
        return clock
