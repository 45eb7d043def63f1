"""Quotes read together, and shared by all who look."""

import asyncio
from collections.abc import Collection, Mapping
from decimal import Decimal

import pytest
import structlog

from pulse_adapters.virtual.polled_market import PolledMarket
from pulse_domain.errors import BrokerUnavailable, MarketDataUnavailable
from pulse_domain.instruments import Instrument
from pulse_domain.ports.market_data import Quote
from pulse_domain.testing.fake_clock import FakeClock
from pulse_domain.testing.memory_reads import InMemoryReads

INFY = Instrument.parse("NSE:INFY")
TCS = Instrument.parse("NSE:TCS")
INTERVAL_S = 1.0


class Polled:
    """A market on a clock that stands still, and the broker behind it."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.reads = InMemoryReads(self.clock)
        self.failures = 0
        for instrument in (INFY, TCS):
            self.set(instrument, Decimal(100))
        self.market = PolledMarket(
            self.reads, self.clock, interval_s=INTERVAL_S, on_failure=self._count_failure
        )

    def set(self, instrument: Instrument, price: Decimal) -> None:
        self.reads.set(instrument, price, bid=price, ask=price + Decimal("0.05"))

    def _count_failure(self) -> None:
        self.failures += 1


@pytest.fixture
def polled() -> Polled:
    return Polled()


async def test_many_who_look_at_once_share_a_read(polled: Polled) -> None:
    quotes = await asyncio.gather(*[polled.market.quote(INFY) for _ in range(10)])

    assert {quote.last_price for quote in quotes} == {100}
    assert polled.reads.asked == [{INFY}]


async def test_a_read_is_of_all_that_were_looked_at_lately(polled: Polled) -> None:
    for _ in range(2):
        await polled.market.quote(INFY)
        await polled.market.quote(TCS)
        await polled.clock.advance(INTERVAL_S)
    await polled.market.quote(TCS)
    await polled.market.quote(INFY)

    # What has never been read before takes a read of its own; from then on one is enough for both.
    assert polled.reads.asked == [{INFY}, {INFY, TCS}, {INFY, TCS}, {INFY, TCS}]


async def test_what_happened_between_two_reads_is_not_told(polled: Polled) -> None:
    await polled.market.quote(INFY)
    polled.set(INFY, Decimal(50))
    within = await polled.market.quote(INFY)
    polled.set(INFY, Decimal(70))
    await polled.clock.advance(INTERVAL_S)
    after = await polled.market.quote(INFY)

    assert [within.last_price, after.last_price] == [100, 70]


async def test_what_nobody_looks_at_is_not_asked_for_any_more(polled: Polled) -> None:
    await polled.market.quote(TCS)
    for _ in range(20):
        await polled.clock.advance(INTERVAL_S)
        await polled.market.quote(INFY)

    assert polled.reads.asked[1] == {INFY, TCS}
    assert polled.reads.asked[-1] == {INFY}


async def test_what_the_broker_does_not_quote_has_no_price(polled: Polled) -> None:
    with pytest.raises(MarketDataUnavailable):
        await polled.market.quote(Instrument.parse("NSE:NOWHERE"))

    assert polled.failures == 0


async def test_an_outage_is_counted_at_every_read_and_told_once(polled: Polled) -> None:
    polled.reads.down = True
    with structlog.testing.capture_logs() as logs:
        for _ in range(3):
            for instrument in (INFY, TCS):
                with pytest.raises(BrokerUnavailable) as failed:
                    await polled.market.quote(instrument)
                assert failed.value.reason_code == "SESSION_EXPIRED"
            await polled.clock.advance(INTERVAL_S)
        polled.reads.down = False
        quote = await polled.market.quote(INFY)

    assert quote.last_price == 100
    assert polled.failures == 3 == len(polled.reads.asked) - 1
    assert [(line["log_level"], line["event"]) for line in logs] == [
        ("error", "quotes cannot be read; nothing is filled until they can"),
        ("info", "quotes can be read again"),
    ]


async def test_a_quote_from_before_an_outage_is_not_given_out(polled: Polled) -> None:
    await polled.market.quote(INFY)
    polled.reads.down = True
    await polled.clock.advance(INTERVAL_S)

    with pytest.raises(BrokerUnavailable):
        await polled.market.quote(INFY)


class SlowReads(InMemoryReads):
    """Every read takes longer than it is good for."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__(clock)
        self._slow_clock = clock

    async def quotes(self, instruments: Collection[Instrument]) -> Mapping[Instrument, Quote]:
        quotes = await super().quotes(instruments)
        await self._slow_clock.sleep(3 * INTERVAL_S)
        return quotes


async def test_a_slow_read_serves_all_who_waited_for_it() -> None:
    clock = FakeClock()
    reads = SlowReads(clock)
    reads.set(INFY, Decimal(100), bid=Decimal(100), ask=Decimal(101))
    market = PolledMarket(reads, clock, interval_s=INTERVAL_S, on_failure=lambda: None)
    looks = [asyncio.create_task(market.quote(INFY)) for _ in range(5)]

    await clock.advance(3 * INTERVAL_S)

    assert [look.result().last_price for look in looks] == [100] * 5
    assert len(reads.asked) == 1
