"""A virtual broker around a real one: its quotes fill orders that it never hears of."""

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping
from decimal import Decimal
from random import Random

import pytest

from pulse_adapters.virtual.broker import VirtualBroker
from pulse_domain.errors import BrokerUnavailable
from pulse_domain.instruments import Instrument
from pulse_domain.orders.ids import BrokerOrderId
from pulse_domain.orders.model import Side
from pulse_domain.ports.broker import BrokerOrder, BrokerOrderStatus
from pulse_domain.ports.broker_reads import BrokerHolding, BrokerPosition
from pulse_domain.ports.market_data import Quote
from pulse_domain.testing.fake_clock import FakeClock
from pulse_domain.testing.memory_reads import InMemoryReads
from tests.unit.virtual.tickets import INFY, TIMEOUT_S, limit, ticket

TCS = Instrument.parse("NSE:TCS")
POLL_S = 1.0


def quote(reads: InMemoryReads, instrument: Instrument, price: int) -> None:
    """A bid at the price, and an offer a tick above."""
    reads.set(instrument, Decimal(price), bid=Decimal(price), ask=Decimal(price) + Decimal("0.05"))


class Desk:
    """A virtual broker that matches as time passes."""

    def __init__(self, clock: FakeClock, reads: InMemoryReads) -> None:
        self.failures = 0
        self.clock = clock
        self.reads = reads
        for instrument in (INFY, TCS):
            quote(reads, instrument, 100)
        self.broker = VirtualBroker(
            reads,
            clock,
            Random(1),
            latency_ms=(0, 0),
            poll_interval_s=POLL_S,
            on_quotes_failed=self._count_failure,
        )

    def _count_failure(self) -> None:
        self.failures += 1

    async def row(self, order_id: BrokerOrderId) -> BrokerOrder:
        rows = (await self.broker.order_book()).orders
        return next(row for row in rows if row.broker_order_id == order_id)


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    clock = FakeClock()
    desk = Desk(clock, InMemoryReads(clock))
    matching = asyncio.create_task(desk.broker.run())
    yield desk
    matching.cancel()
    await asyncio.gather(matching, return_exceptions=True)
    await desk.broker.close()


async def test_an_order_fills_at_what_the_real_broker_quotes(desk: Desk) -> None:
    bought = await desk.broker.place(ticket(), timeout_s=TIMEOUT_S)
    sold = await desk.broker.place(ticket(side=Side.SELL), timeout_s=TIMEOUT_S)

    assert (await desk.row(bought)).average_price == Decimal("100.05")
    assert (await desk.row(sold)).average_price == 100


async def test_what_rests_fills_once_the_quotes_reach_it(desk: Desk) -> None:
    order_id = await desk.broker.place(limit(90), timeout_s=TIMEOUT_S)
    await desk.clock.advance(3 * POLL_S)
    before = await desk.row(order_id)
    quote(desk.reads, INFY, 80)
    await desk.clock.advance(POLL_S)
    after = await desk.row(order_id)

    assert (before.status, before.filled_quantity) == (BrokerOrderStatus.OPEN, 0)
    assert (after.status, after.filled_quantity) == (BrokerOrderStatus.COMPLETE, 10)


async def test_a_poll_asks_once_for_everything_that_rests(desk: Desk) -> None:
    for instrument in (INFY, TCS):
        for _ in range(3):
            await desk.broker.place(limit(90, instrument=instrument), timeout_s=TIMEOUT_S)
    desk.reads.asked.clear()

    await desk.clock.advance(5 * POLL_S)

    assert desk.reads.asked == [{INFY, TCS}] * 5


async def test_without_orders_nobody_asks(desk: Desk) -> None:
    await desk.clock.advance(5 * POLL_S)

    assert desk.reads.asked == []


async def test_without_quotes_nothing_fills_and_matching_goes_on_after_it(desk: Desk) -> None:
    order_id = await desk.broker.place(limit(90), timeout_s=TIMEOUT_S)
    desk.reads.down = True
    quote(desk.reads, INFY, 80)
    await desk.clock.advance(5 * POLL_S)
    meanwhile = await desk.row(order_id)
    desk.reads.down = False
    await desk.clock.advance(POLL_S)

    assert (meanwhile.status, desk.failures) == (BrokerOrderStatus.OPEN, 5)
    assert (await desk.row(order_id)).status is BrokerOrderStatus.COMPLETE


@pytest.mark.parametrize("order", [ticket(), limit(90)], ids=["market", "limit"])
async def test_without_quotes_no_order_is_taken_and_its_tag_stays_free(desk: Desk, order) -> None:
    desk.reads.down = True
    with pytest.raises(BrokerUnavailable):
        await desk.broker.place(order, timeout_s=TIMEOUT_S)
    book = await desk.broker.order_book()
    desk.reads.down = False
    await desk.clock.advance(POLL_S)

    assert book.orders == ()
    assert await desk.broker.place(order, timeout_s=TIMEOUT_S)


async def test_a_cancel_needs_no_quotes(desk: Desk) -> None:
    order_id = await desk.broker.place(limit(90), timeout_s=TIMEOUT_S)
    desk.reads.down = True

    await desk.broker.cancel(order_id, timeout_s=TIMEOUT_S)
    await desk.clock.advance(POLL_S)

    assert (await desk.row(order_id)).status is BrokerOrderStatus.CANCELLED


async def test_what_has_no_quote_is_refused(desk: Desk) -> None:
    order_id = await desk.broker.place(ticket(instrument=Instrument.parse("NSE:NOWHERE")), timeout_s=TIMEOUT_S)

    row = await desk.row(order_id)
    assert (row.status, row.reason_code) == (BrokerOrderStatus.REJECTED, "NO_MARKET_DATA")


class HangingReads(InMemoryReads):
    async def quotes(self, instruments: Collection[Instrument]) -> Mapping[Instrument, Quote]:
        await asyncio.Event().wait()
        raise AssertionError


async def test_quotes_that_do_not_come_hold_no_call_beyond_its_time() -> None:
    clock = FakeClock()
    broker = Desk(clock, HangingReads(clock)).broker

    with pytest.raises(BrokerUnavailable) as late:
        await broker.place(ticket(), timeout_s=0.05)

    assert late.value.reason_code == "NO_QUOTES"
    assert (await broker.order_book()).orders == ()
    await broker.close()


async def test_the_account_is_the_real_one(desk: Desk) -> None:
    held = BrokerHolding(instrument=TCS, quantity=7, average_price=Decimal(90))
    position = BrokerPosition(instrument=TCS, product="MIS", quantity=-5, average_price=Decimal(95))
    desk.reads.held.append(held)
    desk.reads.open.append(position)

    await desk.broker.place(ticket(), timeout_s=TIMEOUT_S)

    assert await desk.broker.positions() == (position,)
    assert await desk.broker.holdings() == (held,)
    assert (await desk.broker.quote(TCS)).last_price == 100
