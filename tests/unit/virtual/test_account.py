"""The virtual exchange with an account: what it refuses, blocks, charges and gives back."""

import asyncio
from datetime import datetime
from decimal import Decimal
from random import Random

import pytest

from pulse_adapters.virtual.exchange import VirtualExchange
from pulse_domain.account import Account, AccountSettings
from pulse_domain.charges import NO_CHARGES, ZERODHA, ChargesSchedule, Segment, charges_of
from pulse_domain.errors import BrokerRejected
from pulse_domain.instruments import Instrument
from pulse_domain.matching import Filled, Tick
from pulse_domain.orders.model import OrderType, Product, Side, Validity
from pulse_domain.ports.broker import BrokerOrderStatus
from pulse_domain.testing.fake_clock import FakeClock, settle
from tests.unit.virtual.fixed_market import FixedMarket
from tests.unit.virtual.tickets import INFY, TIMEOUT_S, limit, ticket

START = datetime.fromisoformat("2026-01-05T10:00:30+05:30")
CAPITAL = Decimal(10_000)
CALL = Instrument.parse("NFO:NIFTY26NOV25000CE")


class Venue:
    def __init__(self, charges: ChargesSchedule = NO_CHARGES) -> None:
        self.clock = clock = FakeClock(START, auto=True)
        self.market = FixedMarket(clock)
        for instrument in (INFY, CALL, Instrument.parse("MCX:GOLD26DECFUT")):
            self.market.set(instrument, "100")
        self.account = Account(AccountSettings(charges=charges))
        self.account.open(CAPITAL)
        self.exchange = VirtualExchange(self.market, clock, Random(1), latency_ms=(0, 0), account=self.account)

    async def place(self, asked):
        return await self.exchange.place(asked, timeout_s=TIMEOUT_S)

    async def row(self, order_id):
        book = await self.exchange.order_book()
        return next(row for row in book.orders if row.broker_order_id == order_id)

    async def refused_as(self, asked) -> str | None:
        """The reason of the row; its order has left the account as it was."""
        before = self.account.funds
        row = await self.row(await self.place(asked))
        assert (row.status, row.fills) == (BrokerOrderStatus.REJECTED, ())
        assert row.reason
        assert self.account.funds == before
        self.account.check()
        return row.reason_code

    def tick(self, price: str) -> None:
        self.exchange.on_ticks([Tick(INFY, START, Decimal(price))])


@pytest.fixture
async def venue():
    venue = Venue()
    yield venue
    venue.account.check()
    await venue.exchange.close()


async def test_an_order_beyond_the_funds_is_in_the_book_as_refused(venue):
    assert await venue.refused_as(limit(90, quantity=112)) == "INSUFFICIENT_FUNDS"
    assert await venue.row(await venue.place(limit(90, quantity=111)))


@pytest.mark.parametrize(
    "order_type", [OrderType.MARKET, OrderType.SL_M], ids=["by the last price", "by the trigger"]
)
async def test_an_order_without_a_limit_needs_what_it_would_meet(venue, order_type):
    trigger = Decimal("125") if order_type is OrderType.SL_M else None
    most = int(CAPITAL / (trigger or 100))
    asked = {"order_type": order_type, "trigger_price": trigger}

    assert await venue.refused_as(ticket(quantity=most + 1, **asked)) == "INSUFFICIENT_FUNDS"
    assert (await venue.row(await venue.place(ticket(quantity=most, **asked)))).reason_code is None


async def test_shares_that_are_not_there_are_not_sold_and_no_share_twice(venue):
    assert await venue.refused_as(ticket(side=Side.SELL)) == "INSUFFICIENT_HOLDINGS"
    await venue.place(ticket(quantity=10))
    await venue.place(limit(110, side=Side.SELL, quantity=6))

    assert await venue.refused_as(limit(110, side=Side.SELL, quantity=5)) == "INSUFFICIENT_HOLDINGS"
    assert await venue.place(limit(110, side=Side.SELL, quantity=4))


async def test_intraday_may_be_sold_short_for_its_value(venue):
    mis = {"side": Side.SELL, "product": Product.MIS}

    assert await venue.refused_as(ticket(quantity=101, **mis)) == "INSUFFICIENT_FUNDS"
    await venue.place(ticket(quantity=100, **mis))

    assert venue.account.position(INFY, Product.MIS).quantity == -100


@pytest.mark.parametrize(
    "asked",
    [
        ticket(product=Product.NRML),
        ticket(instrument=CALL, side=Side.SELL, product=Product.NRML),
    ],
    ids=["a product of other exchanges", "a written option"],
)
async def test_what_the_account_cannot_have_is_refused(venue, asked):
    assert await venue.refused_as(asked) == "REFUSED"


async def test_a_price_that_cannot_be_counted_is_refused(venue):
    assert await venue.refused_as(limit("1E+40")) in ("INSUFFICIENT_FUNDS", "INVALID_ORDER")


async def test_a_segment_without_rates_is_refused_before_it_could_fill():
    venue = Venue(ZERODHA)
    asked = ticket(instrument=Instrument.parse("MCX:GOLD26DECFUT"), product=Product.NRML, quantity=1)

    assert await venue.refused_as(asked) == "CHARGES_UNKNOWN"
    await venue.exchange.close()


async def test_a_cancel_gives_back_what_was_blocked_once(venue):
    order_id = await venue.place(limit(90, quantity=100))
    blocked = venue.account.blocked
    await venue.exchange.cancel(order_id, timeout_s=TIMEOUT_S)
    while (await venue.row(order_id)).status is not BrokerOrderStatus.CANCELLED:
        await settle()
    with pytest.raises(BrokerRejected):
        await venue.exchange.cancel(order_id, timeout_s=TIMEOUT_S)

    assert blocked == 9000
    assert (venue.account.cash, venue.account.blocked) == (CAPITAL, 0)


async def test_midnight_gives_back_what_was_blocked_once(venue):
    await venue.place(limit(90, quantity=100))
    await venue.place(ticket(quantity=1))
    blocked = venue.account.funds.blocked_for_orders
    for _ in range(2):
        await venue.clock.advance(24 * 3600)
        await venue.exchange.match_resting()
        venue.account.check()

    assert (blocked, venue.account.funds.blocked_for_orders) == (9000, 0)
    assert venue.account.position(INFY, Product.CNC).quantity == 1


async def test_an_ioc_that_cannot_fill_blocks_nothing(venue):
    await venue.place(limit(90, validity=Validity.IOC))

    assert (venue.account.cash, venue.account.blocked) == (CAPITAL, 0)


async def test_a_better_fill_gives_back_the_difference(venue):
    await venue.place(limit(90, quantity=100))
    venue.tick("85")

    funds = venue.account.funds
    assert (funds.cash, funds.blocked_for_orders, funds.blocked_in_positions) == (1500, 0, 8500)


async def test_what_was_bought_can_be_sold_and_its_money_spent_again(venue):
    for _ in range(3):
        await venue.place(limit(100, quantity=100))
        venue.tick("99.95")
        await venue.place(limit("99.90", side=Side.SELL, quantity=100))

    # It buys at the tick and sells at the bid of the market.
    assert venue.account.position(INFY, Product.CNC).quantity == 0
    assert venue.account.blocked == 0


async def test_a_modification_beyond_the_funds_is_refused_and_changes_nothing(venue):
    order_id = await venue.place(limit(90, quantity=100))
    before = venue.account.snapshot(), await venue.row(order_id)

    for terms in ({"quantity": 112, "limit_price": None}, {"quantity": 111, "limit_price": Decimal(91)}):
        with pytest.raises(BrokerRejected) as refused:
            await venue.exchange.modify(order_id, **terms, timeout_s=TIMEOUT_S)
        assert refused.value.reason_code == "INSUFFICIENT_FUNDS"

    assert (venue.account.snapshot(), await venue.row(order_id)) == before


async def test_a_modification_blocks_for_the_new_terms(venue):
    order_id = await venue.place(limit(90, quantity=100))

    await venue.exchange.modify(order_id, quantity=50, limit_price=Decimal(80), timeout_s=TIMEOUT_S)

    assert venue.account.blocked == 4000


async def test_a_modification_that_the_matching_refuses_leaves_the_account(venue):
    stop = ticket(order_type=OrderType.SL_M, trigger_price=Decimal(110))
    order_id = await venue.place(stop)
    before = venue.account.snapshot()

    with pytest.raises(BrokerRejected) as refused:
        await venue.exchange.modify(order_id, quantity=5, limit_price=Decimal(90), timeout_s=TIMEOUT_S)

    assert refused.value.reason_code == "INVALID_ORDER"
    assert venue.account.snapshot() == before


async def test_fills_are_charged_by_the_schedule_and_the_day_here():
    venue = Venue(ZERODHA)
    await venue.place(limit(90, quantity=100))
    # A tick of a recording from before the first rates.
    at = datetime.fromisoformat("2023-01-05T10:00:30+05:30")
    venue.exchange.on_ticks([Tick(INFY, at, Decimal("89"))])

    fill = Filled(order_id="1", quantity=100, price=Decimal(89), at=START)
    charges = charges_of(
        [fill],
        instrument=INFY,
        segment=Segment.DELIVERY,
        side=Side.BUY,
        trade_date=START.date(),
        schedule=ZERODHA,
    )
    assert venue.account.charges == charges.total > 0
    assert venue.account.cash == CAPITAL - 8900 - charges.total
    venue.account.check()
    await venue.exchange.close()


async def test_a_tick_that_cannot_be_booked_fills_nothing(venue):
    order_id = await venue.place(limit(90, quantity=100))
    venue.tick("89.00001")
    between = await venue.row(order_id)
    venue.tick("89")

    assert between.fills == ()
    assert (await venue.row(order_id)).status is BrokerOrderStatus.COMPLETE


async def test_nor_does_a_quote(venue):
    order_id = await venue.place(limit(90))
    venue.market.set(INFY, "89.00001")
    await venue.exchange.match_resting()

    assert (await venue.row(order_id)).fills == ()
    assert await venue.refused_as(ticket()) == "NO_MARKET_DATA"


async def test_of_two_orders_at_once_money_for_one_buys_one(venue):
    both = await asyncio.gather(*[venue.place(limit(90, quantity=60)) for _ in range(2)])

    assert sorted([str((await venue.row(each)).reason_code) for each in both]) == ["INSUFFICIENT_FUNDS", "None"]
    assert venue.account.blocked == 5400


async def test_without_an_account_nothing_is_counted(exchange):
    order_id = await exchange.place(ticket(side=Side.SELL, quantity=10**9), timeout_s=TIMEOUT_S)

    row = next(row for row in (await exchange.order_book()).orders if row.broker_order_id == order_id)
    assert row.status is BrokerOrderStatus.COMPLETE
