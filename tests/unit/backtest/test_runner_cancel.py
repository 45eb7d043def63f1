"""When a strategy's orders begin, and what a cancel finds of them."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from pulse_domain.account import Holding
from pulse_domain.backtest import BacktestResult, run_backtest
from pulse_domain.errors import InvalidOrder, NotFound, StrategyFailed
from pulse_domain.matching import FixedTicks
from pulse_domain.orders.model import Side
from tests.unit.backtest import make
from tests.unit.backtest.make import OnCandles, at, clock, timed

BUY, SELL = Side.BUY, Side.SELL
FIVE = timedelta(minutes=5)
RISING = [(100, 102, 99, 101), (101, 103, 100, 102), (102, 104, 101, 103), (103, 105, 102, 104)]


def kinds(strategy: make.Script) -> list[str]:
    return [f"{kind} {clock(now)}" for kind, now, _ in strategy.heard]


# --- when a strategy's orders begin -----------------------------------------------------------


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


# --- cancelling -------------------------------------------------------------------------------


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

    result = make.run(strategy, make.series(*[100] * 6, volume=300), matching={"participation": Decimal("0.1")})

    summary = result.orders[0].summary
    assert (summary.state, summary.quantities.filled, summary.quantities.cancelled) == (
        "PARTIALLY_FILLED",
        30,
        70,
    )
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

    result = make.run(strategy, make.series(*[100] * 6, volume=300), matching={"participation": Decimal("0.1")})

    assert [update.state for update in strategy.updates] == ["WORKING", "PARTIALLY_FILLED"]
    assert result.orders[0].summary.quantities.cancelled == 70


def test_a_cancel_comes_too_late_for_an_open_that_has_been():
    # At 09:21 the candle of five minutes has opened, which fills; that it will is known at the cancel.
    strategy = OnCandles({0: lambda it: it.send(instrument=make.TCS), 6: lambda it: it.cancel(it.keys[0])})
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
