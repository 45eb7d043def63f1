"""What holds for all orders and all markets."""

import time
from collections.abc import Sequence
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from pulse_domain.matching import Candle, Filled, MatchingEngine, Result, Tick, VenueOrder
from pulse_domain.orders.model import OrderType, Side, Validity
from tests.unit.matching import make

TICK = Decimal("0.05")

prices = st.integers(1, 60).map(lambda ticks: ticks * TICK)
instruments = st.sampled_from([make.INFY, make.TCS])


@st.composite
def orders(draw: st.DrawFn) -> VenueOrder:
    order_type = draw(st.sampled_from(OrderType))
    return VenueOrder(
        order_id="",
        instrument=draw(instruments),
        side=draw(st.sampled_from(Side)),
        quantity=draw(st.integers(1, 100)),
        order_type=order_type,
        validity=draw(st.sampled_from(Validity)),
        limit_price=draw(prices) if order_type.has_limit else None,
        trigger_price=draw(prices) if order_type.has_trigger else None,
    )


@st.composite
def candles(draw: st.DrawFn) -> Candle:
    low, *inner, high = sorted(draw(st.lists(prices, min_size=4, max_size=4)))
    opened, closed = draw(st.permutations(inner))
    return make.candle(opened, high, low, closed, instrument=draw(instruments))


@st.composite
def ticks(draw: st.DrawFn) -> Tick:
    bid, ask = sorted(draw(st.tuples(prices, prices)))
    quoted = draw(st.booleans())
    return make.tick(
        draw(prices), bid if quoted else None, ask if quoted else None, instrument=draw(instruments)
    )


steps = st.lists(st.one_of(orders(), candles(), ticks()), max_size=40)
engines = st.booleans().map(lambda touch: lambda: MatchingEngine(fill_on_touch=touch))


def play(engine: MatchingEngine, market: Sequence[VenueOrder | Candle | Tick]) -> list[tuple[Result, ...]]:
    """Every step's results; the order ids are the positions of the orders."""
    heard = []
    for position, step in enumerate(market):
        if isinstance(step, VenueOrder):
            heard.append(engine.submit(named(step, position)))
        elif isinstance(step, Candle):
            heard.append(engine.process_candle(step))
        else:
            heard.append(engine.process_tick(step))
    return heard


def named(order: VenueOrder, position: int) -> VenueOrder:
    return replace(order, order_id=str(position))


@given(engines, steps)
def test_no_order_fills_beyond_its_quantity(new_engine, market):
    filled: dict[str, int] = {}
    for results in play(new_engine(), market):
        for fill in (result for result in results if isinstance(result, Filled)):
            filled[fill.order_id] = filled.get(fill.order_id, 0) + fill.quantity

    assert all(quantity <= market[int(order_id)].quantity for order_id, quantity in filled.items())


@given(engines, steps)
def test_no_fill_is_worse_than_its_limit_or_outside_its_candle(new_engine, market):
    for step, results in zip(market, play(new_engine(), market), strict=True):
        for fill in (result for result in results if isinstance(result, Filled)):
            order = market[int(fill.order_id)]
            if order.limit_price is not None:
                worse = fill.price > order.limit_price
                assert fill.price == order.limit_price or worse is (order.side is Side.SELL)
            if isinstance(step, Candle):
                assert step.low <= fill.price <= step.high
                assert step.instrument == order.instrument


@given(engines, steps)
def test_every_order_ends_once_or_works_on(new_engine, market):
    engine = new_engine()
    heard = [result for results in play(engine, market) for result in results]

    ended = [r.order_id for r in heard if type(r).__name__ in ("Filled", "Cancelled")]
    working = [order.order_id for order in engine.working_orders()]
    placed = [str(i) for i, step in enumerate(market) if isinstance(step, VenueOrder)]
    assert sorted(ended + working, key=int) == placed


@given(engines, steps)
def test_same_input_gives_same_output(new_engine, market):
    assert play(new_engine(), market) == play(new_engine(), market)


@given(st.lists(st.tuples(st.sampled_from(Side), prices), max_size=30), ticks(), candles())
def test_exactly_the_limits_that_the_price_goes_through_fill(rows, tick, candle):
    def through(side: Side, limit: Decimal, low: Decimal, high: Decimal) -> bool:
        return low < limit if side is Side.BUY else high > limit

    for market, low, high in ((tick, tick.price, tick.price), (candle, candle.low, candle.high)):
        engine, expected = MatchingEngine(), set()
        for position, (side, limit) in enumerate(rows):
            order = make.buy_limit(limit, str(position), instrument=market.instrument)
            if side is Side.SELL:
                order = make.sell_limit(limit, str(position), instrument=market.instrument)
            engine.submit(order)
            quote = (tick.ask if side is Side.BUY else tick.bid) if market is tick else None
            met = quote is not None and (quote <= limit if side is Side.BUY else quote >= limit)
            if met or through(side, limit, low, high):
                expected.add(str(position))

        results = engine.process_tick(tick) if market is tick else engine.process_candle(candle)

        assert {order_id for order_id, _ in make.fills(results)} == expected
        left = {str(position) for position in range(len(rows))} - expected
        assert {order.order_id for order in engine.working_orders()} == left


@given(steps, st.data())
def test_cancelled_and_modified_orders_leave_no_trace(market, data):
    # Orders that were changed and taken out again must not change what happens to the others.
    engine, touched = MatchingEngine(), MatchingEngine()
    play(engine, market)
    play(touched, market)
    extra = make.order("extra", order_type=OrderType.LIMIT, limit_price=TICK)
    touched.submit(extra)
    for limit in data.draw(st.lists(prices, max_size=4)):
        touched.modify("extra", limit_price=limit)
    touched.cancel("extra")

    end = [make.candle(1, 3, TICK, 1), make.candle(1, 3, TICK, 1, instrument=make.TCS)]
    assert play(engine, end) == play(touched, end)


def test_a_pass_over_orders_out_of_reach_does_not_grow_with_their_number():
    few, many = _seconds_per_tick(100), _seconds_per_tick(20_000)

    assert many < 5 * few


def _seconds_per_tick(resting: int) -> float:
    engine = MatchingEngine()
    for number in range(resting):
        engine.submit(make.buy_limit((number % 1000 + 1) * TICK, str(number)))
        engine.submit(make.sell_stop((number % 1000 + 1) * TICK, order_id=f"s{number}"))
    out_of_reach = make.tick(100, "99.95", "100.05")

    def run() -> float:
        began = time.perf_counter()
        for _ in range(200):
            engine.process_tick(out_of_reach)
        return time.perf_counter() - began

    return min(run() for _ in range(5))
