"""Orders at rest meet ticks when they come, and candles only of minutes that no tick was seen of."""

from datetime import datetime, timedelta
from decimal import Decimal
from random import Random

import pytest

from pulse_adapters.virtual.exchange import VirtualExchange
from pulse_domain.candles import ClosedCandle
from pulse_domain.instruments import Instrument
from pulse_domain.matching import Candle, Tick
from pulse_domain.orders.model import OrderType, Side
from pulse_domain.ports.broker import BrokerOrderStatus
from pulse_domain.testing.fake_clock import FakeClock
from tests.unit.virtual.fixed_market import FixedMarket
from tests.unit.virtual.tickets import INFY, TIMEOUT_S, limit, ticket

START = datetime.fromisoformat("2026-01-05T10:00:30+05:30")
MINUTE = timedelta(minutes=1)
FIRST = START.replace(second=0)  # the minute in which a test begins
TCS = Instrument.parse("NSE:TCS")


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(START)


@pytest.fixture
async def exchange(clock, market):
    exchange = VirtualExchange(market, clock, Random(1), latency_ms=(0, 0))
    yield exchange
    await exchange.close()


def tick(price: str | int, at: datetime = START, instrument: Instrument = INFY) -> Tick:
    return Tick(instrument, at, Decimal(price))


def minute(number: int, *prices: str | int, instrument: Instrument = INFY) -> ClosedCandle:
    """The candle of the minute so many after the first: open, high, low, close; or flat."""
    opened, high, low, close = (Decimal(price) for price in (prices if len(prices) == 4 else prices * 4))
    start = FIRST + number * MINUTE
    return ClosedCandle(instrument, 1, start, Candle(instrument, start, opened, high, low, close, 100))


async def place(exchange: VirtualExchange, price: int = 90, **changes):
    return await exchange.place(limit(price, **changes), timeout_s=TIMEOUT_S)


async def row_of(exchange: VirtualExchange, order_id):
    return next(row for row in (await exchange.order_book()).orders if row.broker_order_id == order_id)


async def fills(exchange: VirtualExchange, order_id) -> list[tuple[int, str]]:
    return [(fill.quantity, str(fill.price)) for fill in (await row_of(exchange, order_id)).fills]


# --- ticks


async def test_every_tick_of_a_batch_is_met_and_not_only_the_last(exchange):
    order_id = await place(exchange)

    exchange.on_ticks([tick(95), tick(89), tick(99)])

    assert await fills(exchange, order_id) == [(10, "89")]


async def test_a_tick_reaches_only_orders_of_its_instrument(exchange):
    order_id = await place(exchange)

    exchange.on_ticks([tick(80, instrument=TCS)])

    assert await fills(exchange, order_id) == []


async def test_a_stop_fires_at_the_tick_that_reaches_it(exchange):
    stop = ticket(side=Side.SELL, order_type=OrderType.SL_M, trigger_price=Decimal(95))
    order_id = await exchange.place(stop, timeout_s=TIMEOUT_S)

    exchange.on_ticks([tick(96), tick("94.50")])

    assert await fills(exchange, order_id) == [(10, "94.50")]


async def test_a_fill_is_pushed_when_its_tick_comes(exchange):
    order_id = await place(exchange)
    updates = exchange.updates()

    exchange.on_ticks([tick(89)])

    pushed = await anext(updates)
    assert (pushed.broker_order_id, pushed.status) == (order_id, BrokerOrderStatus.COMPLETE)


async def test_an_order_that_a_tick_filled_on_the_way_of_its_look_is_not_filled_again(exchange, market):
    order_id = await place(exchange)
    market.set(INFY, "80")

    async def tick_comes() -> None:
        exchange.on_ticks([tick(89)])

    market.before_next_look = tick_comes
    await exchange.match_resting()

    assert await fills(exchange, order_id) == [(10, "89")]


async def test_a_quote_read_before_a_tick_came_is_older_than_it(exchange, market):
    order_id = await place(exchange)
    market.set(INFY, "80")

    async def tick_comes() -> None:
        exchange.on_ticks([tick(95)])

    market.before_next_look = tick_comes
    await exchange.match_resting()

    assert await fills(exchange, order_id) == []


async def test_polls_look_only_at_what_no_tick_came_of(exchange, market):
    market.set(TCS, "100")
    await place(exchange)
    await place(exchange, instrument=TCS)
    before = market.looks

    exchange.on_ticks([tick(95)])
    await exchange.match_resting()
    ticked = market.looks - before
    await exchange.match_resting()

    assert (ticked, market.looks - before) == (1, 3)


@pytest.mark.parametrize("price", ["0", "-5", "NaN"])
async def test_a_tick_that_no_order_may_meet_is_passed_over(exchange, price):
    order_id = await place(exchange)

    exchange.on_ticks([tick(price), tick(89)])

    assert await fills(exchange, order_id) == [(10, "89")]


# --- candles


async def test_a_candle_of_a_gap_fills_what_it_goes_through_at_the_limit(exchange):
    bought, missed = await place(exchange, 90), await place(exchange, 88)
    sold = await place(exchange, 110, side=Side.SELL)

    exchange.on_candles([minute(1, 100, 111, 88, 100)])

    assert await fills(exchange, bought) == [(10, "90")]
    assert await fills(exchange, sold) == [(10, "110")]
    assert await fills(exchange, missed) == [], "a touch is not enough"


async def test_a_candle_that_opened_beyond_the_limit_fills_at_its_open(exchange):
    order_id = await place(exchange)

    exchange.on_candles([minute(1, 85, 95, 85, 95)])

    assert await fills(exchange, order_id) == [(10, "85")]


async def test_a_minute_that_a_tick_was_seen_of_fills_nothing_by_its_candle(exchange):
    order_id = await place(exchange)

    exchange.on_ticks([tick(95, FIRST + MINUTE + timedelta(seconds=59.9))])
    exchange.on_candles([minute(1, 100, 100, 80, 95)])
    between = await fills(exchange, order_id)
    exchange.on_candles([minute(2, 100, 100, 80, 95)])

    assert between == []
    assert await fills(exchange, order_id) == [(10, "90")]


async def test_a_tick_of_another_instrument_leaves_the_minute_open(exchange):
    order_id = await place(exchange)

    exchange.on_ticks([tick(95, FIRST + MINUTE, TCS)])
    exchange.on_candles([minute(1, 100, 100, 80, 95)])

    assert await fills(exchange, order_id) == [(10, "90")]


async def test_what_a_tick_has_filled_no_candle_fills_again(exchange):
    order_id = await place(exchange)

    exchange.on_ticks([tick(89, FIRST + 3 * MINUTE)])
    exchange.on_candles([minute(1, 80), minute(2, 80)])

    assert await fills(exchange, order_id) == [(10, "89")]


async def test_an_order_does_not_meet_the_candle_that_it_came_in(exchange, clock):
    early = await place(exchange)
    await clock.advance(60)  # now in the second minute
    late = await place(exchange)

    exchange.on_candles([minute(0, 80), minute(1, 80)])
    between = await fills(exchange, early), await fills(exchange, late)
    exchange.on_candles([minute(2, 85)])

    assert between == ([(10, "80")], [])
    assert await fills(exchange, late) == [(10, "85")]


async def test_an_order_set_aside_keeps_its_place(exchange, clock):
    early = await place(exchange)
    await clock.advance(60)
    late = await place(exchange)

    exchange.on_candles([minute(1, 95)])
    pushed = exchange.updates()
    exchange.on_ticks([tick(89, START + 2 * MINUTE)])

    assert [(await anext(pushed)).broker_order_id for _ in range(2)] == [early, late]


async def test_other_terms_count_from_their_change_on(exchange, clock):
    order_id = await place(exchange, 80)
    await clock.advance(60)
    await exchange.modify(order_id, quantity=10, limit_price=Decimal(90), timeout_s=TIMEOUT_S)

    exchange.on_candles([minute(1, 85)])
    between = await fills(exchange, order_id)
    exchange.on_candles([minute(2, 85)])

    assert between == []
    assert await fills(exchange, order_id) == [(10, "85")]


async def test_a_candle_told_again_fills_nothing(exchange):
    exchange.on_candles([minute(1, 80)])
    order_id = await place(exchange)
    exchange.on_candles([minute(1, 80)])

    assert await fills(exchange, order_id) == []


async def test_a_stop_that_a_candle_fires_rests_for_the_next_one(exchange, clock):
    stop = ticket(order_type=OrderType.SL, trigger_price=Decimal(105), limit_price=Decimal(105), side=Side.BUY)
    order_id = await exchange.place(stop, timeout_s=TIMEOUT_S)
    await clock.advance(600)  # holes are filled afterwards

    exchange.on_candles([minute(1, 107, 108, 106, 107)])
    fired = await row_of(exchange, order_id)
    exchange.on_candles([minute(2, 107, 107, 104, 104)])

    assert (fired.status, fired.fills) == (BrokerOrderStatus.OPEN, ())
    assert await fills(exchange, order_id) == [(10, "105")]


async def test_a_stop_that_a_tick_fires_meets_only_candles_after_it(exchange, clock):
    stop = ticket(order_type=OrderType.SL, trigger_price=Decimal(105), limit_price=Decimal(105))
    order_id = await exchange.place(stop, timeout_s=TIMEOUT_S)
    await clock.advance(150)
    exchange.on_ticks([tick(107, START + timedelta(seconds=150))])

    exchange.on_candles([minute(1, 100), minute(2, 100)])

    assert await fills(exchange, order_id) == []


async def test_gaps_and_longer_candles_fill_nothing(exchange):
    order_id = await place(exchange)
    start, candle = FIRST + MINUTE, minute(1, 80).candle

    exchange.on_candles([ClosedCandle(INFY, 5, start, candle), ClosedCandle(INFY, 1, start, None)])

    assert await fills(exchange, order_id) == []


async def test_a_cancelled_order_meets_neither(exchange, clock):
    order_id = await place(exchange)
    await exchange.cancel(order_id, timeout_s=TIMEOUT_S)
    await clock.advance(1)

    exchange.on_ticks([tick(80)])
    exchange.on_candles([minute(1, 80)])

    row = await row_of(exchange, order_id)
    assert (row.status, row.fills) == (BrokerOrderStatus.CANCELLED, ())


async def test_a_feed_of_months_leaves_no_minutes_behind():
    clock = FakeClock(START)
    exchange = VirtualExchange(FixedMarket(clock), clock, Random(1))

    for number in range(5000):
        exchange.on_ticks([tick(100, START + number * MINUTE)])

    assert len(exchange._minutes._met[INFY]) <= 2 * 24 * 60
    await exchange.close()
