"""The runner and the naive one agree on everything; and who listens changes nothing."""

import os
from datetime import datetime, timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from pulse_domain.backtest import BacktestResult, OrderUpdate, Strategy, TimedOrder, run_backtest
from pulse_domain.matching import Candle, Tick
from pulse_domain.orders.model import OrderRequest
from tests.unit.backtest import make
from tests.unit.backtest.markets import Story, series_of, stories
from tests.unit.backtest.naive import Naive

EXAMPLES = int(os.environ.get("PULSE_EXAMPLES", "500"))


def fills(result: BacktestResult) -> list[tuple[Any, ...]]:
    """order, seq, chunk, time, quantity, price, when it was known; each of them as the result tells it."""
    number = {order.order_unique_key: place for place, order in enumerate(result.orders)}
    known = {
        entry.event.fill.trade_id: entry.at
        for order in result.orders
        for entry in order.journal
        if hasattr(entry.event, "fill")
    }
    return [
        (
            number[fill.order_unique_key], fill.seq, fill.chunk, fill.at, fill.quantity, fill.price,
            known[fill.trade_id],
        )
        for fill in result.fills
    ]  # fmt: skip


def at_of(timed: TimedOrder) -> datetime:
    """When an order arrives."""
    at = timed.at or timed.request.start_at
    assert at is not None
    return at


def naive(story: Story, result: BacktestResult) -> Naive:
    arrivals = sorted([(at_of(timed), timed) for timed in story.orders], key=lambda row: row[0])
    return Naive(story.data, story.settings, story.seed, lambda n: result.orders[n].order_id).run(arrivals)


@settings(max_examples=EXAMPLES)
@given(stories())
def test_the_runner_gives_what_the_naive_one_gives(story):
    result = run_backtest(story.orders, story.series, settings=story.settings, seed=story.seed)

    expected = naive(story, result)
    said, wanted = fills(result), expected.fills
    if story.is_long:
        # A fill at an open that was long ago is known as soon as something makes it certain.
        said, wanted = [sorted(row[:-1] for row in rows) for rows in (said, wanted)]
    assert said == wanted
    ends = [
        [None if it.terminal is None else it.terminal.value for s in order.slices for it in s.executions]
        for order in result.orders
    ]
    assert ends == [[child.end for child in parent.children] for parent in expected.parents]
    assert [order.summary.state for order in result.orders] == [parent.state for parent in expected.parents]
    assert result.funds.cash == expected.money.cash()
    assert all(
        expected.money.positions[it.instrument, it.product].quantity == it.quantity for it in result.positions
    )
    result.check()


class Sleeps(Strategy):
    """Hands everything in at the start and hears of nothing."""

    def __init__(self, requests: list[OrderRequest]) -> None:
        self.requests = requests

    def on_start(self) -> None:
        for request in self.requests:
            self.desk.submit(request)


class Listens(Sleeps):
    def on_candle(self, candle: Candle) -> None:
        pass


class ListensToAll(Listens):
    def on_tick(self, tick: Tick) -> None:
        pass

    def on_order_update(self, update: OrderUpdate) -> None:
        pass


def requests_of(story: Story) -> list[OrderRequest]:
    """The story's orders as a strategy hands them in at the start, those that begin within a week."""
    starts = [max(timed.request.start_at or at_of(timed), story.begin) for timed in story.orders]
    return [
        replace(timed.request, start_at=start)
        for timed, start in zip(story.orders, starts, strict=True)
        if start <= story.begin + timedelta(days=7)
    ]


@settings(max_examples=EXAMPLES // 4)
@given(stories())
def test_who_listens_changes_nothing(story):
    requests = requests_of(story)
    told = [TimedOrder(at=story.begin, request=request) for request in requests]

    runs = [
        run_backtest(what, story.series, settings=story.settings, seed=story.seed)
        for what in (told, Sleeps(requests), Listens(requests), ListensToAll(requests))
    ]

    assert len({result.fills_digest() for result in runs}) == 1
    assert len({result.digest() for result in runs}) == 1


@settings(max_examples=EXAMPLES // 4)
@given(stories(), st.booleans(), st.data())
def test_an_instrument_that_nobody_trades_changes_nothing(story, ahead, data):
    # It has the times of one that is traded, so that the data begins and ends as it did.
    twin = [replace(row, instrument=make.FUTURE) for row in data.draw(st.sampled_from(story.data))]
    every = [series_of(twin), *story.series] if ahead else [*story.series, series_of(twin)]

    alone = run_backtest(story.orders, story.series, settings=story.settings, seed=story.seed)
    beside = run_backtest(story.orders, every, settings=story.settings, seed=story.seed)

    assert fills(beside) == fills(alone)
    assert [order.journal for order in beside.orders] == [order.journal for order in alone.orders]
    assert beside.equity == alone.equity
