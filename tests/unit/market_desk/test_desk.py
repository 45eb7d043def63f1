"""A desk on recorded prices: candles, strategies, orders and what is told of them."""

import asyncio
from datetime import timedelta

from prometheus_client import CollectorRegistry, generate_latest

from pulse_background.market_metrics import DeskMetrics
from pulse_domain.orders.model import Side, Source
from pulse_domain.orders.status import OrderState
from pulse_domain.ports.notifier import NotificationKind, Severity
from pulse_domain.ports.strategy_store import StrategyState
from tests.unit.market_desk.desk_world import OPEN, TCS, DeskWorld, until


async def test_candles_make_orders_that_are_filled_and_told(replayed: DeskWorld) -> None:
    await replayed.want("scripted")
    await replayed.until_state(StrategyState.RUNNING)
    await replayed.until_fed()
    for number in range(4):
        replayed.minute(number, 100 + number, 101 + number)
    replayed.pass_to(4)
    await until(lambda: len(replayed.seen["order_update"]) == 4)

    orders = await replayed.orders()
    assert [view.order.request.side for view in orders] == [Side.BUY, Side.SELL, Side.BUY, Side.SELL]
    assert {view.summary.state for view in orders} == {OrderState.FILLED}
    assert {view.order.source for view in orders} == {Source.STRATEGY}
    assert {view.order.request.strategy_tag for view in orders} == {"it"}
    assert [signal.at for signal in replayed.seen["signal"]] == [
        OPEN + timedelta(minutes=number) for number in range(1, 5)
    ]
    assert [view.order.order_unique_key for view in orders] == [
        f"it.1.20260120T03{45 + number}00.000000.c1.NSE:TCS.1" for number in range(1, 5)
    ]
    # Each order met the price at which its candle closed.
    assert [str(view.summary.average_price) for view in orders] == [
        "101.0000",
        "102.0000",
        "103.0000",
        "104.0000",
    ]
    assert len(replayed.seen["validated_order"]) == 4
    assert [each.minutes for each in replayed.seen["candle"] if each.candle].count(1) == 4
    stored = [run async for run in replayed.stores.candles.candles(TCS, 1, OPEN, OPEN + timedelta(hours=1))]
    assert [str(candle.close) for candle in stored[0]] == ["101", "102", "103", "104"]


async def test_its_figures_are_on_the_metrics_page(replayed: DeskWorld) -> None:
    registry = CollectorRegistry()
    DeskMetrics(replayed.desk, registry)
    await replayed.want("scripted")
    await replayed.until_state(StrategyState.RUNNING)
    await replayed.until_fed()
    replayed.minute(0, 100)
    replayed.pass_to(1)
    await until(lambda: replayed.seen["order_update"])

    page = generate_latest(registry).decode()
    for figure in (
        "feed_connected 1.0",
        "feed_ticks_total 1.0",
        "strategies_running 1.0",
        "strategies_failed_total 0.0",
        'strategy_signals_total{strategy="it"} 1.0',
        'strategy_signals_unanswered{strategy="it"} 0.0',
    ):
        assert f"\n{figure}\n" in page
    assert "\ncandles_closed_total " in page


async def test_prices_are_shown_to_the_risk_gate_by_the_clock(replayed: DeskWorld) -> None:
    await replayed.want("scripted")
    await replayed.until_fed()
    replayed.minute(0, 100, 102)
    await until(lambda: replayed.latest.get(TCS) and replayed.latest[TCS].price == 102)
    async with asyncio.timeout(30):
        while (price := await replayed.stores.board.price(TCS)) is None:  # noqa: ASYNC110  # a store
            await asyncio.sleep(0.01)

    assert price.last_price == 102
    assert abs(price.at - replayed.clock.now()) < timedelta(minutes=1), "not at the instant of the recording"


async def test_without_strategies_and_instruments_nothing_is_played(replayed: DeskWorld) -> None:
    await until(replayed.desk.runner.has_looked.is_set)
    await asyncio.sleep(0.05)

    assert replayed.feed.figures().connects == 0


async def test_a_feed_that_refuses_is_told_of(replayed: DeskWorld) -> None:
    await replayed.want("scripted")
    await replayed.until_fed()
    replayed.feed.refuse("log in first")
    await until(lambda: any(each.kind is NotificationKind.FEED for each in replayed.notifier.told))

    [told] = [each for each in replayed.notifier.told if each.kind is NotificationKind.FEED]
    assert (told.severity, dict(told.parts)) == (Severity.HIGH, {"refused": "log in first"})
