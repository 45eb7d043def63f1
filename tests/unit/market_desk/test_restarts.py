"""What a strategy finds after a restart: what it asked for, what it missed, and what it holds."""

from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from pulse_domain.candles import ClosedCandle
from pulse_domain.matching import Candle, Tick
from pulse_domain.orders.model import OrderType, Side
from pulse_domain.orders.status import OrderState
from pulse_domain.ports.strategy_store import Checkpoint, StrategyState
from pulse_domain.strategies import STRATEGIES
from pulse_domain.strategy import OrderUpdate, Strategy
from tests.unit.market_desk.desk_world import INFY, OPEN, TCS, DeskWorld, Scripted, Stores, until
from tests.unit.market_desk.test_strategies import keys, play, started, until_kept


class Rests(Strategy):
    """Orders once, what does not fill."""

    def __init__(self) -> None:
        super().__init__()
        self.key: str | None = None

    def _order(self) -> None:
        if self.key is None:
            self.key = self.buy(TCS, 5, order_type=OrderType.LIMIT, limit_price=Decimal(50))

    def snapshot(self) -> dict[str, Any]:
        return {"key": self.key}

    def restore(self, state: Mapping[str, Any]) -> None:
        self.key = state["key"]


class RestsByCandle(Rests):
    def on_candle(self, candle: Candle) -> None:
        self._order()


class RestsByTick(Rests):
    def on_tick(self, tick: Tick) -> None:
        self._order()


class Notes(Strategy):
    """What it was told of candles, and held then."""

    past_candles = 5

    def __init__(self) -> None:
        super().__init__()
        self.told: list[str] = []
        self.held: list[int] = []

    def on_past_candle(self, candle: Candle) -> None:
        self.told.append(f"past {candle.instrument.symbol} {(candle.start - OPEN) // timedelta(minutes=1)}")

    def on_candle(self, candle: Candle) -> None:
        self.told.append(f"{candle.instrument.symbol} {(candle.start - OPEN) // timedelta(minutes=1)}")
        self.held.append(self.position(candle.instrument))

    def snapshot(self) -> dict[str, Any]:
        return {"told": self.told, "held": self.held}

    def restore(self, state: Mapping[str, Any]) -> None:
        self.told, self.held = list(state["told"]), list(state["held"])


class RaisesOnUpdate(Scripted):
    is_broken = True

    def on_order_update(self, update: OrderUpdate) -> None:
        if self.is_broken:
            self.told.append("half of it")
            raise ValueError("no")
        super().on_order_update(update)


@pytest.fixture(autouse=True)
def kinds(monkeypatch: pytest.MonkeyPatch) -> None:
    made = {
        "rests": RestsByCandle,
        "rests_by_tick": RestsByTick,
        "notes": Notes,
        "raises_on_update": RaisesOnUpdate,
    }
    for kind, each in made.items():
        monkeypatch.setitem(STRATEGIES, kind, each)


async def checkpoint(stores: Stores) -> Checkpoint:
    kept = await stores.strategies.checkpoint("it", 1)
    assert kept is not None
    return kept


# --- what it asked for


async def test_an_order_by_a_tick_is_known_after_a_crash(stores: Stores) -> None:
    async with DeskWorld(stores, recorded=True).running() as world:
        await started(world, "rests_by_tick")
        world.tick_at(OPEN + timedelta(seconds=5), 100)
        seat = await until_kept(stores, lambda seat: seat["strategy"]["key"])
        assert [each["update"]["order_unique_key"] for each in seat["orders"]] == await keys(world)
        kept = await checkpoint(stores)
    await stores.strategies.save_checkpoint(kept)  # that of before its end

    async with DeskWorld(stores, recorded=True).running() as world:
        await world.until_state(StrategyState.RUNNING)
        await world.until_fed()
        world.tick_at(OPEN + timedelta(seconds=65), 100)
        world.tick_at(OPEN + timedelta(seconds=66), 101)  # comes when the one before is worked on
        await until(lambda: TCS in world.latest and world.latest[TCS].price == 101)

        assert len(await keys(world)) == 1
        assert world.desk.runner.figures()["it"].open_orders == 1


async def test_what_ticks_told_is_stored_when_it_stops(stores: Stores) -> None:
    async with DeskWorld(stores, recorded=True).running() as world:
        await started(world, "by_tick")
        world.minute(0, 100, 101, 102, 103)
        await until(lambda: TCS in world.latest and world.latest[TCS].price == 103)

    assert (await checkpoint(stores)).state["seat"]["strategy"] == {"seen": 4}


async def test_an_order_that_was_forgotten_counts_once_when_it_is_taken_up_again(stores: Stores) -> None:
    async with DeskWorld(stores, recorded=True).running() as world:
        await started(world)
        await play(world, 0, 1)
        await until_kept(stores, lambda seat: len(seat["strategy"]["told"]) == 1)
        kept = await checkpoint(stores)
        await play(world, 1, 2)
        await until_kept(stores, lambda seat: len(seat["strategy"]["told"]) == 2)
    await stores.strategies.save_checkpoint(kept)  # as if the later one had been lost

    async with DeskWorld(stores, recorded=True).running() as world:
        world.pass_to(2)
        await world.until_state(StrategyState.RUNNING)
        await world.until_fed()
        await until_kept(stores, lambda seat: len(seat["strategy"]["told"]) == 2)
        await play(world, 2, 3)

    orders = await world.orders()
    assert [view.order.request.side for view in orders] == [Side.BUY, Side.SELL, Side.BUY]


async def test_what_a_version_before_left_open_counts_when_it_fills(stores: Stores) -> None:
    async with DeskWorld(stores, recorded=True).running() as world:
        await started(world, "rests")
        await play(world, 0, 1)
        while (await world.orders())[0].summary.state is not OrderState.WORKING:
            await until(lambda: True)
        await stores.strategies.want("it", StrategyState.STOPPED, "asha")
        await world.until_state(StrategyState.STOPPED)
        await started(world, "notes")
        await play(world, 1, 2)
        world.minute(2, 40)  # it fills
        world.pass_to(3)
        await until(lambda: any(each.last_quantity == 5 for each in world.seen["order_update"]))
        await play(world, 3, 5)

        seat = await until_kept(stores, lambda seat: "TCS 4" in seat["strategy"]["told"], version=2)

    assert (seat["strategy"]["held"][0], seat["strategy"]["held"][-1]) == (0, 5)
    assert seat["orders"] == [], "it is told what it holds, and not of the order"


async def test_an_update_that_it_failed_by_is_told_again(
    replayed: DeskWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    await started(replayed, "raises_on_update")
    await play(replayed, 0, 1)
    await replayed.until_state(StrategyState.FAILED)
    monkeypatch.setattr(RaisesOnUpdate, "is_broken", False)
    await replayed.stores.strategies.want("it", StrategyState.RUNNING, "asha")

    seat = await until_kept(replayed.stores, lambda seat: seat["strategy"]["told"])

    assert [told.split()[1:] for told in seat["strategy"]["told"]] == [["FILLED", "10"]]


# --- candles that it missed


async def test_candles_of_an_instrument_that_it_had_none_of_are_caught_up_too(stores: Stores) -> None:
    async with DeskWorld(stores, recorded=True).running() as world:
        await started(world, "notes", instruments=(TCS, INFY))
        world.minute(0, 100)
        world.pass_to(1)
        await until_kept(stores, lambda seat: seat["strategy"]["told"] == ["TCS 0"])
        kept = await checkpoint(stores)
        world.minute(1, 100)
        world.minute(1, 200, instrument=INFY)
        world.pass_to(2)
        before = await until_kept(stores, lambda seat: len(seat["strategy"]["told"]) == 3)
    await stores.strategies.save_checkpoint(kept)

    async with DeskWorld(stores, recorded=True).running() as world:
        world.pass_to(2)
        await world.until_state(StrategyState.RUNNING)
        after = await until_kept(stores, lambda seat: len(seat["strategy"]["told"]) == 3)

    assert sorted(after["strategy"]["told"]) == sorted(before["strategy"]["told"])


async def test_an_order_of_its_very_first_candle_is_taken_up_again(stores: Stores) -> None:
    async with DeskWorld(stores, recorded=True).running() as world:
        await started(world, "rests")
        await until_kept(stores, lambda seat: True)
        kept = await checkpoint(stores)
        await play(world, 0, 1)
        first = await keys(world)
    await stores.strategies.save_checkpoint(kept)

    async with DeskWorld(stores, recorded=True).running() as world:
        world.pass_to(1)
        await world.until_state(StrategyState.RUNNING)
        seat = await until_kept(stores, lambda seat: seat["strategy"]["key"])

        assert [seat["strategy"]["key"]] == first == await keys(world)


async def test_a_candle_that_closes_while_it_starts_is_told_once(
    stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = DeskWorld(stores, recorded=True, instruments=(TCS,))
    fills = stores.orders.fills

    async def meanwhile(**when: Any) -> Any:
        if not world.seen["candle"]:
            world.minute(0, 100)
            world.pass_to(1)
            await until(lambda: world.seen["candle"])
        return await fills(**when)

    async with world.running():
        await world.until_fed()
        monkeypatch.setattr(stores.orders, "fills", meanwhile)
        await started(world, "notes")
        await play(world, 1, 2)
        seat = await until_kept(stores, lambda seat: "TCS 1" in seat["strategy"]["told"])

    assert seat["strategy"]["told"] == ["past TCS 0", "TCS 1"]


async def test_past_candles_are_not_told_as_new_ones_in_its_next_life(stores: Stores) -> None:
    price = Decimal(100)
    candle = Candle(TCS, OPEN, price, price, price, price, 1)
    await stores.candles.save([ClosedCandle(TCS, 1, OPEN, candle)])
    async with DeskWorld(stores, recorded=True).running() as world:
        world.pass_to(1)
        await started(world, "notes")
        await until_kept(stores, lambda seat: seat["strategy"]["told"] == ["past TCS 0"])

    async with DeskWorld(stores, recorded=True).running() as world:
        await world.until_state(StrategyState.RUNNING)
        await world.until_fed()
        await play(world, 0, 2)
        seat = await until_kept(stores, lambda seat: "TCS 1" in seat["strategy"]["told"])

    assert seat["strategy"]["told"] == ["past TCS 0", "TCS 1"]
