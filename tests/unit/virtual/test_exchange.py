"""The virtual exchange beyond the broker's contract: its codes, ids, races and pushes."""

import asyncio
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from random import Random

import pytest

from pulse_adapters.virtual.exchange import VirtualExchange
from pulse_adapters.virtual.faults import Call, LoseAnswer
from pulse_domain.errors import BrokerOutcomeUnknown, BrokerRejected, BrokerUnavailable
from pulse_domain.instruments import Instrument, InstrumentTerms
from pulse_domain.matching import Tick
from pulse_domain.orders.model import OrderType, Side
from pulse_domain.orders.status import ExecutionStatus, Phase
from pulse_domain.ports.broker import BrokerOrderStatus
from pulse_domain.testing.factories import TAG_PREFIX
from pulse_domain.testing.fake_clock import FakeClock, settle
from pulse_domain.use_cases.book_facts import BookFacts
from pulse_domain.use_cases.execute import ExecuteSettings, ExecuteSlice
from pulse_domain.use_cases.reconcile import Reconcile, ReconcileSettings
from tests.unit.use_cases.desk import GIVE_UP_S, LEASE_S, RELIANCE, SETTLE_S, Desk
from tests.unit.virtual.fixed_market import FixedMarket
from tests.unit.virtual.tickets import INFY, TIMEOUT_S, limit, ticket

LOTS = InstrumentTerms(lot_size=65, freeze_quantity=1800)
UNPRICED = Instrument.parse("NSE:UNPRICED")


async def row_of(exchange, order_id):
    book = await exchange.order_book()
    return next(row for row in book.orders if row.broker_order_id == order_id)


# --- refusals ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        (limit("100.02"), "TICK_SIZE"),
        (ticket(order_type=OrderType.SL_M, trigger_price=Decimal("100.01")), "TICK_SIZE"),
        (ticket(quantity=100, terms=LOTS), "LOT_SIZE"),
        (ticket(quantity=65 * 28, terms=LOTS), "FREEZE_QUANTITY"),
        (ticket(quantity=0), "INVALID_ORDER"),
        (ticket(order_type=OrderType.LIMIT), "INVALID_ORDER"),
        (ticket(limit_price=Decimal(100)), "INVALID_ORDER"),
        (limit("NaN"), "INVALID_ORDER"),
        (limit("-100"), "INVALID_ORDER"),
        (limit("-100", instrument=UNPRICED), "INVALID_ORDER"),
    ],
)
async def test_orders_that_break_a_rule_are_refused(exchange, asked, code):
    with pytest.raises(BrokerRejected) as refused:
        await exchange.place(asked, timeout_s=TIMEOUT_S)

    assert refused.value.reason_code == code
    assert (await exchange.order_book()).orders == ()


async def test_largest_order_below_the_freeze_quantity_is_taken(exchange):
    order_id = await exchange.place(ticket(quantity=1755, terms=LOTS), timeout_s=TIMEOUT_S)

    assert (await row_of(exchange, order_id)).filled_quantity == 1755


async def test_refused_order_leaves_its_tag_free(exchange):
    with pytest.raises(BrokerRejected):
        await exchange.place(limit("100.02", tag="ONCE"), timeout_s=TIMEOUT_S)

    assert await exchange.place(ticket(tag="ONCE"), timeout_s=TIMEOUT_S)


async def test_two_orders_with_one_tag_at_once_become_one(exchange):
    twins = [exchange.place(ticket(tag="TWIN"), timeout_s=TIMEOUT_S) for _ in range(5)]

    answers = await asyncio.gather(*twins, return_exceptions=True)

    refused = [answer for answer in answers if isinstance(answer, BrokerRejected)]
    assert [answer.reason_code for answer in refused] == ["DUPLICATE_TAG"] * 4
    assert len((await exchange.order_book()).orders) == 1


async def test_price_beyond_reason_rests(exchange):
    order_id = await exchange.place(limit("1E+40", side=Side.SELL), timeout_s=TIMEOUT_S)

    assert (await row_of(exchange, order_id)).status is BrokerOrderStatus.OPEN


async def test_order_without_a_price_is_rejected_in_the_book(exchange):
    order_id = await exchange.place(ticket(instrument=UNPRICED), timeout_s=TIMEOUT_S)

    row = await row_of(exchange, order_id)

    assert (row.status, row.reason_code) == (BrokerOrderStatus.REJECTED, "NO_MARKET_DATA")


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"limit_price": Decimal("90.02")}, "TICK_SIZE"),
        ({"quantity": 66}, "LOT_SIZE"),
        ({"quantity": 65 * 28}, "FREEZE_QUANTITY"),
        ({"quantity": 0}, "INVALID_ORDER"),
    ],
)
async def test_modifications_that_break_a_rule_are_refused(exchange, changes, code):
    order_id = await exchange.place(limit(90, quantity=65, terms=LOTS), timeout_s=TIMEOUT_S)
    before = await row_of(exchange, order_id)

    with pytest.raises(BrokerRejected) as refused:
        await exchange.modify(
            order_id, **({"quantity": 65, "limit_price": Decimal(90)} | changes), timeout_s=TIMEOUT_S
        )

    assert refused.value.reason_code == code
    assert await row_of(exchange, order_id) == before


async def test_codes_for_orders_that_do_not_work(exchange):
    filled = await exchange.place(ticket(), timeout_s=TIMEOUT_S)

    for order_id, code in ((filled, "ORDER_NOT_OPEN"), ("1", "ORDER_NOT_FOUND")):
        with pytest.raises(BrokerRejected) as refused:
            await exchange.cancel(order_id, timeout_s=TIMEOUT_S)
        assert refused.value.reason_code == code
        with pytest.raises(BrokerRejected) as refused:
            await exchange.modify(order_id, quantity=1, limit_price=None, timeout_s=TIMEOUT_S)
        assert refused.value.reason_code == code


async def test_order_that_ends_on_the_way_of_its_modification_stays_as_it_ended(exchange, market):
    order_id = await exchange.place(limit(90), timeout_s=TIMEOUT_S)
    updates = exchange.updates()
    market.set(INFY, "89")
    market.before_next_look = exchange.match_resting

    with pytest.raises(BrokerRejected) as refused:
        await exchange.modify(order_id, quantity=20, limit_price=None, timeout_s=TIMEOUT_S)

    assert refused.value.reason_code == "ORDER_NOT_OPEN"
    assert (await anext(updates)) == await row_of(exchange, order_id)


# --- ids ---------------------------------------------------------------------------------------


async def test_order_ids_are_the_day_and_growing_digits(market):
    clock = FakeClock(datetime(2026, 1, 5, 18, 29, 59, tzinfo=UTC), auto=True)  # a second to midnight
    exchange = VirtualExchange(market, clock, Random(1), latency_ms=(2, 2))

    ids = [await exchange.place(ticket(), timeout_s=TIMEOUT_S) for _ in range(1000)]

    assert all(order_id.isdigit() and len(order_id) == 15 for order_id in ids)
    assert ids == sorted(set(ids))
    assert {order_id[:6] for order_id in ids} == {"260105", "260106"}


async def test_order_ids_do_not_repeat_after_a_restart(market, clock):
    first = VirtualExchange(market, clock, Random(1))
    before = {await first.place(ticket(), timeout_s=TIMEOUT_S) for _ in range(50)}

    second = VirtualExchange(market, clock, Random(1))
    after = {await second.place(ticket(), timeout_s=TIMEOUT_S) for _ in range(50)}

    assert not before & after


# --- fills and pushes --------------------------------------------------------------------------


async def test_pushes_tell_the_whole_life_of_an_order(exchange, market):
    updates = exchange.updates()
    order_id = await exchange.place(
        ticket(order_type=OrderType.SL, trigger_price=Decimal(101), limit_price=Decimal(102)),
        timeout_s=TIMEOUT_S,
    )
    market.set(INFY, "101.50")

    await exchange.match_resting()

    pushed = [await anext(updates) for _ in range(3)]
    assert [row.status for row in pushed] == [
        BrokerOrderStatus.TRIGGER_PENDING,
        BrokerOrderStatus.OPEN,
        BrokerOrderStatus.COMPLETE,
    ]
    [fill] = pushed[-1].fills
    assert (fill.quantity, fill.price, fill.broker_order_id) == (10, Decimal("101.55"), order_id)
    assert fill.trade_id.isdigit()
    assert await exchange.trades(order_id) == pushed[-1].fills
    assert await row_of(exchange, order_id) == pushed[-1]


async def test_updates_are_pushed_from_the_subscription_on(exchange):
    early = exchange.updates()
    first = await exchange.place(limit(90), timeout_s=TIMEOUT_S)
    late = exchange.updates()
    second = await exchange.place(limit(90), timeout_s=TIMEOUT_S)

    assert [(await anext(early)).broker_order_id for _ in range(2)] == [first, second]
    assert (await anext(late)).broker_order_id == second


async def test_slow_subscriber_loses_the_oldest_updates(market, clock):
    exchange = VirtualExchange(market, clock, Random(1), updates_max=2)
    updates = exchange.updates()

    ids = [await exchange.place(limit(90), timeout_s=TIMEOUT_S) for _ in range(5)]

    assert [(await anext(updates)).broker_order_id for _ in range(2)] == ids[3:]


async def test_updates_end_with_the_exchange(exchange):
    updates = exchange.updates()
    reader = asyncio.create_task(anext(updates, None))
    await settle()

    await exchange.close()

    assert await reader is None
    assert [row async for row in updates] == []
    with pytest.raises(BrokerUnavailable):
        await exchange.place(ticket(), timeout_s=TIMEOUT_S)


async def test_running_exchange_matches_what_rests(market):
    clock = FakeClock()
    exchange = VirtualExchange(market, clock, Random(1), latency_ms=(0, 0), poll_interval_s=0.25)
    running = asyncio.create_task(exchange.run())
    order_id = await exchange.place(limit(99), timeout_s=TIMEOUT_S)

    market.set(INFY, "98.50")
    await clock.advance(0.25)

    assert (await row_of(exchange, order_id)).status is BrokerOrderStatus.COMPLETE
    running.cancel()


async def test_only_instruments_with_working_orders_are_looked_at(exchange, market):
    await exchange.place(ticket(), timeout_s=TIMEOUT_S)
    market.looks = 0

    await exchange.match_resting()

    assert market.looks == 0


async def test_market_that_falls_silent_leaves_orders_alone(exchange, market):
    order_id = await exchange.place(limit(99), timeout_s=TIMEOUT_S)
    market.set(INFY, "NaN")

    await exchange.match_resting()

    assert (await row_of(exchange, order_id)).status is BrokerOrderStatus.OPEN


# --- the trading day ---------------------------------------------------------------------------

# A second to midnight in India.
LATE = datetime(2026, 1, 5, 18, 29, 59, tzinfo=UTC)
HOUR_S = 3600


@pytest.fixture
def night(market):
    clock = FakeClock(LATE)
    return clock, VirtualExchange(market, clock, Random(1), latency_ms=(0, 0))


@pytest.mark.parametrize(
    "order",
    [limit(90), limit(110, side=Side.SELL), ticket(order_type=OrderType.SL_M, trigger_price=Decimal(110))],
    ids=["buy", "sell", "stop"],
)
async def test_what_works_at_midnight_has_expired_and_never_fills(night, market, order):
    clock, exchange = night
    order_id = await exchange.place(order, timeout_s=TIMEOUT_S)
    updates = exchange.updates()
    await clock.advance(0.9)
    await exchange.match_resting()
    before = (await row_of(exchange, order_id)).status

    await clock.advance(0.1)
    market.set(INFY, "89")
    exchange.on_ticks([Tick(INFY, clock.now(), Decimal(111)), Tick(INFY, clock.now(), Decimal(89))])
    await exchange.match_resting()

    assert before in (BrokerOrderStatus.OPEN, BrokerOrderStatus.TRIGGER_PENDING)
    row = await row_of(exchange, order_id)
    assert (row.status, row.fills) == (BrokerOrderStatus.EXPIRED, ())
    assert await anext(updates) == row
    with pytest.raises(BrokerRejected) as refused:
        await exchange.cancel(order_id, timeout_s=TIMEOUT_S)
    assert refused.value.reason_code == "ORDER_NOT_OPEN"


async def test_an_order_that_arrives_after_midnight_is_of_the_new_day(market):
    clock = FakeClock(LATE)
    exchange = VirtualExchange(market, clock, Random(1), latency_ms=(3000, 3000))
    placing = asyncio.create_task(exchange.place(limit(90), timeout_s=TIMEOUT_S))
    await clock_runs(clock, 1.5)
    await clock_runs(clock, 1.5)
    market.set(INFY, "89")
    await exchange.match_resting()

    reading = asyncio.create_task(row_of(exchange, await placing))
    await clock_runs(clock, 3)
    assert (await reading).status is BrokerOrderStatus.COMPLETE


async def test_a_look_that_began_before_midnight_fills_nothing_after_it(night, market):
    clock, exchange = night
    order_id = await exchange.place(limit(90), timeout_s=TIMEOUT_S)
    market.set(INFY, "89")

    async def midnight() -> None:
        await clock.advance(2)

    market.before_next_look = midnight
    await exchange.match_resting()

    assert (await row_of(exchange, order_id)).status is BrokerOrderStatus.EXPIRED


async def test_a_cancel_that_arrives_after_midnight_finds_it_expired(market):
    clock = FakeClock(LATE - timedelta(seconds=1.5))
    exchange = VirtualExchange(market, clock, Random(1), latency_ms=(1000, 1000))
    placing = asyncio.create_task(exchange.place(limit(90), timeout_s=TIMEOUT_S))
    await clock_runs(clock, 1)
    updates = exchange.updates()
    cancelling = asyncio.create_task(exchange.cancel(placing.result(), timeout_s=TIMEOUT_S))
    await clock_runs(clock, 1)
    await clock_runs(clock, 1)

    assert cancelling.done()
    assert clock.now() > LATE + timedelta(seconds=1)
    assert [(await anext(updates)).status for _ in range(2)] == [
        BrokerOrderStatus.PENDING,
        BrokerOrderStatus.EXPIRED,
    ]


async def test_the_book_has_the_trading_day_and_for_some_hours_the_last_one(night):
    clock, exchange = night
    filled = await exchange.place(ticket(), timeout_s=TIMEOUT_S)
    resting = await exchange.place(limit(90), timeout_s=TIMEOUT_S)
    reads = []
    for hours in (1, 9, 24, 24):
        reads.append(await exchange.order_book())
        await exchange.place(ticket(), timeout_s=TIMEOUT_S)
        await clock.advance(hours * HOUR_S)
    night_read, early, late, later = reads

    assert [row.broker_order_id for row in night_read.orders] == [filled, resting]
    assert {row.broker_order_id for row in early.orders} >= {filled, resting}
    assert late.orders
    for read in (late, later):
        assert not {filled, resting} & {row.broker_order_id for row in read.orders}
    # What a read says to cover it has, and nothing from before.
    for read in reads:
        assert all(row.placed_at >= read.covers_since for row in read.orders)
    assert night_read.covers_since == early.covers_since == LATE
    assert late.covers_since == LATE + timedelta(seconds=1)


async def test_an_exchange_that_slept_over_midnight_still_shows_what_has_expired(night):
    clock, exchange = night
    order_id = await exchange.place(limit(90), timeout_s=TIMEOUT_S)
    await clock.advance(3 * 24 * HOUR_S)

    read = await exchange.order_book()

    assert [(row.broker_order_id, row.status) for row in read.orders] == [(order_id, BrokerOrderStatus.EXPIRED)]
    assert read.covers_since <= read.orders[0].placed_at


async def test_what_expired_unheard_is_learnt_from_the_next_read_and_nothing_else_is_concluded():
    """Nobody is pushed anything here: the desk knows only what it reads."""
    desk = Desk()
    await desk.clock.advance((LATE - desk.clock.now()).total_seconds())
    market = FixedMarket(desk.clock)
    market.set(RELIANCE, "100")
    exchange = VirtualExchange(market, desk.clock, Random(1), latency_ms=(0, 0))
    facts = BookFacts(desk.store, exchange, TAG_PREFIX)
    settings = ReconcileSettings(settle_s=SETTLE_S, give_up_s=GIVE_UP_S)
    reconcile = Reconcile(desk.store, exchange, facts, desk.clock, settings)
    execute = ExecuteSlice(exchange, desk.clock, ExecuteSettings(executor="executor-1", lease_s=LEASE_S))
    resting = await desk.order("rests", order_type=OrderType.LIMIT, limit_price=Decimal(90))
    lost = await desk.order("filled, and its answer is lost")
    exchange.faults.on(Call.PLACE, None, LoseAnswer())
    first, second = await desk.claim()
    await desk.record([await execute(first, desk.clock.monotonic())])
    sending = asyncio.create_task(execute(second, desk.clock.monotonic()))
    await clock_runs(desk.clock, 15)
    await desk.record([await sending])
    unknown = await desk.execution(lost)

    await desk.clock.advance(HOUR_S)
    reports = [await reconcile() for _ in range(2)]

    assert unknown.phase is Phase.UNKNOWN
    assert [report.complete for report in reports] == [True, True]
    assert (await desk.execution(resting)).status is ExecutionStatus.EXPIRED
    assert (await desk.execution(lost)).status is ExecutionStatus.FILLED


async def test_orders_of_past_days_are_forgotten(night):
    clock, exchange = night
    tag = "KNOWN"
    for day in range(5):
        for number in range(10):
            await exchange.place(limit(90, tag=f"D{day}N{number}"), timeout_s=TIMEOUT_S)
        if day == 0:
            await exchange.place(limit(90, tag=tag), timeout_s=TIMEOUT_S)
        await clock.advance(24 * HOUR_S)
        await exchange.match_resting()

    # Also where nobody reads: of the last day and this one.
    assert len(exchange._book._rows) == len(exchange._book._tickets) == len(exchange._book._tags) == 10
    assert await exchange.place(limit(90, tag=tag), timeout_s=TIMEOUT_S)


# --- cancel ------------------------------------------------------------------------------------


@pytest.fixture
def slow(market):
    """An exchange whose every round trip takes a tenth of a second of a clock that stands still."""
    clock = FakeClock()
    return clock, VirtualExchange(market, clock, Random(1), latency_ms=(100, 100))


async def test_cancel_is_pending_before_it_is_done(slow):
    clock, exchange = slow
    placing = asyncio.create_task(exchange.place(limit(90), timeout_s=TIMEOUT_S))
    await clock_runs(clock, 0.1)
    updates = exchange.updates()

    cancelling = asyncio.create_task(exchange.cancel(placing.result(), timeout_s=TIMEOUT_S))
    await clock_runs(clock, 0.1)
    pending = await anext(updates)
    await clock_runs(clock, 0.1)

    assert cancelling.done()
    assert pending.status is BrokerOrderStatus.PENDING
    assert (await anext(updates)).status is BrokerOrderStatus.CANCELLED


async def test_order_may_fill_while_its_cancel_is_pending(slow, market):
    clock, exchange = slow
    placing = asyncio.create_task(exchange.place(limit(90), timeout_s=TIMEOUT_S))
    await clock_runs(clock, 0.1)
    updates = exchange.updates()
    cancelling = asyncio.create_task(exchange.cancel(placing.result(), timeout_s=TIMEOUT_S))
    await clock_runs(clock, 0.1)

    market.set(INFY, "89")
    await exchange.match_resting()
    await clock_runs(clock, 1.0)

    assert cancelling.done()
    statuses = [(await anext(updates)).status for _ in range(2)]
    assert statuses == [BrokerOrderStatus.PENDING, BrokerOrderStatus.COMPLETE]


async def test_asking_twice_for_a_cancel_is_asking_once(exchange):
    order_id = await exchange.place(limit(90), timeout_s=TIMEOUT_S)
    updates = exchange.updates()

    wishes = [exchange.cancel(order_id, timeout_s=TIMEOUT_S) for _ in range(2)]
    await asyncio.gather(*wishes, return_exceptions=True)
    await settle()

    assert [(await anext(updates)).status for _ in range(2)] == [
        BrokerOrderStatus.PENDING,
        BrokerOrderStatus.CANCELLED,
    ]


# --- time --------------------------------------------------------------------------------------


async def test_calls_take_their_latency(market):
    clock = FakeClock(auto=True)
    exchange = VirtualExchange(market, clock, Random(1), latency_ms=(20, 60))

    for _ in range(20):
        began = clock.monotonic()
        await exchange.place(ticket(), timeout_s=TIMEOUT_S)
        assert 0.02 <= clock.monotonic() - began <= 0.06


@pytest.mark.parametrize(("timeout_s", "orders"), [(0.04, 0), (0.06, 1)])
async def test_call_slower_than_its_timeout_has_an_unknown_outcome(market, timeout_s, orders):
    clock = FakeClock(auto=True)
    exchange = VirtualExchange(market, clock, Random(1), latency_ms=(100, 100))

    with pytest.raises(BrokerOutcomeUnknown) as unknown:
        await exchange.place(ticket(), timeout_s=timeout_s)

    assert unknown.value.call_ended
    assert clock.monotonic() == pytest.approx(timeout_s)
    assert len((await exchange.order_book()).orders) == orders


async def test_same_seed_gives_the_same_session():
    async def session() -> list[object]:
        clock = FakeClock(auto=True)
        market = FixedMarket(clock)
        market.set(INFY, "100")
        exchange = VirtualExchange(market, clock, Random(7))
        for number in range(10):
            side = Side.BUY if number % 2 else Side.SELL
            await exchange.place(ticket(tag=f"S{number}", side=side), timeout_s=TIMEOUT_S)
        return list((await exchange.order_book()).orders)

    assert await session() == await session()


async def clock_runs(clock: FakeClock, seconds: float) -> None:
    await settle()
    await clock.advance(seconds)
