"""How orders end: with the day, the data, a candle as long as a day, or the hour of squaring off."""

from datetime import datetime, time, timedelta
from decimal import Decimal
from itertools import chain
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from pulse_domain.backtest import CandleSeries, run_backtest
from pulse_domain.errors import InvalidSettings, StrategyFailed
from pulse_domain.instruments import Instrument, InstrumentTerms
from pulse_domain.matching import Candle, CandleEntry, FixedTicks, Latency, MatchingSettings, Tick
from pulse_domain.orders.events import ExecutionAccepted
from pulse_domain.orders.model import Product, Side
from pulse_domain.splitting import Twap
from tests.unit.backtest import make
from tests.unit.backtest.make import OnCandles, at, clock, timed
from tests.unit.backtest.markets import INSTRUMENTS, Story, stories

BUY, SELL = Side.BUY, Side.SELL
SAME_CLOSE: dict[str, Any] = {"candle_entry": CandleEntry.SAME_CLOSE}
FIVE = timedelta(minutes=5)


# --- the end of the day and of the data -------------------------------------------------------


def test_what_works_expires_at_midnight_in_india():
    rows = make.bars(100, 100) + make.bars((100, 100, 80, 90), start=at("09:15", day=6))

    result = make.run([timed("09:15", limit=90)], CandleSeries.from_candles(rows, interval=make.MINUTE))

    order = result.orders[0]
    assert make.ends(order) == ["EXPIRED"]
    assert order.journal[-1].at == at("00:00", day=6)
    assert make.rows(result.fills) == []


def test_a_slice_after_the_close_expires_and_one_of_the_next_day_fills():
    rows = make.bars(100, 100) + make.bars(*[110] * 60, start=at("09:15", day=6))
    order = timed("09:15", quantity=30, schedule=Twap(3), ends_at=at("09:16", day=6))

    result = make.run([order], CandleSeries.from_candles(rows, interval=make.MINUTE))

    # Due at 09:15, at 21:15:30 and at 09:16 on the next day.
    assert make.ends(result.orders[0]) == [None, "EXPIRED", None]
    assert make.rows(result.fills) == [("09:15", 10, Decimal(100)), ("09:16", 10, Decimal(110))]
    assert result.orders[0].summary.state == "PARTIALLY_FILLED"


def test_slices_that_are_due_after_the_data_lapse():
    result = make.run([timed("09:15", quantity=30, split_config=make.split(3, 4))], make.series(100, 101, 102))

    assert make.ends(result.orders[0]) == [None, None, "LAPSED"]
    assert result.orders[0].summary.quantities.cancelled == 10


def test_a_slice_that_is_due_as_the_data_ends_lapses():
    result = make.run([timed("09:15", quantity=20, split_config=make.split(2, 2))], make.series(100, 101))

    assert make.ends(result.orders[0]) == [None, "LAPSED"]


def test_what_still_works_when_the_data_ends_expires():
    result = make.run([timed("09:15", limit=50), timed("09:16:30")], make.series(100, 101))

    assert make.states(result) == ["EXPIRED", "EXPIRED"]


def test_an_instrument_whose_data_ends_first_fills_no_more():
    result = make.run(
        [timed("09:17", instrument=make.TCS)],
        [make.series(*range(100, 110)), make.series(50, 51, instrument=make.TCS)],
    )

    assert make.states(result) == ["EXPIRED"]


@given(stories())
def test_every_order_comes_to_its_end(story: Story):
    result = run_backtest(story.orders, story.series, settings=story.settings, seed=story.seed)

    assert len(result.orders) == len(story.orders)
    assert all(order.summary.done for order in result.orders)
    assert all(execution.is_final for o in result.orders for s in o.slices for execution in s.executions)


def test_a_strategy_that_sends_again_when_an_order_has_ended_comes_to_an_end():
    def again(it, update):
        if update.done:
            assert len(it.keys) < 100, "without end"
            it.send(limit=1)

    strategy = OnCandles(on_start=lambda it: it.send(limit=1), on_update=again)

    result = make.run(strategy, make.series(100, 101, 102))

    assert set(make.states(result)) == {"EXPIRED"}


def test_a_strategy_that_answers_without_end_is_stopped():
    # It cannot pay, is told so at once, and tries again at once.
    strategy = OnCandles({0: lambda it: it.send()}, on_update=lambda it, update: it.send())

    with pytest.raises(StrategyFailed, match="without end") as failed:
        run_backtest(strategy, make.series(100, 101), settings=make.settings(capital=Decimal(1)))

    assert failed.value.details == {"callback": "on_order_update", "at": at("09:16").isoformat()}


def test_every_end_is_told_also_when_the_strategy_sends_more_after_the_data():
    strategy = OnCandles(
        on_start=lambda it: [it.send(limit=1), it.send(limit=2)], on_update=lambda it, update: it.send(limit=1)
    )

    make.run(strategy, make.series(100, 101, 102))

    assert {update.order_unique_key for update in strategy.updates if update.done} >= {"order-1", "order-2"}


def test_an_order_sent_at_the_last_candle_is_done_at_once():
    stands = []
    strategy = OnCandles({2: lambda it: stands.append(it.desk.order(it.send()))})

    result = make.run(strategy, make.series(100, 101, 102))

    assert [(it.state, it.done) for it in stands] == [("EXPIRED", True)]
    assert make.ends(result.orders[0]) == ["LAPSED"]


# --- candles of a day or longer ---------------------------------------------------------------


def daily(*days: int, hour: str = "00:00", prices: int = 100, instrument=make.INFY) -> CandleSeries:
    rows = [
        make.bars((prices, prices + 5, prices - 5, prices), start=at(hour, day), instrument=instrument)[0]
        for day in days
    ]
    return CandleSeries.from_candles(rows, interval=timedelta(days=1))


@pytest.mark.parametrize("hour", ["00:00", "05:30", "09:15", "15:30"])
def test_an_order_of_one_day_fills_at_the_open_of_the_next_candle_over_any_weekend(hour):
    data = daily(5, 6, 7, 8, 9, 12, 13, 15, hour=hour)
    strategy = OnCandles(dict.fromkeys(range(7), lambda it: it.send()))

    result = make.run(strategy, data)

    assert make.states(result) == ["FILLED"] * 7
    assert [fill.at.day for fill in result.fills] == [6, 7, 8, 9, 12, 13, 15]


@pytest.mark.parametrize("hour", ["00:00", "09:15"])
def test_a_limit_order_works_for_the_next_daily_candle_and_no_longer(hour):
    strategy = OnCandles({0: lambda it: [it.send(limit=98), it.send(limit=94)]})
    data = daily(5, 6, 7, 8, hour=hour)

    result = make.run(strategy, data)

    assert make.states(result) == ["FILLED", "EXPIRED"]
    assert [fill.at.day for fill in result.fills] == [6]


def test_weekly_candles_are_traded():
    rows = [make.bars(100, start=at("00:00", day))[0] for day in (5, 12, 19, 26)]
    strategy = OnCandles(dict.fromkeys(range(3), lambda it: it.send()))

    result = make.run(strategy, CandleSeries.from_candles(rows, interval=timedelta(days=7)))

    assert make.states(result) == ["FILLED"] * 3


@pytest.mark.parametrize("limit", [None, "90"])
@pytest.mark.parametrize("when", [at("09:15"), at("23:58:30", day=6), at("00:00", day=6) - make.MICROSECOND])
def test_an_order_inside_a_daily_candle_comes_to_its_end(when, limit):
    result = make.run([timed(when, limit=limit)], daily(5, 6))

    assert result.orders[0].summary.done


def test_latency_is_refused_with_daily_candles_as_it_would_miss_every_open():
    delay = Latency(timedelta(milliseconds=100), timedelta(milliseconds=100))

    with pytest.raises(InvalidSettings, match="latency"):
        run_backtest([], daily(5, 6, 7), settings=make.settings(matching={"latency": delay}))


@pytest.mark.parametrize("slippage", [None, FixedTicks(0)])
@pytest.mark.parametrize("limit", [None, 97])
def test_an_order_works_to_the_end_of_the_candle_that_spans_midnight(limit, slippage):
    # Candles of four hours, as those of a commodity exchange that trades until 23:30.
    rows = [
        make.bars((100, 105, 95, 100), start=at(hour, day))[0] for day in (5, 6) for hour in ("17:00", "21:00")
    ]
    data = CandleSeries.from_candles(rows, interval=timedelta(hours=4))
    strategy = OnCandles({0: lambda it: it.send(limit=limit)})

    result = make.run(strategy, data, matching={"slippage": slippage})

    assert make.states(result) == ["FILLED"]
    assert result.fills[0].at == at("21:00")


def test_a_daily_candle_is_worked_on_once_whoever_meets_its_close():
    # The second order is cut in two, and the close has volume for less.
    orders = [timed(at("05:28:30", day=6), quantity=5), timed(at("05:30", day=7), quantity=35)]
    days = [make.bars(100, start=at("05:30", day), volume=300)[0] for day in (5, 6)]
    later = make.series(*[100] * 5, start=at("09:15", day=8), instrument=make.TCS)

    result = make.run(
        orders,
        [CandleSeries.from_candles(days, interval=timedelta(days=1)), later],
        matching=SAME_CLOSE | {"participation": Decimal("0.1")},
        default_terms=InstrumentTerms(lot_size=5, freeze_quantity=20),
    )

    assert [(fill.at, fill.quantity) for fill in result.fills] == [
        (at("05:30", day=6), 5),
        (at("05:30", day=7), 20),
        (at("05:30", day=7), 10),
    ]


def test_daily_and_minute_candles_go_together():
    strategy = OnCandles({3: lambda it: [it.send(), it.send(instrument=make.TCS)]})
    data = [make.series(*range(100, 120)), daily(5, 6, 7, instrument=make.TCS)]

    result = make.run(strategy, data)

    assert [(fill.instrument.symbol, fill.at) for fill in result.fills] == [
        ("INFY", at("09:19")),
        ("TCS", at("00:00", day=6)),
    ]


# --- squaring off -----------------------------------------------------------------------------

AT_1520: dict[str, Any] = {"square_off_at": time(15, 20)}


def afternoon(*more: Candle, instrument: Instrument = make.INFY) -> CandleSeries:
    """From 15:15 to 15:25, one rupee more each minute; more rows for the days after."""
    rows = make.bars(*range(100, 110), start=at("15:15"), instrument=instrument)
    return CandleSeries.from_candles([*rows, *more], interval=make.MINUTE)


@pytest.mark.parametrize(("side", "units"), [(BUY, 10), (SELL, -10)])
def test_intraday_positions_are_closed_at_the_hour(side, units):
    result = make.run([timed("15:15", side)], afternoon(), **AT_1520)

    assert make.rows(result.fills) == [("15:15", units, Decimal(100)), ("15:20", -units, Decimal(105))]
    assert result.positions[0].quantity == 0


def test_what_works_intraday_is_cancelled_and_what_waits_is_withdrawn():
    orders = [
        timed("15:15", limit=50),
        timed("15:15", quantity=20, split_config=make.split(2, 8)),
        timed("15:15", trigger=200),
    ]

    result = make.run(orders, afternoon(), **AT_1520)

    ends = [make.ends(order) for order in result.orders]
    assert ends == [["CANCELLED"], [None, "WITHDRAWN"], ["CANCELLED"], [None]]
    assert result.positions[0].quantity == 0
    assert result.funds.blocked_for_orders == 0


def test_delivery_is_left_alone():
    orders = [timed("15:15", product=Product.CNC), timed("15:15", product=Product.CNC, limit=50)]

    result = make.run(orders, afternoon(), **AT_1520)

    assert result.positions[0].quantity == 10
    assert make.states(result) == ["FILLED", "EXPIRED"]


@pytest.mark.parametrize("when", ["15:20", "15:20:30", "15:23"])
def test_from_the_hour_on_no_intraday_position_is_opened(when):
    result = make.run([timed(when), timed(when, SELL)], afternoon(), **AT_1520)

    assert make.states(result) == ["REJECTED", "REJECTED"]
    assert {make.last_event(order).reason_code for order in result.orders} == {"MIS_CUT_OFF"}


def test_an_order_just_before_the_hour_is_taken_and_cancelled():
    result = make.run([timed(at("15:20") - make.MICROSECOND)], afternoon(), **AT_1520)

    assert make.ends(result.orders[0]) == ["CANCELLED"]


def test_from_the_hour_on_a_position_may_be_reduced_but_not_turned():
    # Nothing trades at 15:20, so that the closing order still works when the others arrive.
    matching = {"participation": Decimal("0.1")}
    rows = make.bars(*[100] * 10, start=at("15:15"), volume=[1000] * 5 + [0] + [50] * 4)
    data = CandleSeries.from_candles(rows, interval=make.MINUTE)

    def reduce(it):
        it.cancel("square-off-2")
        for units in (21, 15, 6):
            it.send(SELL, units)

    strategy = OnCandles({0: lambda it: it.send(quantity=20), 5: reduce})

    result = make.run(strategy, data, matching=matching, **AT_1520)

    codes = [getattr(make.last_event(order), "reason_code", None) for order in result.orders]
    assert codes == [None, None, "MIS_CUT_OFF", None, "MIS_CUT_OFF"]
    assert [order.summary.quantities.filled for order in result.orders] == [20, 0, 0, 15, 0]


def test_a_strategy_sees_its_position_closed():
    seen = []
    strategy = OnCandles(
        {0: lambda it: it.send()} | dict.fromkeys(range(4, 7), lambda it: seen.append(it.position(make.INFY)))
    )

    make.run(strategy, afternoon(), **AT_1520)

    assert seen == [10, 0, 0]


def test_positions_of_several_instruments_and_sides_are_closed():
    data = [afternoon(), afternoon(instrument=make.TCS), afternoon(instrument=make.SBIN)]
    orders = [timed("15:15"), timed("15:15", SELL, 7, instrument=make.TCS)]

    result = make.run(orders, data, **AT_1520)

    assert {it.instrument.symbol: it.quantity for it in result.positions} == {"INFY": 0, "TCS": 0}
    assert len(result.orders) == 4


def test_a_large_position_is_closed_in_orders_that_the_exchange_takes():
    terms = InstrumentTerms(freeze_quantity=30)

    result = make.run([timed("15:15", quantity=70)], afternoon(), default_terms=terms, **AT_1520)

    assert [abs(units) for _, units, _ in make.rows(result.fills)] == [30, 30, 10, 30, 30, 10]
    assert result.positions[0].quantity == 0


def test_a_position_that_is_no_whole_number_of_lots_is_closed():
    # A venue that does not fill in whole lots: 37 of 75.
    data = make.series(*[100] * 10, start=at("15:15"), instrument=make.FUTURE, volume=370)
    order = timed("15:15", quantity=75, instrument=make.FUTURE)

    result = make.run(
        [order],
        data,
        terms={make.FUTURE: InstrumentTerms(lot_size=75)},
        matching={"participation": Decimal("0.1"), "lot_sizes": {make.FUTURE: 1}},
        **AT_1520,
    )

    assert result.positions[0].quantity == 0


def test_a_missed_hour_is_caught_up_on_the_next_day():
    rows = make.bars(*range(100, 105), start=at("15:15")) + make.bars(200, 201, start=at("09:15", day=6))

    result = make.run([timed("15:15")], CandleSeries.from_candles(rows, interval=make.MINUTE), **AT_1520)

    assert result.positions[0].quantity == 0
    assert make.rows(result.fills)[-1] == ("09:15", -10, Decimal(200))


def test_catching_up_leaves_the_orders_of_the_new_day_alone():
    rows = make.bars(*range(100, 105), start=at("15:15")) + make.bars(*[200] * 5, start=at("09:15", day=6))
    others = make.bars(*[50] * 5, start=at("09:15", day=6), instrument=make.TCS)
    orders = [
        timed("15:15"),
        timed(at("09:00", day=6), instrument=make.TCS),
        timed(at("09:00", day=6), instrument=make.TCS, start_at=at("09:17", day=6)),
        timed(at("09:00", day=6), quantity=5, start_at=at("09:18", day=6)),
    ]

    result = make.run(
        orders, [CandleSeries.from_candles(it, interval=make.MINUTE) for it in (rows, others)], **AT_1520
    )

    states = {order.order_unique_key: str(order.summary.state) for order in result.orders}
    assert [states[f"order-{n}"] for n in (1, 2, 3, 4)] == ["FILLED"] * 4
    assert {it.instrument.symbol: it.quantity for it in result.positions} == {"INFY": 5, "TCS": 20}


def test_every_day_has_its_own_hour():
    rows = [make.bars(*range(100, 110), start=at("15:15", day)) for day in (5, 6, 7)]
    orders = [timed(at("15:15", day)) for day in (5, 6, 7)]

    result = make.run(orders, CandleSeries.from_candles([*chain(*rows)], interval=make.MINUTE), **AT_1520)

    assert [clock(fill.at) for fill in result.fills] == ["15:15", "15:20"] * 3


@given(stories(), st.integers(1, 40))
def test_no_intraday_position_is_opened_after_the_hour_or_left_when_there_are_prices(story: Story, minutes):
    hour = time(9, 15 + minutes)
    settings = replace(
        story.settings, square_off_at=hour, matching=MatchingSettings(), capital=Decimal(10_000_000)
    )

    result = run_backtest(story.orders, story.series, settings=settings, seed=story.seed)

    result.check()
    assert all(order.summary.done for order in result.orders)
    products = {order.order_unique_key: order.request.product for order in result.orders}
    sent = {
        (order.order_unique_key, entry.event.seq, entry.event.chunk): entry.at
        for order in result.orders
        for entry in order.journal
        if isinstance(entry.event, ExecutionAccepted)
    }
    held, opened = dict.fromkeys(INSTRUMENTS, 0), dict[Instrument, datetime]()
    for fill in result.fills:
        if products[fill.order_unique_key] is not Product.MIS:
            continue
        before = held[fill.instrument]
        held[fill.instrument] = after = before + (fill.quantity if fill.side is BUY else -fill.quantity)
        sent_at = sent[fill.order_unique_key, fill.seq, fill.chunk]
        if sent_at.time() >= hour:
            assert abs(after) < abs(before)
            assert after * before >= 0
        opened[fill.instrument] = fill.at
    for rows in story.data:
        name, begins = rows[0].instrument, [row.at if isinstance(row, Tick) else row.start for row in rows]
        if held[name]:
            last = opened[name]
            assert not [at for at in begins if at > last and (at.date() > last.date() or at.time() >= hour)]


@pytest.mark.parametrize("others", [[], [timed("15:15", product=Product.CNC)], [timed("15:15")]])
def test_squaring_off_leaves_what_is_due_on_a_later_day(others):
    rows = [make.bars(*range(100, 110), start=at("15:15", day)) for day in (5, 6)]
    order = timed("15:16", key="tomorrow", start_at=at("15:16", day=6))

    result = make.run(
        [order, *others], CandleSeries.from_candles([*chain(*rows)], interval=make.MINUTE), **AT_1520
    )

    assert {it.order_unique_key: str(it.summary.state) for it in result.orders}["tomorrow"] == "FILLED"


def test_positions_are_closed_at_the_open_of_the_candle_that_has_the_hour_in_it():
    data = make.series(*range(100, 106), start=at("15:00"), interval=FIVE)

    result = make.run([timed("15:00")], data, square_off_at=time(15, 17))

    assert make.rows(result.fills) == [("15:00", 10, Decimal(100)), ("15:20", -10, Decimal(104))]
