"""When things happen: nothing is known before its time, and at one instant there is an order of events."""

from datetime import UTC, time, timedelta
from decimal import Decimal
from itertools import chain
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from pulse_domain.account import Holding
from pulse_domain.backtest import BacktestResult, CandleSeries, OrderUpdate, run_backtest
from pulse_domain.errors import InvalidOrder, InvalidSettings, NotFound, StrategyFailed
from pulse_domain.instruments import Instrument, InstrumentTerms
from pulse_domain.matching import Candle, CandleEntry, FixedTicks, Latency, Tick
from pulse_domain.orders.events import ExecutionFilled
from pulse_domain.orders.model import Product, Side, Validity
from pulse_domain.splitting import Twap
from tests.unit.backtest import make
from tests.unit.backtest.make import OnCandles, OnTicks, at, clock, timed
from tests.unit.backtest.markets import INSTRUMENTS, Story, series_of, stories

BUY, SELL = Side.BUY, Side.SELL
SAME_CLOSE: dict[str, Any] = {"candle_entry": CandleEntry.SAME_CLOSE}
FIVE = timedelta(minutes=5)
RISING = [(100, 102, 99, 101), (101, 103, 100, 102), (102, 104, 101, 103), (103, 105, 102, 104)]


def kinds(strategy: make.Script) -> list[str]:
    return [f"{kind} {clock(now)}" for kind, now, _ in strategy.heard]


# --- no look-ahead -----------------------------------------------------------------------------


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
            for order in run_backtest(
                it.orders, it.series, settings=it.settings, seed=it.seed
            ).orders
        ]
        for it in (story, other)
    ]  # fmt: skip

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


# --- what a strategy hears, and when -----------------------------------------------------------


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
        "candle", "candle", "update", "update", "candle", "candle", "candle", "candle",
    ]  # fmt: skip
    assert [what.instrument for _, _, what in strategy.heard] == [make.INFY, make.TCS] * 4


def test_candles_of_several_lengths_are_told_as_they_end():
    strategy = OnCandles()

    make.run(strategy, [make.series(1, 2, interval=FIVE), make.series(*range(1, 11), instrument=make.TCS)])

    told = [(clock(now), str(candle.instrument)) for _, now, candle in strategy.heard]
    assert told[3:7] == [
        ("09:19", "NSE:TCS"), ("09:20", "NSE:INFY"), ("09:20", "NSE:TCS"), ("09:21", "NSE:TCS"),
    ]  # fmt: skip


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
        strategy, make.series((100, 100, 100, 100), (101, 101, 101, 101), (104, 104, 104, 104)),
        matching={"participation": Decimal("0.05")},
    )  # fmt: skip

    told = [(u.state, u.done, u.filled_quantity, u.average_price, u.last_quantity, u.last_price)
            for u in strategy.updates]  # fmt: skip
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


# --- ticks -------------------------------------------------------------------------------------


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
        "tick TCS 09:15:30", "candle INFY 09:16", "tick TCS 09:16", "candle INFY 09:17",
    ]  # fmt: skip


def test_an_order_sent_when_a_candle_has_ended_meets_the_tick_of_that_instant():
    strategy = OnCandles({0: lambda it: it.send(instrument=make.TCS)})
    data = [make.series(100, 101), make.ticks(("09:15:30", 50), ("09:16:00", 51), instrument=make.TCS)]

    result = make.run(strategy, data)

    assert make.rows(result.fills) == [("09:16", 10, Decimal(51))]


# --- what comes first at one instant -----------------------------------------------------------


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


# --- the end of the day and of the data --------------------------------------------------------


def test_what_works_expires_at_midnight_in_india():
    rows = make.bars(100, 100) + make.bars((100, 100, 80, 90), start=at("09:15", day=6))

    result = make.run(
        [timed("09:15", limit=90)], CandleSeries.from_candles(rows, interval=make.MINUTE)
    )  # fmt: skip

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
    result = make.run(
        [timed("09:15", quantity=30, split_config=make.split(3, 4))], make.series(100, 101, 102)
    )  # fmt: skip

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


# --- candles of a day or longer ----------------------------------------------------------------


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
        (at("05:30", day=6), 5), (at("05:30", day=7), 20), (at("05:30", day=7), 10),
    ]  # fmt: skip


def test_daily_and_minute_candles_go_together():
    strategy = OnCandles({3: lambda it: [it.send(), it.send(instrument=make.TCS)]})
    data = [make.series(*range(100, 120)), daily(5, 6, 7, instrument=make.TCS)]

    result = make.run(strategy, data)

    assert [(fill.instrument.symbol, fill.at) for fill in result.fills] == [
        ("INFY", at("09:19")), ("TCS", at("00:00", day=6)),
    ]  # fmt: skip


# --- squaring off ------------------------------------------------------------------------------

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
    # 70 of 100 are delivered holdings' worth in another product; the position comes from a cap of 37 units.
    data = make.series(*[100] * 10, start=at("15:15"), instrument=make.FUTURE, volume=370)
    order = timed("15:15", quantity=75, instrument=make.FUTURE)

    result = make.run(
        [order], data, terms={make.FUTURE: InstrumentTerms(lot_size=75)},
        matching={"participation": Decimal("0.1"), "lot_sizes": {make.FUTURE: 1}}, **AT_1520,
    )  # fmt: skip

    assert result.positions[0].quantity == 0


def test_a_missed_hour_is_caught_up_on_the_next_day():
    rows = make.bars(*range(100, 105), start=at("15:15")) + make.bars(200, 201, start=at("09:15", day=6))

    result = make.run(
        [timed("15:15")], CandleSeries.from_candles(rows, interval=make.MINUTE), **AT_1520
    )  # fmt: skip

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

    result = make.run(
        orders, CandleSeries.from_candles([*chain(*rows)], interval=make.MINUTE), **AT_1520
    )  # fmt: skip

    assert [clock(fill.at) for fill in result.fills] == ["15:15", "15:20"] * 3


@pytest.mark.parametrize("others", [[], [timed("15:15", product=Product.CNC)], [timed("15:15")]])
def test_squaring_off_leaves_what_is_due_on_a_later_day(others):
    rows = [make.bars(*range(100, 110), start=at("15:15", day)) for day in (5, 6)]
    order = timed("15:16", key="tomorrow", start_at=at("15:16", day=6))

    result = make.run(
        [order, *others], CandleSeries.from_candles([*chain(*rows)], interval=make.MINUTE), **AT_1520
    )  # fmt: skip

    assert {it.order_unique_key: str(it.summary.state) for it in result.orders}["tomorrow"] == "FILLED"


def test_positions_are_closed_at_the_open_of_the_candle_that_has_the_hour_in_it():
    data = make.series(*range(100, 106), start=at("15:00"), interval=FIVE)

    result = make.run([timed("15:00")], data, square_off_at=time(15, 17))

    assert make.rows(result.fills) == [("15:00", 10, Decimal(100)), ("15:20", -10, Decimal(104))]


# --- when a strategy's orders begin ------------------------------------------------------------


def test_an_order_begins_at_its_start():
    strategy = OnCandles({0: lambda it: it.send(start_at=at("09:18"))})

    result = make.run(strategy, make.series(*range(100, 106)))

    assert make.rows(result.fills) == [("09:18", 10, Decimal(103))]
    assert result.orders[0].journal[0].at == at("09:16")


def test_a_start_of_the_minute_before_counts_as_now():
    strategy = OnCandles({0: lambda it: it.send(start_at=at("09:15"))})

    result = make.run(strategy, make.series(*range(100, 106)))

    assert make.rows(result.fills) == [("09:16", 10, Decimal(101))]


@pytest.mark.parametrize("start", [at("09:15") - make.MICROSECOND, at("09:16", day=12) + make.MICROSECOND])
def test_a_start_in_the_past_or_far_ahead_is_refused(start):
    refused = []

    def send(it):
        with pytest.raises(InvalidOrder, match="start_at"):
            it.send(start_at=start)
        refused.append(start)

    result = make.run(OnCandles({0: send}), make.series(100, 101))

    assert refused
    assert len(result.orders) == 0


def test_a_start_long_before_the_arrival_is_refused_in_a_list():
    with pytest.raises(InvalidOrder, match="order 1: start_at"):
        run_backtest([timed("09:18", start_at=at("09:15"))], make.series(*range(100, 106)))


def test_slices_of_a_strategys_order_are_due_from_its_start():
    strategy = OnCandles(
        {0: lambda it: it.send(quantity=30, start_at=at("09:17"), split_config=make.split(3, 2))}
    )

    result = make.run(strategy, make.series(*range(100, 108)))

    assert [clock(fill.at) for fill in result.fills] == ["09:17", "09:18", "09:19"]


def test_an_order_of_the_start_meets_the_first_open():
    strategy = OnCandles(on_start=lambda it: it.send())

    result = make.run(strategy, make.series(*RISING))

    assert make.rows(result.fills) == [("09:15", 10, Decimal(100))]
    assert kinds(strategy)[:2] == ["update 09:16", "candle 09:16"]


def test_the_desk_has_its_time_and_money_at_the_start():
    seen = []
    strategy = OnCandles(on_start=lambda it: seen.append((it.now, it.desk.cash(), it.desk.equity())))
    held = Holding(instrument=make.INFY, quantity=10, average_price=Decimal(90))

    make.run(strategy, make.series(100, 101), capital=Decimal(1000), holdings=(held,))

    assert seen == [(at("09:15"), Decimal(1000), Decimal(2000))]


# --- cancelling --------------------------------------------------------------------------------


def cancelling(after: int, **order: Any) -> tuple[make.Script, BacktestResult]:
    """Send an order at the first candle, cancel it at a later one."""
    strategy = OnCandles({0: lambda it: it.send(**order)})
    steps = {after: lambda it: it.cancel(it.keys[0])}
    if after == 0:
        steps = {0: lambda it: it.cancel(it.send(**order))}
    strategy.steps |= steps
    return strategy, make.run(strategy, make.series(*[100] * 6))


def test_an_order_that_waits_for_its_start_is_withdrawn():
    _, result = cancelling(1, start_at=at("09:20"))

    assert make.ends(result.orders[0]) == ["WITHDRAWN"]
    assert result.orders[0].summary.state == "CANCELLED"


def test_an_order_that_waits_for_the_next_open_is_cancelled():
    _, result = cancelling(0)

    assert make.ends(result.orders[0]) == ["CANCELLED"]
    assert len(result.fills) == 0


@pytest.mark.parametrize("price", [{"limit": 50}, {"trigger": 150}, {"trigger": 150, "limit": 151}])
def test_an_order_at_rest_is_cancelled(price):
    strategy, result = cancelling(2, **price)

    assert make.ends(result.orders[0]) == ["CANCELLED"]
    assert [update.state for update in strategy.updates] == ["CANCELLED"]
    assert result.orders[0].journal[-1].at == at("09:18")


def test_a_partly_filled_order_keeps_what_it_has():
    strategy = OnCandles({0: lambda it: it.send(quantity=100), 1: lambda it: it.cancel(it.keys[0])})

    result = make.run(
        strategy, make.series(*[100] * 6, volume=300), matching={"participation": Decimal("0.1")}
    )  # fmt: skip

    summary = result.orders[0].summary
    assert (summary.state, summary.quantities.filled, summary.quantities.cancelled) == (
        "PARTIALLY_FILLED", 30, 70,
    )  # fmt: skip
    assert result.funds.blocked_for_orders == 0


def test_slices_that_are_filled_stay_and_the_others_are_withdrawn():
    strategy = OnCandles(
        {0: lambda it: it.send(quantity=40, split_config=make.split(4, 3)), 2: lambda it: it.cancel(it.keys[0])}
    )

    result = make.run(strategy, make.series(*[100] * 8))

    # At 09:18 the slice of 09:18 is due just then, and has not been sent before the strategy was told.
    assert make.ends(result.orders[0]) == [None, None, "WITHDRAWN", "WITHDRAWN"]
    assert result.orders[0].summary.state == "PARTIALLY_FILLED"


def test_a_filled_order_stays_as_it_is():
    strategy, result = cancelling(3)

    assert result.orders[0].summary.state == "FILLED"
    assert [update.state for update in strategy.updates] == ["FILLED"]
    assert not any("cancel" in type(entry.event).__name__.lower() for entry in result.orders[0].journal)


def test_cancelling_twice_is_cancelling_once():
    def twice(it):
        it.cancel(it.keys[0])
        it.cancel(it.keys[0])

    strategy = OnCandles({0: lambda it: it.send(limit=50), 1: twice, 2: twice})

    result = make.run(strategy, make.series(*[100] * 6))

    names = [type(entry.event).__name__ for entry in result.orders[0].journal]
    assert names.count("CancelRequested") == 1
    assert names.count("ExecutionCancelled") == 1
    assert len(strategy.updates) == 1


def test_cancelling_gives_the_money_back_at_once():
    seen = []

    def send(it):
        seen.append(it.desk.cash())
        it.send(limit=50)
        seen.append(it.desk.cash())

    def cancel(it):
        it.cancel(it.keys[0])
        seen.append(it.desk.cash())

    strategy = OnCandles({0: send, 1: cancel})

    make.run(strategy, make.series(*[100] * 4), capital=Decimal(1000))

    assert seen == [Decimal(1000), Decimal(500), Decimal(1000)]


@pytest.mark.parametrize("act", ["cancel", "order"])
def test_an_order_nobody_sent_is_not_found(act):
    strategy = OnCandles({0: lambda it: getattr(it.desk, act)("order-99")})

    with pytest.raises(StrategyFailed, match="order-99") as failed:
        make.run(strategy, make.series(100, 101))

    assert isinstance(failed.value.__cause__, NotFound)


def test_an_order_can_be_cancelled_when_it_is_told_partly_filled():
    strategy = OnCandles(
        {0: lambda it: it.send(quantity=100)}, on_update=lambda it, update: it.cancel(update.order_unique_key)
    )

    result = make.run(
        strategy, make.series(*[100] * 6, volume=300), matching={"participation": Decimal("0.1")}
    )  # fmt: skip

    assert [update.state for update in strategy.updates] == ["WORKING", "PARTIALLY_FILLED"]
    assert result.orders[0].summary.quantities.cancelled == 70


def test_a_cancel_comes_too_late_for_an_open_that_has_been():
    # At 09:21 the candle of five minutes has opened, which fills; that it will is known at the cancel.
    strategy = OnCandles(
        {0: lambda it: it.send(instrument=make.TCS), 6: lambda it: it.cancel(it.keys[0])}
    )  # fmt: skip
    slow = make.series(200, 210, 220, instrument=make.TCS, interval=FIVE)

    result = make.run(strategy, [make.series(*range(100, 115)), slow])

    assert make.rows(result.fills) == [("09:20", 10, Decimal(210))]


@pytest.mark.parametrize("slippage", [None, FixedTicks(0)])
def test_the_way_an_order_takes_does_not_change_what_it_meets(slippage):
    strategy = OnCandles(
        {n: lambda it: it.send(SELL if len(it.keys) % 2 else BUY, split_config=None) for n in range(5)}
    )

    result = make.run(strategy, make.series(*range(100, 108)), matching={"slippage": slippage})

    assert [price for _, _, price in make.rows(result.fills)] == [101, 102, 103, 104, 105]
