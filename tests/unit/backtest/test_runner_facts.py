"""What a run leaves behind: journals that fold, quantities that add up, figures that can be had another way."""

import hashlib
import json
import os
import random
import struct
import subprocess
import sys
from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from math import isclose, sqrt
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from pulse_domain.account import AccountSettings, Contract, Holding
from pulse_domain.backtest import BacktestOrder, BacktestResult, CandleSeries, ExecutionQuality, run_backtest
from pulse_domain.charges import ZERODHA
from pulse_domain.errors import OutOfBalance
from pulse_domain.instruments import InstrumentTerms
from pulse_domain.matching import Candle, Latency
from pulse_domain.orders import events as ev
from pulse_domain.orders.ids import ClientId, is_order_id
from pulse_domain.orders.journal import replay
from pulse_domain.orders.model import Order, Product, Side, Source
from pulse_domain.orders.plan import plan_order
from pulse_domain.orders.summary import summarise_history
from tests.unit.backtest import make
from tests.unit.backtest.make import OnCandles, at, timed
from tests.unit.backtest.markets import Story, stories

BUY, SELL = Side.BUY, Side.SELL


def play(story: Story, seed: int | None = None) -> BacktestResult:
    return run_backtest(
        story.orders, story.series, settings=story.settings, seed=story.seed if seed is None else seed
    )


def accepted(order: BacktestOrder, result: BacktestResult) -> Order:
    """The order as a store would have had it before anything happened to it."""
    terms = result.settings.terms.get(order.request.instrument, result.settings.default_terms)
    return Order(
        order_id=order.order_id,
        client_id=ClientId("anyone"),
        order_unique_key=order.order_unique_key,
        request=order.request,
        terms=terms,
        source=Source.BACKTEST,
        request_id="",
        trace_id="",
        created_at=order.journal[0].at,
        starts_at=order.slices[0].scheduled_at,
        ends_at=order.slices[-1].scheduled_at,
    )


# --- journals ----------------------------------------------------------------------------------


@given(stories())
def test_every_journal_folds_and_its_quantities_add_up_at_every_entry(story):
    result = play(story)

    for order in result.orders:
        first = accepted(order, result)
        for length in range(1, len(order.journal) + 1):
            # `replay` raises IllegalTransition where the tables have no cell.
            history = replay(first, order.journal[:length])
            quantities = summarise_history(history).quantities
            assert quantities.balanced
            assert quantities.overfilled == 0
        assert history.slices == order.slices
        assert summarise_history(history) == order.summary


@given(stories())
def test_journals_are_numbered_without_gaps_and_never_step_back(story):
    for order in play(story).orders:
        assert [entry.seq for entry in order.journal] == list(range(1, len(order.journal) + 1))
        times = [entry.at for entry in order.journal]
        assert times == sorted(times)


@given(stories())
def test_no_anomaly_is_flagged(story):
    assert all(e.flags == () for order in play(story).orders for s in order.slices for e in s.executions)


@given(stories())
def test_fills_are_those_of_the_journals(story):
    result = play(story)
    journalled = [
        (entry.event.fill.trade_id, order.order_unique_key, entry.event.seq, entry.event.chunk,
         entry.event.fill.at, entry.event.fill.quantity, entry.event.fill.price)
        for order in result.orders
        for entry in order.journal
        if isinstance(entry.event, ev.ExecutionFilled)
    ]  # fmt: skip

    told = [
        (it.trade_id, it.order_unique_key, it.seq, it.chunk, it.at, it.quantity, it.price)
        for it in result.fills
    ]
    assert sorted(told) == sorted(journalled)
    assert [it.trade_id for it in result.fills] == [f"T{n}" for n in range(1, len(told) + 1)]
    assert all(tuple(o.fills) == tuple(f for f in result.fills if f.order_unique_key == o.order_unique_key)
               for o in result.orders)  # fmt: skip


@given(stories())
def test_plans_are_those_of_the_splitter(story):
    result = play(story)
    timed_by_key = {f"order-{place}": timed for place, timed in enumerate(story.orders, start=1)}

    for order in result.orders:
        assert is_order_id(order.order_id)
        if timed_by_key[order.order_unique_key].schedule is not None:
            continue
        start = order.request.start_at or order.journal[0].at
        terms = accepted(order, result).terms
        plan = next(entry.event for entry in order.journal if isinstance(entry.event, ev.SplitSaved))
        assert plan.slices == plan_order(order.order_id, order.request, terms, start, "BT")


@given(stories())
def test_ids_and_tags_are_never_used_twice(story):
    orders = play(story).orders
    tags = [execution.tag for order in orders for s in order.slices for execution in s.executions]
    venue_ids = [
        execution.broker_order_id
        for order in orders
        for s in order.slices
        for execution in s.executions
        if execution.broker_order_id is not None
    ]

    assert len({order.order_id for order in orders}) == len(orders)
    assert len(set(tags)) == len(tags)
    assert len(set(venue_ids)) == len(venue_ids)


@given(stories())
def test_requests_are_told_as_they_were_made(story):
    # Prices and product may be written in another way; what is asked for is the same.
    by_key = {f"order-{place}": timed.request for place, timed in enumerate(story.orders, start=1)}

    for order in play(story).orders:
        assert order.request.normalised() == by_key[order.order_unique_key].normalised()


class Hears(OnCandles):
    """Sends orders of all kinds, by a list of choices, and cancels some of them."""

    def __init__(self, choices: Sequence[int]) -> None:
        self.choices = list(choices)
        super().__init__()

    def on_candle(self, candle: Candle) -> None:
        choice = self.choices.pop() if self.choices else 0
        side, close = (BUY if choice % 2 else SELL), candle.close
        sent: dict[int, dict[str, Any]] = {
            1: {}, 2: {"limit": close}, 3: {"trigger": close}, 4: {"split_config": make.split(3, 2)},
            5: {"product": Product.CNC}, 6: {"limit": close, "split_config": make.split(2, 1, randomize=True)},
        }  # fmt: skip
        if choice in sent:
            self.send(side, 12, instrument=candle.instrument, **sent[choice])
        elif choice == 7 and self.keys:
            self.cancel(self.keys[len(self.choices) % len(self.keys)])


choices = st.lists(st.integers(0, 7), max_size=30)


@given(stories(("candles",)), choices)
def test_a_strategy_is_told_what_the_journals_say(story, choices):
    settings = replace(story.settings, terms={}, default_terms=InstrumentTerms(freeze_quantity=5))
    strategy = Hears(choices)

    result = run_backtest(strategy, story.series, settings=settings, seed=story.seed)

    result.check()
    told: dict[str, list[Any]] = {}
    for update in strategy.updates:
        told.setdefault(update.order_unique_key, []).append(update)
    for order in result.orders:
        updates = told.get(order.order_unique_key, [])
        stands = strategy.desk.order(order.order_unique_key)
        summary = order.summary
        assert (stands.state, stands.done) == (summary.state, True)
        assert (stands.filled_quantity, stands.average_price) == (
            summary.quantities.filled, summary.average_price,
        )  # fmt: skip
        if updates:
            assert (updates[-1].state, updates[-1].done) == (summary.state, summary.done)
            assert [update.done for update in updates[:-1]] == [False] * (len(updates) - 1)
        fills = [(update.last_quantity, update.last_price) for update in updates if update.last_quantity]
        assert fills == [(fill.quantity, fill.price) for fill in order.fills]


@given(stories(("candles",)), choices)
def test_the_desk_agrees_with_the_result(story, choices):
    strategy = Hears(choices)
    settings = replace(story.settings, terms={}, default_terms=InstrumentTerms())

    result = run_backtest(strategy, story.series, settings=settings, seed=story.seed)

    assert strategy.desk.cash() == result.funds.cash
    assert strategy.desk.equity() == result.equity[-1].equity == result.statistics.final_equity
    for instrument in {position.instrument for position in result.positions}:
        held = sum(it.quantity for it in result.positions if it.instrument == instrument)
        assert strategy.position(instrument) == strategy.position(str(instrument)) == held


# --- sums --------------------------------------------------------------------------------------


@given(stories())
def test_every_run_is_in_balance(story):
    result = play(story)
    funds = result.funds

    result.check()
    assert funds.cash + funds.blocked == funds.capital + funds.realised - funds.charges
    assert funds.blocked_for_orders == 0
    unrealised = sum((position.unrealised for position in result.positions), Decimal(0))
    assert result.equity[-1].equity == funds.capital + funds.realised + unrealised - funds.charges


def charged() -> BacktestResult:
    orders = [
        timed("09:15", quantity=60, split_config=make.split(3, 2)),
        timed("09:16", quantity=10, product=Product.CNC),
        timed("09:18", SELL, quantity=25),
        timed("09:18", SELL, quantity=5, product=Product.CNC),
        timed("09:17", quantity=4, instrument=make.TCS, product=Product.CNC),
    ]
    data = [make.series(*range(100, 108)), make.series(*range(900, 908), instrument=make.TCS)]
    settings = make.settings(
        account=AccountSettings(charges=ZERODHA),
        holdings=(Holding(instrument=make.SBIN, quantity=3, average_price=Decimal("5.5")),),
    )
    return run_backtest(orders, data, settings=settings)


def test_a_run_with_charges_is_in_balance():
    result = charged()

    result.check()
    funds = result.funds
    assert funds.charges > 0
    assert result.statistics.charges == funds.charges
    assert funds.cash + funds.blocked == funds.capital + funds.realised - funds.charges
    unrealised = sum((position.unrealised for position in result.positions), Decimal(0))
    assert result.equity[-1].equity == funds.capital + funds.realised + unrealised - funds.charges


@pytest.mark.parametrize(
    "change", [{"quantity": 11}, {"price": 1_000_001}, {"charged": 1}], ids=lambda change: next(iter(change))
)
def test_the_check_finds_a_fill_that_was_changed(change):
    result = charged()
    rows: Any = result.fill_rows
    rows[3] = replace(rows[3], **change)

    with pytest.raises(OutOfBalance):
        result.check()


# --- the same again ----------------------------------------------------------------------------


@given(stories())
def test_the_same_input_gives_the_same_bytes_and_leaves_chance_alone(story):
    before = random.getstate()

    first, second = play(story), play(story)

    assert first.to_json() == second.to_json()
    assert first.digest() == hashlib.sha256(first.to_json()).hexdigest() == second.digest()
    assert random.getstate() == before


def test_looking_at_a_result_does_not_change_it():
    result = charged()
    before = result.to_json()
    _ = result.statistics, result.positions, [order.quality for order in result.orders], result.orders[-1].fills
    result.check()

    assert result.to_json() == before


@pytest.mark.parametrize(
    ("order", "matching"),
    [
        (timed("09:15", quantity=900, split_config=make.split(9, 60, randomize=True)), {}),
        (
            timed("09:15", quantity=900, split_config=make.split(9, 60)),
            {"latency": Latency(timedelta(), timedelta(minutes=10))},
        ),
    ],
    ids=["plan", "latency"],
)
def test_another_seed_gives_another_run_where_something_is_left_to_chance(order, matching):
    results = [
        make.run([order], make.series(*range(100, 190)), seed=seed, matching=matching) for seed in (1, 1, 2)
    ]

    one, again, other = [result.fills_digest() for result in results]
    assert one == again != other


def test_another_seed_changes_nothing_but_names_where_nothing_is_left_to_chance():
    one, other = [
        make.run([timed("09:15", quantity=90, split_config=make.split(9, 60))], make.series(*range(100, 190)),
                 seed=seed)
        for seed in (1, 2)
    ]  # fmt: skip

    assert one.fills_digest() == other.fills_digest()
    assert one.orders[0].order_id != other.orders[0].order_id


def test_the_digest_of_fills_is_what_it_says():
    result = charged()
    numbers = {make.INFY: 0, make.TCS: 1}
    epoch = datetime.fromisoformat("1970-01-01T00:00:00+00:00")
    packed = b"".join(
        struct.pack(
            "<4q",
            (fill.at - epoch) // timedelta(microseconds=1),
            numbers[fill.instrument],
            fill.quantity if fill.side is BUY else -fill.quantity,
            int(fill.price * 10_000),
        )
        for fill in result.fills
    )

    assert result.fills_digest() == hashlib.sha256(packed).hexdigest()


ROOT = Path(__file__).parents[3]
SCRIPT = """
from tests.unit.backtest.test_runner_facts import charged
print(charged().digest())
"""


def test_another_process_gives_the_same_bytes():
    def digest(hash_seed: str) -> str:
        env = os.environ | {"PYTHONHASHSEED": hash_seed, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
        done = subprocess.run([sys.executable, "-c", SCRIPT], env=env, capture_output=True, text=True)
        return done.stdout.strip() or done.stderr

    assert {digest("1"), digest("77")} == {charged().digest()}


def test_the_json_has_everything_in_it():
    told = json.loads(charged().to_json())

    assert set(told) == {
        "seed", "series", "orders", "fills", "equity", "funds", "positions", "statistics",
    }  # fmt: skip
    assert len(told["orders"]) == 5
    assert [entry["event"]["kind"] for entry in told["orders"][0]["journal"]][:3] == [
        "order_accepted", "split_claimed", "split_saved",
    ]  # fmt: skip


def test_progress_goes_from_nothing_to_all_and_never_back():
    told: list[float] = []
    orders = [timed("09:00"), timed("09:15", quantity=90, split_config=make.split(9, 60))]

    run_backtest(orders, make.series(*range(100, 190)), on_progress=told.append)
    listened: list[float] = []
    run_backtest(OnCandles({3: lambda it: it.send()}), make.series(*[100] * 5000), on_progress=listened.append)

    for said in (told, listened):
        assert len(said) > 2
        assert said == sorted(said)
        assert 0 <= said[0] <= said[-1] == 1


def test_orders_and_fills_can_be_counted_and_picked():
    result = charged()

    for rows in (result.orders, result.fills):
        every = list(rows)
        assert len(rows) == len(every)
        assert repr(rows[-1]) == repr(every[-1])
        assert [repr(row) for row in rows[1:3]] == [repr(row) for row in every[1:3]]
        with pytest.raises(IndexError):
            rows[len(every)]


# --- equity and statistics ---------------------------------------------------------------------


def candles_of(result: BacktestResult) -> list[Any]:
    return [candle for series in result.series for candle in series]


def worth(result: BacktestResult, now: datetime) -> Decimal:
    """What the account is worth by the fills known at an instant and the last prices of then."""
    known = {
        entry.event.fill.trade_id: entry.at
        for order in result.orders
        for entry in order.journal
        if isinstance(entry.event, ev.ExecutionFilled)
    }
    total = result.funds.capital
    cost = {it.instrument: it.quantity * it.average_price for it in result.settings.holdings}
    held = {it.instrument: it.quantity for it in result.settings.holdings}
    # Of one instant the close counts more than a fill.
    prices = [(c.end, 1, c.instrument, c.close) for c in candles_of(result) if c.end <= now]
    for fill in result.fills:
        if known[fill.trade_id] <= now:
            sign = 1 if fill.side is BUY else -1
            held[fill.instrument] = held.get(fill.instrument, 0) + sign * fill.quantity
            cost[fill.instrument] = cost.get(fill.instrument, Decimal(0)) + sign * fill.quantity * fill.price
            prices.append((known[fill.trade_id], 0, fill.instrument, fill.price))
    last = {instrument: price for _, _, instrument, price in sorted(prices, key=lambda row: row[:2])}
    return total + sum(
        (
            held.get(instrument, 0) * price - cost.get(instrument, Decimal(0))
            for instrument, price in last.items()
        ),
        Decimal(0),
    )


@given(stories(("candles",)))
def test_equity_is_what_fills_and_closes_say(story):
    result = play(story)

    points = result.equity
    assert points[0].equity == result.funds.capital
    assert [point.at for point in points] == sorted(point.at for point in points)
    for point in points[1:]:
        assert point.equity == worth(result, point.at)
    last = max(candle.end for candle in candles_of(result))
    assert points[-1].equity == worth(result, last)


@given(stories(("candles",)))
def test_drawdowns_are_those_of_the_equity(story):
    result = play(story)
    equity = np.array([float(point.equity) for point in result.equity])
    peaks = np.maximum.accumulate(equity)
    drawdowns = (equity - peaks) / peaks

    assert np.allclose([float(point.drawdown) for point in result.equity], drawdowns, atol=1e-6)
    statistics: Any = result.statistics
    assert isclose(statistics.max_drawdown, drawdowns.min(), abs_tol=1e-6)
    if statistics.max_drawdown < 0:
        by_time = {point.at: point.equity for point in result.equity}
        peak, bottom = by_time[statistics.max_drawdown_from], by_time[statistics.max_drawdown_to]
        assert statistics.max_drawdown_from < statistics.max_drawdown_to
        assert isclose((bottom - peak) / peak, statistics.max_drawdown, abs_tol=1e-6)
    else:
        assert statistics.max_drawdown_from is statistics.max_drawdown_to is None


def held_over(days: Sequence[int], closes: Sequence[int], per_day: int = 4) -> BacktestResult:
    """Buy 100 at the first open and hold them; the price walks to each day's close."""
    rows = []
    for day, close in zip(days, closes, strict=True):
        rows += make.bars(*[close] * per_day, start=at("09:15", day))
    rows[0] = make.bars((100, max(100, closes[0]), min(100, closes[0]), closes[0]), start=at("09:15", days[0]))[
        0
    ]
    return make.run(
        [timed("09:15", quantity=100)], CandleSeries.from_candles(rows, interval=make.MINUTE),
        capital=Decimal(20_000),
    )  # fmt: skip


def check_returns(result: BacktestResult, closes: Sequence[int]) -> None:
    equity = np.array([20_000.0, *[20_000 + 100 * (close - 100) for close in closes]])
    returns = equity[1:] / equity[:-1] - 1
    statistics: Any = result.statistics
    assert statistics.days == len(closes)
    assert isclose(statistics.volatility, returns.std(ddof=1) * sqrt(252))
    assert isclose(statistics.sharpe, returns.mean() / returns.std(ddof=1) * sqrt(252))
    downside = sqrt((np.minimum(returns, 0) ** 2).mean())
    assert isclose(statistics.sortino, returns.mean() / downside * sqrt(252))


def test_returns_are_those_of_days():
    closes = [104, 96, 99, 107, 101]

    check_returns(held_over([5, 6, 7, 8, 12], closes), closes)


@pytest.mark.parametrize("hour", ["00:00", "05:30", "09:15"])
def test_returns_of_daily_candles_are_those_of_their_days(hour):
    closes, days = [104, 96, 99, 107, 101], [5, 6, 8, 9, 12]
    rows = [
        make.bars((100, 120, 90, close), start=at(hour, day))[0]
        for day, close in zip(days, closes, strict=True)
    ]
    data = CandleSeries.from_candles(rows, interval=timedelta(days=1))

    result = make.run([timed(at(hour), quantity=100)], data, capital=Decimal(20_000))

    check_returns(result, closes)


def test_too_little_gives_no_ratio():
    statistics = make.run([timed("09:15")], make.series(100, 101, 102)).statistics

    assert statistics.days == 1
    assert (statistics.volatility, statistics.sharpe, statistics.sortino) == (None, None, None)
    nothing: Any = make.run([], make.series(100, 101, 102)).statistics
    assert (nothing.trades, nothing.win_rate, nothing.profit_factor, nothing.turnover) == (0, None, None, 0)
    assert nothing.total_return == 0


def test_without_capital_there_is_no_return():
    statistics = make.run([timed("09:15")], make.series(100, 101, 102), capital=Decimal(0)).statistics

    assert statistics.total_return is None
    assert statistics.max_drawdown == 0


def test_wins_losses_and_their_factor():
    prices = [100, 110, 105, 103, 104, 104, 100, 101]
    orders = [
        timed("09:15", quantity=12), timed("09:15", quantity=8),  # the second adds to the first
        timed("09:16", SELL, quantity=10),  # + 100
        timed("09:17", SELL, quantity=10),  # + 50
        timed("09:18", SELL, quantity=10), timed("09:19", quantity=10),  # - 10
        timed("09:20", quantity=10), timed("09:21", SELL, quantity=15),  # - 40, and 5 short
        timed("09:22", quantity=5),  # - 5
    ]  # fmt: skip

    statistics = make.run(orders, make.series(*prices)).statistics

    assert (statistics.fills, statistics.trades, statistics.wins, statistics.losses) == (9, 5, 2, 3)
    assert statistics.win_rate == Decimal("0.4")
    assert statistics.profit_factor == Decimal("2.73")  # 150 / 55
    assert statistics.realised == 95
    assert statistics.turnover == 20 * 100 + 10 * (110 + 105 + 103 + 104 + 104) + 15 * 100 + 5 * 101


def test_a_run_in_figures():
    statistics: Any = held_over([5, 6], [110, 99]).statistics

    assert (statistics.first_at, statistics.last_at) == (at("09:15"), at("09:19", day=6))
    assert (statistics.starting_equity, statistics.final_equity) == (20_000, 19_900)
    assert (statistics.realised, statistics.unrealised, statistics.charges) == (0, -100, 0)
    assert statistics.total_return == Decimal("-0.005")
    assert statistics.max_drawdown == Decimal("-0.052381")  # 1,100 of 21,000
    assert (statistics.max_drawdown_from, statistics.max_drawdown_to) == (at("09:16"), at("09:16", day=6))
    assert (statistics.orders, statistics.filled_orders, statistics.fills) == (1, 1, 1)


def test_the_first_point_of_equity_is_the_capital_whatever_fills_at_once():
    strategy = make.OnTicks(on_start=lambda it: it.send())
    data = make.ticks(("09:15:00", 100, 99, 101), ("09:15:01", 100, 99, 101))

    result = make.run(strategy, data, capital=Decimal(10_000))

    assert [point.equity for point in result.equity] == [10_000, 9_990, 9_990]
    assert result.statistics.starting_equity == 10_000
    assert result.statistics.total_return == Decimal("-0.001")


def test_a_holding_without_a_series_counts_with_what_it_cost():
    seen = []
    strategy = OnCandles({1: lambda it: seen.append(it.desk.equity())})
    held = Holding(instrument=make.TCS, quantity=10, average_price=Decimal(50))

    result = make.run(strategy, make.series(100, 101, 102), capital=Decimal(1000), holdings=(held,))

    assert seen == [Decimal(1500)]
    assert result.equity[-1].equity == 1500


def test_a_holding_is_valued_at_its_price_and_can_be_sold():
    held = Holding(instrument=make.INFY, quantity=10, average_price=Decimal(90))

    result = make.run(
        [timed("09:16", SELL, quantity=4, product=Product.CNC)], make.series(100, 102, 104),
        capital=Decimal(1000), holdings=(held,),
    )  # fmt: skip

    assert [point.equity for point in result.equity] == [1900, 2000, 2020, 2032]
    assert result.funds.realised == 48
    assert result.statistics.final_equity == 2032


def test_a_contract_counts_with_its_multiplier():
    account = AccountSettings(contracts={make.FUTURE: Contract(multiplier=50)})

    result = make.run(
        [timed("09:15", quantity=2, instrument=make.FUTURE)],
        make.series(100, 101, 103, instrument=make.FUTURE),
        capital=Decimal(20_000),
        account=account,
    )

    assert [point.equity for point in result.equity] == [20_000, 20_000, 20_100, 20_300]
    assert result.statistics.unrealised == 300
    assert result.statistics.turnover == 10_000


# --- how well an order was executed ------------------------------------------------------------

MARKET = [(100, 104, 98, 102), (102, 106, 100, 104), (104, 108, 102, 106), (106, 107, 105, 106)]


def quality(order: Any, *rows: Any, volume: Any = (100, 300, 600, 50), **fields: Any) -> ExecutionQuality:
    return make.run([order], make.series(*(rows or MARKET), volume=volume), **fields).orders[0].quality


def test_a_purchase_in_three_slices():
    # 10 each at 100, 102, 104; the means of the candles are 101.3333, 103.3333 and 105.3333.
    found = quality(timed("09:15", quantity=30, split_config=make.split(3, 2)))

    assert found == ExecutionQuality(
        total_quantity=30,
        filled_quantity=30,
        average_price=Decimal(102),
        arrival_price=Decimal(100),
        interval_vwap=Decimal("104.3333"),
        interval_twap=Decimal("103.3333"),
        slippage_vs_arrival_bps=Decimal(200),
        slippage_vs_vwap_bps=Decimal("-223.64"),
        slippage_vs_twap_bps=Decimal("-129.03"),
        participation=Decimal("0.03"),
        lateness_mean=timedelta(),
        lateness_max=timedelta(),
    )


def test_a_sale_costs_where_a_purchase_gains():
    found = quality(timed("09:15", SELL, quantity=30, split_config=make.split(3, 2)))

    assert found.slippage_vs_arrival_bps == Decimal(-200)
    assert found.slippage_vs_vwap_bps == Decimal("223.64")
    assert found.slippage_vs_twap_bps == Decimal("129.03")


def test_an_order_inside_a_candle_is_measured_from_the_next_one_on():
    found = quality(timed("09:15:20", quantity=30))

    assert (found.average_price, found.interval_twap) == (Decimal(102), Decimal("103.3333"))
    assert found.participation == Decimal("0.1")
    assert (found.lateness_mean, found.lateness_max) == (timedelta(seconds=40), timedelta(seconds=40))


def test_the_arrival_price_inside_a_candle_is_its_open():
    assert quality(timed("09:16:20")).arrival_price == 102


def test_before_the_first_price_there_is_no_arrival_price():
    found = quality(timed("09:14"))

    assert (found.arrival_price, found.slippage_vs_arrival_bps) == (None, None)
    assert found.average_price == 100


def test_lateness_is_weighed_by_quantity():
    # 50 at 09:15 and 25 at 09:16.
    found = quality(
        timed("09:15", quantity=75), volume=(500, 500, 500, 500), matching={"participation": Decimal("0.1")}
    )

    assert (found.lateness_mean, found.lateness_max) == (timedelta(seconds=20), timedelta(minutes=1))


def test_an_order_that_fills_nothing_has_no_price_and_no_lateness():
    found = quality(timed("09:15", limit=50))

    assert found == ExecutionQuality(
        total_quantity=10,
        filled_quantity=0,
        arrival_price=Decimal(100),
        interval_vwap=Decimal("101.3333"),
        interval_twap=Decimal("101.3333"),
        participation=Decimal(0),
    )


def test_without_volume_there_is_no_volume_weighted_price():
    found = quality(timed("09:15"), volume=0)

    assert (found.interval_vwap, found.slippage_vs_vwap_bps, found.participation) == (None, None, None)
    assert found.interval_twap == Decimal("101.3333")


def test_a_partly_filled_order_counts_what_it_filled():
    found = quality(
        timed("09:15", quantity=1000), volume=(100, 100, 100, 100), matching={"participation": Decimal("0.1")}
    )

    assert (found.total_quantity, found.filled_quantity) == (1000, 40)
    assert found.average_price == Decimal(103)
    assert found.participation == Decimal("0.1")
    assert found.lateness_mean == timedelta(seconds=90)


def test_ticks_are_weighed_with_what_was_traded_since_the_one_before():
    data = make.ticks(
        ("09:15:00", 100), ("09:15:10", 102), ("09:15:20", 101), ("09:15:30", 90), volume=[10, 30, 60, 100]
    )

    result = make.run([timed("09:15:00", quantity=10, schedule=None, start_at=at("09:15:20"))], data)
    found = result.orders[0].quality

    # From the arrival to the fill: 20 units at 102 and 30 at 101; what the first tick stands for is unknown.
    assert found.average_price == 101
    assert found.interval_vwap == Decimal("101.4")
    assert found.interval_twap == Decimal(101)
    assert found.participation == Decimal("0.2")


def test_the_quality_of_a_limit_that_fills_later():
    found = quality(timed("09:15", limit="99.5"))

    # Below its limit in the first candle; when it fills is known to the candle only.
    assert (found.average_price, found.lateness_max) == (Decimal("99.5"), timedelta())
    assert found.slippage_vs_arrival_bps == Decimal(-50)
