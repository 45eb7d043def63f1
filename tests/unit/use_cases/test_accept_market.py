"""Acceptance and preview under the market's rules."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest

from pulse_adapters.instruments.calendar import DatedCalendar
from pulse_domain.errors import DuplicateOrderUniqueKey, LimitsExceeded, MarketClosed, NotOffered
from pulse_domain.instruments import Exchange
from pulse_domain.market import CAPABILITIES
from pulse_domain.orders.model import OrderType, Product, SplitConfig
from pulse_domain.splitting import PaceLimits
from pulse_domain.testing.fake_clock import FakeClock
from pulse_domain.units import INDIA
from pulse_domain.use_cases.accept import AcceptOrder
from pulse_domain.use_cases.market_gate import MarketGate, MarketRules, OutsideSession
from pulse_domain.use_cases.preview import PreviewOrder
from tests.unit.use_cases.desk import NIFTY, Desk, raw_request

# The clock of a desk stands at 09:30 in India on Monday 2026-01-05.
HOUR = 3600.0
OPEN_ON_TUESDAY = datetime(2026, 1, 6, 9, 15, tzinfo=INDIA)


def desk_with(rules: MarketRules, limits: PaceLimits | None = None) -> Desk:
    desk = Desk()
    gate = MarketGate(rules, DatedCalendar())
    desk.limits = limits or desk.limits
    desk.accept_order = AcceptOrder(
        desk.store, desk.master, desk.queue, desk.clock, desk.ids, desk.limits, gate
    )
    desk.preview = PreviewOrder(desk.master, desk.clock, desk.ids, desk.limits, gate)
    return desk


def test_the_desks_clock_is_where_these_tests_want_it() -> None:
    assert FakeClock().now() == datetime(2026, 1, 5, 4, 0, tzinfo=UTC)


async def test_an_order_after_the_close_is_refused_and_nothing_is_stored() -> None:
    desk = desk_with(MarketRules(outside_session=OutsideSession.REJECT))
    await desk.accept("in the morning")
    await desk.pass_time(8 * HOUR)

    with pytest.raises(MarketClosed) as raised:
        await desk.accept("in the evening")

    assert raised.value.details["next_open"] == OPEN_ON_TUESDAY.isoformat()
    assert len(await desk.store.list_orders(None, limit=10)) == 1
    with pytest.raises(MarketClosed):
        await desk.preview(raw_request())


async def test_what_was_accepted_stays_accepted_after_the_close() -> None:
    desk = desk_with(MarketRules(outside_session=OutsideSession.REJECT))
    first = await desk.accept()
    await desk.pass_time(8 * HOUR)

    again = await desk.accept()

    assert (again.order_id, again.replayed) == (first.order_id, True)
    with pytest.raises(DuplicateOrderUniqueKey):
        await desk.accept(total_quantity=7)


async def test_a_queued_order_is_sent_at_the_open() -> None:
    desk = desk_with(MarketRules(outside_session=OutsideSession.QUEUE))
    await desk.pass_time(8 * HOUR)

    order_id = await desk.order(split_config=SplitConfig(num_splits=3, duration_minutes=30, randomize=False))

    order = (await desk.view(order_id)).order
    assert (order.starts_at, order.ends_at) == (OPEN_ON_TUESDAY, OPEN_ON_TUESDAY + timedelta(minutes=30))
    assert order.request.start_at is None
    due = [execution.due_at for execution in await desk.executions(order_id)]
    assert due == [OPEN_ON_TUESDAY + timedelta(minutes=15 * n) for n in range(3)]
    assert await desk.claim() == []
    await desk.pass_time((OPEN_ON_TUESDAY - desk.clock.now()).total_seconds())
    assert len(await desk.claim()) == 1


async def test_the_same_request_again_is_the_queued_order() -> None:
    desk = desk_with(MarketRules(outside_session=OutsideSession.QUEUE))
    await desk.pass_time(8 * HOUR)
    first = await desk.accept()
    await desk.pass_time(24 * HOUR)

    again = await desk.accept()

    assert (again.order_id, again.replayed) == (first.order_id, True)


async def test_a_window_is_cut_to_the_session_and_preview_shows_it() -> None:
    desk = desk_with(MarketRules(outside_session=OutsideSession.QUEUE))
    await desk.pass_time(5.5 * HOUR)  # 15:00
    split = SplitConfig(num_splits=4, duration_minutes=45, randomize=False)
    close = datetime(2026, 1, 5, 15, 30, tzinfo=INDIA) - timedelta(seconds=10)

    shown = await desk.preview(raw_request(split_config=split))
    order_id = await desk.order(split_config=split)

    order = (await desk.view(order_id)).order
    due = [execution.due_at for execution in await desk.executions(order_id)]
    assert (shown.starts_at, shown.ends_at) == (order.starts_at, order.ends_at)
    assert order.ends_at == due[-1] == close
    assert [each.scheduled_at for each in shown.slices] == due
    assert order.request.split_config == split


async def test_the_brokers_pace_is_checked_on_the_cut_window() -> None:
    limits = PaceLimits(per_minute=2)
    split = SplitConfig(num_splits=90, duration_minutes=50)
    desk = desk_with(MarketRules(outside_session=OutsideSession.QUEUE), limits)
    await desk.accept("fits", split_config=split)
    await desk.pass_time(5.5 * HOUR)

    with pytest.raises(LimitsExceeded) as raised:
        await desk.accept("is cut to half an hour", split_config=split)

    assert raised.value.details["feasible"] < 60


async def test_what_the_broker_does_not_take_is_refused() -> None:
    desk = desk_with(MarketRules(capabilities=CAPABILITIES["kotak"], unconfirmed=frozenset({Exchange.NFO})))
    await desk.pass_time(86 * 24 * HOUR)  # 2026-04-01: Kotak's table begins
    assert desk.clock.now().date() == date(2026, 4, 1)

    with pytest.raises(NotOffered) as by_type:
        await desk.accept(order_type=OrderType.SL_M, trigger_price=Decimal(100), product=Product.MIS)
    with pytest.raises(NotOffered) as by_exchange:
        await desk.accept(instrument=NIFTY, total_quantity=75)

    assert by_type.value.details["field"] == "order_type"
    assert by_exchange.value.details["field"] == "instrument"
    assert await desk.store.list_orders(None, limit=1) == []
