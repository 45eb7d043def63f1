"""When things happen: nothing is known before its time, and at one instant there is an order of events."""

from datetime import UTC, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from pulse_domain.backtest import CandleSeries, OrderUpdate, run_backtest
from pulse_domain.instruments import InstrumentTerms
from pulse_domain.matching import Candle, CandleEntry, Tick
from pulse_domain.orders.events import ExecutionFilled
from pulse_domain.orders.model import Side, Validity
from tests.unit.backtest import make
from tests.unit.backtest.make import OnCandles, OnTicks, at, clock, timed
from tests.unit.backtest.markets import INSTRUMENTS, Story, series_of, stories

BUY, SELL = Side.BUY, Side.SELL
SAME_CLOSE: dict[str, Any] = {"candle_entry": CandleEntry.SAME_CLOSE}
FIVE = timedelta(minutes=5)
RISING = [(100, 102, 99, 101), (101, 103, 100, 102), (102, 104, 101, 103), (103, 105, 102, 104)]


def kinds(strategy: make.Script) -> list[str]:
    return [f"{kind} {clock(now)}" for kind, now, _ in strategy.heard]


# --- no look-ahead ----------------------------------------------------------------------------


def test_an_order_sent_when_a_candle_has_closed_fills_at_the_next_open():
    strategy = OnCandles({0: lambda it: it.send()})

    result = make.run(strategy, make.series(*RISING))

    assert make.rows(result.fills) == [("09:16", 10, Decimal(101))]


def test_an_order_sent_before_a_gap_fills_at_the_first_open_behind_it():
    rows = make.bars(100, 101) + make.bars(150, start=at("13:00"))
    strategy = OnCandles({1: lambda it: it.send()})

    result = make.run(strategy, CandleSeries.from_candles(rows, interval=make.MINUTE))

    assert make.rows(result.fills) == [("13:00", 10, Decimal(150))]


def test_an_order_sent_when_a_candle_has_closed_fills_at_its_close_if_told_so():
    strategy = OnCandles({0: lambda it: it.send()})

    result = make.run(strategy, make.series(*RISING), matching=SAME_CLOSE)

    assert make.rows(result.fills) == [("09:16", 10, Decimal(101))]
    assert strategy.updates[0].at == at("09:16")


def test_an_order_that_arrives_inside_a_candle_meets_the_next_one():
    result = make.run([timed("09:15:30")], make.series(*RISING))

    assert make.rows(result.fills) == [("09:16", 10, Decimal(101))]


def test_an_order_that_arrives_as_a_candle_opens_meets_it():
    result = make.run([timed("09:16")], make.series(*RISING))

    assert make.rows(result.fills) == [("09:16", 10, Decimal(101))]


def test_an_order_that_arrives_a_microsecond_later_does_not():
    result = make.run([timed(at("09:16") + make.MICROSECOND)], make.series(*RISING))

    assert make.rows(result.fills) == [("09:17", 10, Decimal(102))]


def test_a_resting_limit_is_not_met_by_the_candle_it_was_sent_in():
    # The low of the candle from 09:15 may have been before 09:15:30.
    result = make.run([timed("09:15:30", limit=99)], make.series((100, 101, 90, 100), 100, 100))

    assert make.states(result) == ["EXPIRED"]


@pytest.mark.parametrize("listens", [True, False])
@pytest.mark.parametrize(
    ("side", "price"),
    [(BUY, {"trigger": 105}), (SELL, {"trigger": 95}), (BUY, {"limit": 95}), (SELL, {"limit": 105})],
)
def test_an_order_at_rest_is_met_by_the_very_price(side, price, listens):
    rows: list[Any] = [100, 100, (100, 104, 96, 100), (100, 105, 95, 100), 100]
    strategy = OnCandles({0: lambda it: it.send(side, **price)})
    what = strategy if listens else [timed("09:16", side, **price)]

    result = make.run(what, make.series(*rows), matching={"fill_on_touch": True})

    assert [make.clock(fill.at) for fill in result.fills] == ["09:18"]


@given(stories(), st.data())
def test_what_comes_later_changes_nothing_of_what_was_before(story, data):
    # From an instant on, when every series has begun, all prices and volumes are others.
    times = sorted({_begin(row) for rows in story.data for row in rows})
    begun = max(_begin(rows[0]) for rows in story.data)
    cut = data.draw(st.sampled_from([now for now in times if now >= begun]))
    if any(_begin(rows[0]) == cut for rows in story.data):
        return
    other = story._replace(
        data=tuple([[_other(row) if _begin(row) >= cut else row for row in rows] for rows in story.data])
    )

    told, otherwise = [
        [
            [entry for entry in order.journal if entry.at < cut]
            for order in run_backtest(it.orders, it.series, settings=it.settings, seed=it.seed).orders
        ]
        for it in (story, other)
    ]

    assert told == otherwise


def _begin(row):
    return row.at if isinstance(row, Tick) else row.start


def _other(row):
    if isinstance(row, Tick):
        return replace(row, price=row.price + 7, bid=None, ask=None)
    prices = {name: getattr(row, name) + 7 for name in ("open", "high", "low", "close")}
    return replace(row, volume=row.volume * 3, **prices)


@given(stories())
def test_no_fill_is_before_its_order_and_none_is_known_before_it_happened(story: Story):
    result = run_backtest(story.orders, story.series, settings=story.settings, seed=story.seed)

    for order in result.orders:
        due = {(s.seq, e.chunk): s.scheduled_at for s in order.slices for e in s.executions}
        for entry in order.journal:
            if isinstance(entry.event, ExecutionFilled):
                fill_at = entry.event.fill.at
                assert order.journal[0].at <= fill_at <= entry.at
                assert due[entry.event.seq, entry.event.chunk] <= fill_at


def test_equity_when_a_candle_has_closed_is_at_its_close():
    seen = []
    strategy = OnCandles(
        dict.fromkeys(range(3), lambda it: seen.append(it.desk.equity())), on_start=lambda it: it.send()
    )

    make.run(
        strategy,
        make.series((100, 100, 100, 100), (150, 150, 101, 101), (200, 200, 102, 102)),
        capital=Decimal(10_000),
    )

    assert seen == [Decimal(10_000), Decimal(10_010), Decimal(10_020)]


class Snoops(OnCandles):
    """Sends and cancels by a list of choices, and notes all that the desk tells at every call."""

    def __init__(self, choices: list[int]) -> None:
        super().__init__()
        self.choices = list(choices)
        self.seen: list[Any] = []

    def look(self) -> None:
        desk = self.desk
        orders = [desk.order(key) for key in self.keys]
        held = [desk.position(it) for it in INSTRUMENTS]
        self.seen.append((desk.now(), desk.cash(), desk.equity(), held, orders))

    def on_candle(self, candle: Candle) -> None:
        self.look()
        choice = self.choices.pop() if self.choices else 0
        side = BUY if choice % 2 else SELL
        if choice in (1, 2, 3):
            self.send(side, 5, instrument=candle.instrument)
        elif choice in (4, 5):
            self.send(side, 5, instrument=candle.instrument, limit=candle.close)
        elif choice == 6 and self.keys:
            self.cancel(self.keys[-1])
        elif choice == 7:
            self.cancel(self.send(side, 5, instrument=candle.instrument))
        self.look()

    def on_order_update(self, update: OrderUpdate) -> None:
        self.seen.append(update)
        self.look()


@given(stories(("candles",)), st.data())
def test_a_strategy_sees_nothing_of_what_comes_later(story, data):
    begun = max(_begin(rows[0]) for rows in story.data)
    cuts = sorted({row.start for rows in story.data for row in rows if row.start > begun})
    if not cuts:
        return
    cut = data.draw(st.sampled_from(cuts))
    choices = data.draw(st.lists(st.integers(0, 7), max_size=30))
    settings = replace(story.settings, terms={}, default_terms=InstrumentTerms(), capital=Decimal(2000))
    other = [[_other(row) if _begin(row) >= cut else row for row in rows] for rows in story.data]

    seen = []
    for rows in (story.data, other):
        strategy = Snoops(choices)
        run_backtest(strategy, [series_of(it) for it in rows], settings=settings, seed=story.seed)
        # At the cut itself candles that begin then are not known either.
        seen.append([it for it in strategy.seen if _when(it) <= cut])

    assert seen[0] == seen[1]


def _when(it):
    return it[0] if isinstance(it, tuple) else it.at


# --- what a strategy hears, and when ----------------------------------------------------------


def test_a_fill_is_told_when_its_candle_has_ended_and_before_the_candle():
    strategy = OnCandles({0: lambda it: it.send()})

    make.run(strategy, make.series(100, 101, 102))

    assert kinds(strategy) == ["candle 09:16", "update 09:17", "candle 09:17", "candle 09:18"]
    assert strategy.heard[2][2].start == at("09:16")


def test_candles_that_end_together_are_all_matched_before_the_first_is_told():
    def both(it):
        it.send()
        it.send(instrument=make.TCS)

    strategy = OnCandles({0: both})

    make.run(strategy, [make.series(100, 101, 102), make.series(200, 201, 202, instrument=make.TCS)])

    assert [kind for kind, _, _ in strategy.heard] == [
        "candle",
        "candle",
        "update",
        "update",
        "candle",
        "candle",
        "candle",
        "candle",
    ]
    assert [what.instrument for _, _, what in strategy.heard] == [make.INFY, make.TCS] * 4


def test_candles_of_several_lengths_are_told_as_they_end():
    strategy = OnCandles()

    make.run(strategy, [make.series(1, 2, interval=FIVE), make.series(*range(1, 11), instrument=make.TCS)])

    told = [(clock(now), str(candle.instrument)) for _, now, candle in strategy.heard]
    assert told[3:7] == [
        ("09:19", "NSE:TCS"),
        ("09:20", "NSE:INFY"),
        ("09:20", "NSE:TCS"),
        ("09:21", "NSE:TCS"),
    ]


def test_an_order_for_another_instrument_meets_that_ones_next_open():
    strategy = OnCandles({0: lambda it: it.send(instrument=make.TCS)})
    slow = make.series(200, 210, 220, instrument=make.TCS, interval=FIVE)

    result = make.run(strategy, [make.series(*range(100, 115)), slow])

    assert make.rows(result.fills) == [("09:20", 10, Decimal(210))]
    assert strategy.updates[0].at == at("09:25")


def test_a_strategy_is_called_once_for_each_candle_in_order_of_time():
    first, second = make.bars(*range(1, 9)), make.bars(*range(1, 9), instrument=make.TCS, start=at("09:17:20"))
    strategy = OnCandles()

    make.run(strategy, [CandleSeries.from_candles(rows) for rows in (first, second)])

    told = [candle for _, _, candle in strategy.heard]
    assert told == sorted([*first, *second], key=lambda candle: str(candle.end))
    assert all(now == candle.end for _, now, candle in strategy.heard)


def test_time_never_steps_back_for_a_strategy():
    def send(it):
        it.send(split_config=make.split(4, 3, randomize=True), quantity=40)
        it.send(limit=99, validity=Validity.IOC)

    strategy = OnCandles(dict.fromkeys(range(6), send))

    make.run(strategy, [make.series(*range(100, 108)), make.series(*range(50, 60), instrument=make.TCS)])

    times = [now for _, now, _ in strategy.heard]
    assert len(strategy.updates) > 20
    assert times == sorted(times)


def test_an_update_says_where_the_order_stands():
    strategy = OnCandles({0: lambda it: it.send(quantity=75)})

    make.run(
        strategy,
        make.series((100, 100, 100, 100), (101, 101, 101, 101), (104, 104, 104, 104)),
        matching={"participation": Decimal("0.05")},
    )

    told = [
        (u.state, u.done, u.filled_quantity, u.average_price, u.last_quantity, u.last_price)
        for u in strategy.updates
    ]
    assert told == [
        ("WORKING", False, 50, Decimal(101), 50, Decimal(101)),
        ("FILLED", True, 75, Decimal(102), 25, Decimal(104)),
    ]


@pytest.mark.parametrize(("resting", "state"), [(10, "EXPIRED"), (30, "REJECTED")])
def test_the_gravest_end_names_the_order_in_its_updates_too(resting, state):
    # Three slices of IOC: the first ends CANCELLED, the second does or cannot be paid, the last one lapses.
    strategy = OnCandles(
        {
            0: lambda it: it.send(quantity=30, limit=99, validity=Validity.IOC, split_config=make.split(3, 8)),
            1: lambda it: it.send(quantity=resting, limit=50),
        }
    )

    result = make.run(strategy, make.series(*[100] * 8), capital=Decimal(2000))

    told = [update.state for update in strategy.updates if update.order_unique_key == "order-1"]
    assert result.orders[0].summary.state == state
    assert told == ["WORKING", "WORKING", state]


def test_a_strategy_trades_on_what_it_is_told():
    def follow(it, update):
        if update.side is BUY and update.done:
            it.send(SELL)

    strategy = OnCandles({0: lambda it: it.send()}, on_update=follow)

    result = make.run(strategy, make.series(100, 101, 102, 103))

    # The fill of 09:16 is known at 09:17: the sale meets the open of then.
    assert make.rows(result.fills) == [("09:16", 10, Decimal(101)), ("09:17", -10, Decimal(102))]


def test_a_strategy_that_only_hears_of_its_orders_is_told_at_their_times():
    class Quiet(make.Script):
        pass

    strategy = Quiet(on_start=lambda it: it.send(start_at=at("09:17")))

    make.run(strategy, make.series(100, 101, 102, 103))

    assert kinds(strategy) == ["update 09:18"]


# --- ticks ------------------------------------------------------------------------------------


def test_an_order_sent_at_a_tick_meets_the_next_one():
    strategy = OnTicks({0: lambda it: it.send()})

    result = make.run(strategy, make.ticks(("09:15:00", 100), ("09:15:01", 101)))

    assert make.rows(result.fills) == [("09:15:01", 10, Decimal(101))]


def test_an_order_sent_at_a_tick_meets_the_next_one_of_the_same_instant():
    strategy = OnTicks({0: lambda it: it.send()})

    result = make.run(strategy, make.ticks(("09:15:00", 100), ("09:15:00", 101), ("09:15:01", 102)))

    assert make.rows(result.fills) == [("09:15", 10, Decimal(101))]


@pytest.mark.parametrize("when", ["09:15:00", "09:15:01", "09:15:02"])
def test_what_is_due_at_the_time_of_a_tick_meets_that_tick(when):
    data = make.ticks(("09:15:00", 100), ("09:15:01", 101), ("09:15:02", 102))

    result = make.run([timed(when), timed("09:15:00", start_at=at(when))], data)

    assert [fill.at for fill in result.fills] == [at(when), at(when)]


def test_times_are_the_same_instants_in_any_zone():
    orders = [timed("09:15:30"), timed("09:16", quantity=30, split_config=make.split(3, 2, randomize=True))]
    in_utc = [replace(order, at=order.at and order.at.astimezone(UTC)) for order in orders]

    here, there = [make.run(it, make.series(*range(100, 110))) for it in (orders, in_utc)]

    assert here.fills_digest() == there.fills_digest()
    assert [order.journal for order in here.orders] == [order.journal for order in there.orders]


def test_what_is_due_after_the_last_tick_lapses():
    late = at("09:15:02") + make.MICROSECOND
    data = make.ticks(("09:15:00", 100), ("09:15:02", 102))

    result = make.run([timed("09:15:00", start_at=late)], data)

    assert make.ends(result.orders[0]) == ["LAPSED"]


def test_a_market_order_takes_the_quotes_of_the_tick():
    strategy = OnTicks({0: lambda it: it.send(), 1: lambda it: it.send(SELL)})

    result = make.run(strategy, make.ticks(("09:15", 100), ("09:16", 100, 99, 101), ("09:17", 100, 98, 102)))

    assert make.rows(result.fills) == [("09:16", 10, Decimal(101)), ("09:17", -10, Decimal(98))]


def test_equity_at_one_of_several_ticks_of_an_instant_does_not_know_the_next():
    seen = []
    strategy = OnTicks(
        {
            0: lambda it: it.send(),
            1: lambda it: seen.append(it.desk.equity()),
            2: lambda it: seen.append(it.desk.equity()),
        }
    )

    make.run(
        strategy, make.ticks(("09:15:00", 100), ("09:15:01", 100), ("09:15:01", 200)), capital=Decimal(10_000)
    )

    assert seen == [Decimal(10_000), Decimal(11_000)]


def test_candles_that_end_at_the_time_of_a_tick_come_before_it():
    heard = []

    class Both(OnCandles, OnTicks):
        def hear(self, kind, what):
            heard.append(f"{kind} {what.instrument.symbol} {clock(self.now)}")

    make.run(
        Both(), [make.ticks(("09:15:30", 50), ("09:16:00", 51), instrument=make.TCS), make.series(100, 101)]
    )

    assert heard == [
        "tick TCS 09:15:30",
        "candle INFY 09:16",
        "tick TCS 09:16",
        "candle INFY 09:17",
    ]


def test_an_order_sent_when_a_candle_has_ended_meets_the_tick_of_that_instant():
    strategy = OnCandles({0: lambda it: it.send(instrument=make.TCS)})
    data = [make.series(100, 101), make.ticks(("09:15:30", 50), ("09:16:00", 51), instrument=make.TCS)]

    result = make.run(strategy, data)

    assert make.rows(result.fills) == [("09:16", 10, Decimal(51))]


# --- what comes first at one instant ----------------------------------------------------------


def test_a_slice_that_is_due_as_a_candle_ends_meets_the_next_one():
    result = make.run([timed("09:15", quantity=20, split_config=make.split(2, 1))], make.series(*RISING))

    assert make.rows(result.fills) == [("09:15", 10, Decimal(100)), ("09:16", 10, Decimal(101))]


def test_a_candle_that_ends_at_midnight_fills_before_the_day_ends():
    rows = make.series(100, (100, 100, 90, 95), 96, start=at("23:58"))

    result = make.run([timed("23:58", limit=95)], rows)

    assert make.rows(result.fills) == [("23:59", 10, Decimal(95))]


def test_an_order_that_arrives_at_midnight_belongs_to_the_new_day():
    rows = make.bars(100, start=at("23:59")) + make.bars(100, (100, 100, 90, 95), start=at("09:15", day=6))

    result = make.run(
        [timed(at("00:00", day=6), limit=95), timed(at("00:00", day=6) - make.MICROSECOND, limit=95)],
        CandleSeries.from_candles(rows, interval=make.MINUTE),
    )

    assert {order.order_unique_key: order.summary.state for order in result.orders} == {
        "order-1": "FILLED",
        "order-2": "EXPIRED",
    }


def test_orders_of_one_instant_are_sent_in_the_order_of_the_list():
    # The money is enough for one of them.
    orders = [timed("09:16", key="first"), timed("09:15", key="early", limit=1), timed("09:16", key="second")]

    result = make.run(orders, make.series(100, 100, 100), capital=Decimal(1500))

    assert [order.order_unique_key for order in result.orders] == ["early", "first", "second"]
    assert make.states(result) == ["EXPIRED", "FILLED", "REJECTED"]


def test_a_slice_of_an_earlier_order_comes_before_an_order_that_arrives_just_then():
    orders = [
        timed("09:16", key="whole"),
        timed("09:15", quantity=20, split_config=make.split(2, 1), key="slices"),
    ]

    result = make.run(orders, make.series(100, 100, 100), capital=Decimal(2500))

    assert dict(zip([order.order_unique_key for order in result.orders], make.states(result), strict=True)) == {
        "slices": "FILLED",
        "whole": "REJECTED",
    }
