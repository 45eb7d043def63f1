"""How a desk and its strategies end: by what is theirs alone, in time, and never unseen."""

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any

import pytest

from pulse_domain.candles import ClosedCandle
from pulse_domain.errors import FeedRefused, StorageUnavailable
from pulse_domain.instruments import Instrument
from pulse_domain.ports.strategy_store import Checkpoint, StrategyState
from pulse_domain.strategies import STRATEGIES
from tests.unit.market_desk.desk_world import INFY, DeskWorld, Scripted, Stores, until
from tests.unit.market_desk.test_signals import Away, EveryTick, ticks
from tests.unit.market_desk.test_strategies import play, started, until_kept

PATIENCE_S = 30.0


class Poisoned(Scripted):
    """After its first candle it knows what cannot be stored."""

    poison: Any = "\x00"

    def snapshot(self) -> dict[str, Any]:
        return super().snapshot() | ({"poison": self.poison} if self.closes else {})


@pytest.fixture(autouse=True)
def kinds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(STRATEGIES, "poisoned", Poisoned)
    monkeypatch.setitem(STRATEGIES, "every_tick", EveryTick)


@pytest.mark.parametrize(
    ("poison", "said"), [("\x00", "a value cannot be stored"), (object(), "Encoding objects of type object")]
)
async def test_a_memory_that_cannot_be_stored_is_its_strategy_s_trouble_alone(
    replayed: DeskWorld, monkeypatch: pytest.MonkeyPatch, poison: object, said: str
) -> None:
    stores = replayed.stores
    monkeypatch.setattr(Poisoned, "poison", poison)
    await started(replayed, name="good")
    await started(replayed, "poisoned", name="bad")
    await play(replayed, 0, 1)
    row = await replayed.until_state(StrategyState.FAILED, "bad")
    await play(replayed, 1, 3)

    assert (row.detail or "").startswith("what it remembers cannot be stored: ")
    assert said in (row.detail or "")
    await until_kept(stores, lambda seat: len(seat["strategy"]["closes"]) == 3, "good")
    monkeypatch.setattr(Poisoned, "poison", None)
    await stores.strategies.want("bad", StrategyState.RUNNING, "asha")
    await until_kept(stores, lambda seat: len(seat["strategy"]["closes"]) == 3, "bad")


async def test_a_desk_ends_with_what_keeps_its_memories(
    stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(checkpoint: Checkpoint) -> None:
        raise RuntimeError("a fault of ours")

    monkeypatch.setattr(stores.strategies, "save_checkpoint", broken)
    world = DeskWorld(stores, recorded=True)
    await world.want("scripted")
    with pytest.raises(ExceptionGroup) as raised:
        await asyncio.wait_for(world.desk.run(), PATIENCE_S)
    await world.exchange.close()
    await world.bus.close()

    assert [str(each) for each in raised.value.exceptions] == ["a fault of ours"]


async def test_a_desk_ends_while_the_store_is_away(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pulse_background.market.runner._FLUSH_S", 0.1)
    monkeypatch.setattr("pulse_background.market.desk._STOP_S", 0.1)
    asked = 0

    async def away(candles: Sequence[ClosedCandle]) -> None:
        nonlocal asked
        asked += 1
        raise StorageUnavailable

    world = DeskWorld(stores, recorded=True)
    desk = asyncio.create_task(world.desk.run())
    await started(world)
    # One goes on, and one more never gets to begin.
    monkeypatch.setattr(stores.candles, "save", away)
    world.minute(0, 100)
    world.pass_to(1)
    await until(lambda: asked and world.seen["signal"])
    await world.want("macd", name="starts")
    await until(lambda: any(task.get_name() == "start starts" for task in asyncio.all_tasks()))
    desk.cancel()
    done, _ = await asyncio.wait({desk}, timeout=PATIENCE_S)
    await world.exchange.close()
    await world.bus.close()

    assert done


async def test_a_desk_that_ends_orders_nothing_more(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another one may lead already."""
    world = DeskWorld(stores, recorded=False)
    desk = asyncio.create_task(world.desk.run())
    await started(world, "every_tick")
    store = Away(stores, monkeypatch)
    await ticks(world, 3)
    await until(lambda: store.asked)
    desk.cancel()
    store.is_away = False
    await asyncio.wait({desk}, timeout=PATIENCE_S)
    await world.exchange.close()
    await world.bus.close()

    first = world.seen["signal"][0].order_unique_key
    assert {view.order.order_unique_key for view in await world.orders()} <= {first}


async def test_one_whose_prices_are_refused_leaves_those_of_another_alone(
    stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = DeskWorld(stores, recorded=True)
    subscribe = world.feed.subscribe

    def all_but_infy(instruments: Iterable[Instrument]) -> None:
        wanted = tuple(instruments)
        if INFY in wanted:
            raise FeedRefused("no file plays for NSE:INFY")
        subscribe(wanted)

    monkeypatch.setattr(world.feed, "subscribe", all_but_infy)
    await world.want("scripted", name="good")
    await world.want("scripted", name="worse", instruments=(INFY,))
    async with world.running():
        await world.until_state(StrategyState.FAILED, "worse")
        await world.until_state(StrategyState.RUNNING, "good")
        await world.until_fed()
        await play(world, 0, 1)
        await until(lambda: world.seen["signal"])
