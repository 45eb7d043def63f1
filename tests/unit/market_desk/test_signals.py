"""Orders of strategies on their way: in time or not at all, and no strategy waits for another one's."""

import asyncio
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from pulse_background.market.signal_line import SignalLine
from pulse_domain.errors import StorageUnavailable
from pulse_domain.matching import Tick
from pulse_domain.orders.model import OrderRequest, Side
from pulse_domain.ports.event_bus import Signal
from pulse_domain.ports.strategy_store import StrategyMode
from pulse_domain.strategies import STRATEGIES
from pulse_domain.strategy import Strategy
from tests.unit.market_desk.desk_world import OPEN, TCS, DeskWorld, StandingClock, Stores, until
from tests.unit.market_desk.test_strategies import started


class EveryTick(Strategy):
    def on_tick(self, tick: Tick) -> None:
        self.buy(tick.instrument, 1)


@pytest.fixture(autouse=True)
def every_tick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(STRATEGIES, "every_tick", EveryTick)


class Away:
    """Takes the way of orders out of a store, until `is_away` is false."""

    def __init__(self, stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
        self.is_away = True
        self.asked = 0
        for name in ("accept", "find_accepted"):
            monkeypatch.setattr(stores.orders, name, self._unless_away(getattr(stores.orders, name)))

    def _unless_away(self, real: Any) -> Any:
        async def call(*args: Any) -> Any:
            self.asked += 1
            if self.is_away:
                raise StorageUnavailable
            return await real(*args)

        return call


async def ticks(world: DeskWorld, count: int) -> None:
    """One after the other, each answered by every strategy that there is."""
    strategies = len(world.desk.runner.figures())
    for number in range(count):
        signals = len(world.seen["signal"])
        world.tick_at(world.clock.now() + timedelta(microseconds=number), 100)
        await until(lambda: len(world.seen["signal"]) == signals + strategies)  # noqa: B023  # awaited at once


async def test_signals_that_have_waited_too_long_are_not_sent(
    stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = StandingClock(OPEN)
    async with DeskWorld(stores, recorded=False, clock=clock).running() as world:
        await started(world, "every_tick")
        store = Away(stores, monkeypatch)
        await ticks(world, 3)
        await until(lambda: store.asked)
        clock.at += timedelta(seconds=61)
        store.is_away = False
        await until(lambda: len(world.seen["order_update"]) == 3)

        assert {each.reason_code for each in world.seen["order_update"]} == {"STALE_SIGNAL"}
        assert await world.orders() == []


async def test_paper_does_not_wait_for_the_store_that_live_orders_wait_for(
    stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with DeskWorld(stores, recorded=False).running() as world:
        await started(world, "every_tick", name="live")
        await started(world, "every_tick", name="paper", mode=StrategyMode.PAPER)
        Away(stores, monkeypatch)
        fills = 0
        for _ in range(100):
            # An order on paper meets the ticks that come after it.
            await ticks(world, 1)
            fills = len([each for each in world.seen["order_update"] if each.last_quantity == 1])
            if fills >= 3:
                break

        assert fills >= 3
        assert await world.orders() == []


# --- the line by itself


def signal(number: int) -> Signal:
    request = OrderRequest(instrument=TCS, side=Side.BUY, total_quantity=1, limit_price=Decimal(1))
    return Signal(at=OPEN, sent_at=OPEN, strategy_tag="it", order_unique_key=f"it.{number}", request=request)


async def test_one_that_raises_takes_no_other_with_it() -> None:
    sent, failed = list[str](), list[str]()

    async def send(each: Signal) -> None:
        if each.order_unique_key == "it.1":
            raise ValueError("no")
        sent.append(each.order_unique_key)

    line = SignalLine("it", send, failed.append)
    for number in range(3):
        line.put(signal(number))
    await line.close(30)

    assert sent == ["it.0", "it.2"]
    assert failed == ["its order it.1 cannot be handed over: ValueError: no"]


async def test_what_waits_at_the_end_is_dropped_and_nothing_more_is_taken() -> None:
    sent, may_go_on = list[str](), asyncio.Event()

    async def send(each: Signal) -> None:
        sent.append(each.order_unique_key)
        await may_go_on.wait()

    line = SignalLine("it", send, sent.append)
    for number in range(3):
        line.put(signal(number))
    await until(lambda: sent)
    line.drop()
    await line.close(0.01)
    line.put(signal(3))
    may_go_on.set()
    await asyncio.sleep(0)

    assert sent == ["it.0"]
