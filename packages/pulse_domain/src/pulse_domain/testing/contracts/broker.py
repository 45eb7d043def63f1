"""What every broker promises."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import nullcontext
from decimal import Decimal
from typing import Any, Protocol

import msgspec
import pytest
from msgspec.structs import replace

from pulse_domain.errors import BrokerRejected
from pulse_domain.instruments import Instrument, InstrumentTerms
from pulse_domain.orders.ids import BrokerOrderId
from pulse_domain.orders.model import OrderType, Product, Side, Validity
from pulse_domain.ports.broker import Broker, BrokerOrder, BrokerOrderStatus, OrderTicket

_TIMEOUT_S = 10.0
_numbers = itertools.count(1)


class BrokerVenue(Protocol):
    """A broker under test, and the hands on its market.

    terms: with a lot above 1 and a freeze quantity, so that refusals can be shown.
    price: a multiple of ten ticks; the market trades there when a test begins.
    refuses_known_tags: whether a second order with a tag is refused; real brokers take it.
    """

    broker: Broker
    instrument: Instrument
    terms: InstrumentTerms
    price: Decimal
    refuses_known_tags: bool

    async def move_price(self, price: Decimal) -> None:
        """Let the market trade at a price, with bid and ask a tick around it, and let the broker see it."""
        ...

    async def settle(self) -> None:
        """Give pushes and pending wishes the time they need."""
        ...


class BrokerContract:
    """Subclass it and override `venue`, a new one at every test."""

    @pytest.fixture
    def venue(self) -> BrokerVenue:
        pytest.fail("a subclass overrides this fixture")

    async def test_market_order_fills_at_once(self, venue: BrokerVenue) -> None:
        order_id = await _place(venue, quantity=3 * venue.terms.lot_size)
        await venue.settle()

        row = await _row(venue, order_id)

        assert row.status is BrokerOrderStatus.COMPLETE
        assert row.quantity == row.filled_quantity == 3 * venue.terms.lot_size
        assert row.average_price == venue.price + venue.terms.tick_size

    async def test_market_sell_fills_at_the_bid(self, venue: BrokerVenue) -> None:
        order_id = await _place(venue, side=Side.SELL)
        await venue.settle()

        row = await _row(venue, order_id)

        assert row.average_price == venue.price - venue.terms.tick_size

    async def test_row_carries_the_order_as_it_was_placed(self, venue: BrokerVenue) -> None:
        ticket = _ticket(venue, side=Side.SELL, order_type=OrderType.LIMIT, limit_price=_above(venue))
        order_id = await venue.broker.place(ticket, timeout_s=_TIMEOUT_S)
        await venue.settle()

        row = await _row(venue, order_id)

        assert ticket.tag in row.tags
        assert (row.instrument, row.side, row.quantity) == (ticket.instrument, Side.SELL, ticket.quantity)
        assert row.placed_at.tzinfo is not None

    async def test_a_row_in_the_brokers_words_is_plain(self, venue: BrokerVenue) -> None:
        order_id = await _place(venue)
        await venue.settle()

        words = (await _row(venue, order_id)).words

        # A broker whose words are the fields themselves keeps none beside them.
        if words is not None:
            assert order_id in words.values()
            assert msgspec.json.decode(msgspec.json.encode(words)) == words

    async def test_trades_explain_the_filled_quantity(self, venue: BrokerVenue) -> None:
        order_id = await _place(venue)
        await venue.settle()

        trades = await venue.broker.trades(order_id)

        row = await _row(venue, order_id)
        assert sum(trade.quantity for trade in trades) == row.filled_quantity
        assert all(trade.broker_order_id == order_id for trade in trades)
        assert all(trade.at.tzinfo is not None for trade in trades)
        assert len({trade.trade_id for trade in trades}) == len(trades)

    async def test_order_that_has_not_traded_has_no_trades(self, venue: BrokerVenue) -> None:
        order_id = await _place(venue, order_type=OrderType.LIMIT, limit_price=_below(venue))

        assert await venue.broker.trades(order_id) == ()

    async def test_marketable_limit_fills_at_the_better_price(self, venue: BrokerVenue) -> None:
        order_id = await _place(venue, order_type=OrderType.LIMIT, limit_price=_above(venue))
        await venue.settle()

        row = await _row(venue, order_id)

        assert row.status is BrokerOrderStatus.COMPLETE
        assert row.average_price == venue.price + venue.terms.tick_size

    async def test_limit_order_rests_until_the_price_comes(self, venue: BrokerVenue) -> None:
        limit = _below(venue)
        order_id = await _place(venue, order_type=OrderType.LIMIT, limit_price=limit)
        await venue.settle()
        resting = await _row(venue, order_id)

        await venue.move_price(limit - 2 * venue.terms.tick_size)
        await venue.settle()

        filled = await _row(venue, order_id)
        assert (resting.status, resting.filled_quantity) == (BrokerOrderStatus.OPEN, 0)
        assert filled.status is BrokerOrderStatus.COMPLETE
        assert filled.average_price <= limit

    async def test_stop_order_waits_for_its_trigger(self, venue: BrokerVenue) -> None:
        order_id = await _place(venue, order_type=OrderType.SL_M, trigger_price=_above(venue))
        await venue.settle()
        waiting = await _row(venue, order_id)

        await venue.move_price(_above(venue))
        await venue.settle()

        assert waiting.status is BrokerOrderStatus.TRIGGER_PENDING
        assert (await _row(venue, order_id)).status is BrokerOrderStatus.COMPLETE

    async def test_fired_stop_limit_is_open(self, venue: BrokerVenue) -> None:
        above = _above(venue)
        order_id = await _place(venue, order_type=OrderType.SL, trigger_price=above, limit_price=above)

        await venue.move_price(above + 5 * venue.terms.tick_size)
        await venue.settle()

        assert (await _row(venue, order_id)).status is BrokerOrderStatus.OPEN

    async def test_ioc_that_cannot_fill_is_cancelled(self, venue: BrokerVenue) -> None:
        order_id = await _place(
            venue, order_type=OrderType.LIMIT, validity=Validity.IOC, limit_price=_below(venue)
        )
        await venue.settle()

        row = await _row(venue, order_id)

        assert (row.status, row.filled_quantity) == (BrokerOrderStatus.CANCELLED, 0)

    async def test_cancelled_order_never_fills(self, venue: BrokerVenue) -> None:
        limit = _below(venue)
        order_id = await _place(venue, order_type=OrderType.LIMIT, limit_price=limit)
        await venue.settle()

        await venue.broker.cancel(order_id, timeout_s=_TIMEOUT_S)
        await venue.settle()
        await venue.move_price(limit - 2 * venue.terms.tick_size)
        await venue.settle()

        row = await _row(venue, order_id)
        assert (row.status, row.filled_quantity) == (BrokerOrderStatus.CANCELLED, 0)

    async def test_cancel_of_a_filled_order_is_refused(self, venue: BrokerVenue) -> None:
        order_id = await _place(venue)
        await venue.settle()

        with pytest.raises(BrokerRejected) as refused:
            await venue.broker.cancel(order_id, timeout_s=_TIMEOUT_S)

        assert refused.value.reason_code
        assert (await _row(venue, order_id)).status is BrokerOrderStatus.COMPLETE

    async def test_cancel_and_modify_of_an_unknown_order_are_refused(self, venue: BrokerVenue) -> None:
        unknown = BrokerOrderId("000000000000000")

        with pytest.raises(BrokerRejected):
            await venue.broker.cancel(unknown, timeout_s=_TIMEOUT_S)
        with pytest.raises(BrokerRejected):
            await venue.broker.modify(
                unknown, quantity=venue.terms.lot_size, limit_price=venue.price, timeout_s=_TIMEOUT_S
            )

    async def test_modified_order_fills_by_its_new_terms(self, venue: BrokerVenue) -> None:
        order_id = await _place(venue, order_type=OrderType.LIMIT, limit_price=_below(venue))
        await venue.settle()

        quantity = 2 * venue.terms.lot_size
        await venue.broker.modify(order_id, quantity=quantity, limit_price=_above(venue), timeout_s=_TIMEOUT_S)
        await venue.settle()

        row = await _row(venue, order_id)
        assert (row.status, row.quantity, row.filled_quantity) == (
            BrokerOrderStatus.COMPLETE, quantity, quantity,
        )  # fmt: skip

    @pytest.mark.parametrize("breach", ["lot", "freeze", "tick"])
    async def test_what_breaks_the_instruments_terms_is_refused(self, venue: BrokerVenue, breach: str) -> None:
        terms = venue.terms
        assert terms.freeze_quantity is not None
        breaches: dict[str, dict[str, Any]] = {
            "lot": {"quantity": terms.lot_size + 1},
            "freeze": {"quantity": (terms.freeze_quantity // terms.lot_size + 1) * terms.lot_size},
            "tick": {"order_type": OrderType.LIMIT, "limit_price": venue.price + terms.tick_size / 2},
        }
        before = (await venue.broker.order_book()).orders

        with pytest.raises(BrokerRejected):
            await _place(venue, **breaches[breach])

        assert (await venue.broker.order_book()).orders == before

    async def test_second_order_with_a_known_tag(self, venue: BrokerVenue) -> None:
        ticket = _ticket(venue)
        await venue.broker.place(ticket, timeout_s=_TIMEOUT_S)

        refused = pytest.raises(BrokerRejected) if venue.refuses_known_tags else nullcontext()
        with refused:
            await venue.broker.place(ticket, timeout_s=_TIMEOUT_S)

        rows = (await venue.broker.order_book()).orders
        assert sum(ticket.tag in row.tags for row in rows) == (1 if venue.refuses_known_tags else 2)

    async def test_order_book_is_complete(self, venue: BrokerVenue) -> None:
        placed = [await _place(venue) for _ in range(5)]

        read = await venue.broker.order_book()

        assert read.complete
        assert read.began_at.tzinfo is not None
        assert {row.broker_order_id for row in read.orders} >= set(placed)
        assert len(set(placed)) == 5

    async def test_every_subscriber_is_pushed_what_happens(self, venue: BrokerVenue) -> None:
        subscribers = [venue.broker.updates(), venue.broker.updates()]

        order_id = await _place(venue)
        await venue.settle()

        for updates in subscribers:
            row = await asyncio.wait_for(_update(updates, order_id, BrokerOrderStatus.COMPLETE), _TIMEOUT_S)
            assert row.filled_quantity == row.quantity


def _ticket(venue: BrokerVenue, **changes: Any) -> OrderTicket:
    ticket = OrderTicket(
        tag=f"CT{next(_numbers):018d}",
        instrument=venue.instrument,
        side=Side.BUY,
        quantity=venue.terms.lot_size,
        order_type=OrderType.MARKET,
        product=Product.CNC if venue.instrument.exchange.is_cash else Product.NRML,
        validity=Validity.DAY,
        limit_price=None,
        trigger_price=None,
        terms=venue.terms,
    )
    return replace(ticket, **changes)


async def _place(venue: BrokerVenue, **changes: Any) -> BrokerOrderId:
    return await venue.broker.place(_ticket(venue, **changes), timeout_s=_TIMEOUT_S)


async def _row(venue: BrokerVenue, order_id: BrokerOrderId) -> BrokerOrder:
    read = await venue.broker.order_book()
    return next(row for row in read.orders if row.broker_order_id == order_id)


async def _update(
    updates: AsyncIterator[BrokerOrder], order_id: BrokerOrderId, status: BrokerOrderStatus
) -> BrokerOrder:
    async for row in updates:
        if row.broker_order_id == order_id and row.status is status:
            return row
    raise AssertionError("the updates ended")


def _above(venue: BrokerVenue) -> Decimal:
    return venue.price + 10 * venue.terms.tick_size


def _below(venue: BrokerVenue) -> Decimal:
    return venue.price - 10 * venue.terms.tick_size
