"""Strategies on a desk: started and stopped, alone with their faults, and going on where they were."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from pulse_background.market.live_venue import CLIENT
from pulse_domain.errors import RiskRejected, StorageUnavailable
from pulse_domain.orders.model import OrderRequest, Side, Source
from pulse_domain.orders.status import OrderState
from pulse_domain.ports.notifier import NotificationKind, Severity
from pulse_domain.ports.strategy_store import StrategyMode, StrategyState
from pulse_domain.use_cases.accept import AcceptCommand
from tests.unit.market_desk.desk_world import INFY, OPEN, TCS, Blocks, DeskWorld, Raises, Stores, until


async def play(world: DeskWorld, first: int, last: int, strategy_candles: str = "it") -> None:
    """Minutes from the first up to but without the last, all closed and worked on."""
    closed = len([each for each in world.seen["candle"] if each.candle and each.minutes == 1])
    for number in range(first, last):
        world.minute(number, 100 + number, 101 + number)
    world.pass_to(last)
    await until(
        lambda: (
            len([each for each in world.seen["candle"] if each.candle and each.minutes == 1])
            == closed + last - first
        )
    )
    await world.desk.runner.settled(
        [each for each in world.seen["candle"] if each.candle and each.minutes == 1][-1:], None
    )


async def started(world: DeskWorld, kind: str = "scripted", **more: Any) -> None:
    await world.want(kind, **more)
    await world.until_state(StrategyState.RUNNING, more.get("name", "it"))
    await world.until_fed()


async def memory(stores: Stores, name: str = "it") -> dict[str, Any]:
    kept = await stores.strategies.checkpoint(name, 1)
    assert kept is not None
    return dict(kept.state["seat"])


async def until_kept(
    stores: Stores, holds: Callable[[dict[str, Any]], object], name: str = "it", version: int = 1
) -> dict[str, Any]:
    async with asyncio.timeout(30):
        while True:
            kept = await stores.strategies.checkpoint(name, version)
            if kept is not None and holds(dict(kept.state["seat"])):
                return dict(kept.state["seat"])
            await asyncio.sleep(0.01)


async def keys(world: DeskWorld) -> list[str]:
    return [view.order.order_unique_key for view in await world.orders()]


# --- what is wanted


async def test_a_strategy_that_is_not_wanted_any_more_stops(replayed: DeskWorld) -> None:
    await started(replayed)
    await play(replayed, 0, 1)

    await replayed.stores.strategies.want("it", StrategyState.STOPPED, "asha")
    await replayed.until_state(StrategyState.STOPPED)
    replayed.minute(1, 102)
    replayed.minute(2, 103)
    replayed.pass_to(3)
    await asyncio.sleep(0.1)

    assert len(await replayed.orders()) == 1


async def test_another_version_begins_a_life_of_its_own(replayed: DeskWorld) -> None:
    await started(replayed)
    await play(replayed, 0, 1)
    await replayed.stores.strategies.want("it", StrategyState.STOPPED, "asha")
    await replayed.until_state(StrategyState.STOPPED)
    await replayed.want("scripted", instruments=(TCS, INFY))

    row = await replayed.until_state(StrategyState.RUNNING)
    await play(replayed, 1, 2)

    assert row.plan.version == 2
    assert [key.split(".")[1] for key in await keys(replayed)] == ["1", "2"]
    # What the first life has bought is held, so the second sells it.
    assert [view.order.request.side for view in await replayed.orders()] == [Side.BUY, Side.SELL]


async def test_a_kind_that_there_is_not_has_failed_and_says_so(replayed: DeskWorld) -> None:
    await replayed.want("nonsense")

    row = await replayed.until_state(StrategyState.FAILED)

    assert "there is no kind 'nonsense'" in (row.detail or "")


async def test_each_counts_with_its_own_capital_or_with_that_of_all(stores: Stores) -> None:
    given = {"live": Decimal(500_000), "paper": Decimal("750000.50"), "as-all": None}
    async with DeskWorld(stores, recorded=True, capital=Decimal(90_000)).running() as world:
        for name, capital in given.items():
            mode = StrategyMode.PAPER if name == "paper" else StrategyMode.LIVE
            await started(world, "counts", name=name, mode=mode, capital=capital)
        await play(world, 0, 1)
        seats = {name: await until_kept(stores, lambda seat: True, name) for name in given}
        await stores.strategies.want("live", StrategyState.STOPPED, "asha")
        await world.until_state(StrategyState.STOPPED, "live")
        await started(world, "counts", name="live", capital=Decimal(600_000))
        await play(world, 1, 2)
        changed = await until_kept(stores, lambda seat: True, "live", version=2)

    began = {name: Decimal(seat["strategy"]["began_with"]) for name, seat in seats.items()}
    assert began == {"live": Decimal(500_000), "paper": Decimal("750000.50"), "as-all": Decimal(90_000)}
    assert Decimal(changed["strategy"]["began_with"]) == Decimal(600_000)


# --- alone with its faults


async def test_one_that_raises_fails_alone_and_can_be_tried_again(
    replayed: DeskWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    await started(replayed, "raises")
    await started(replayed, name="other")
    await play(replayed, 0, 3)

    row = await replayed.until_state(StrategyState.FAILED)

    assert row.detail is not None
    assert row.detail.startswith("at 2026-01-20T09:17:00+05:30: ")
    assert "ValueError: the second candle is too much" in row.detail
    assert [view.order.request.strategy_tag for view in await replayed.orders()].count("other") == 3
    told = [each for each in replayed.notifier.told if each.kind is NotificationKind.STRATEGY]
    assert [each.about for each in told if each.severity is Severity.HIGH] == ["it"]

    monkeypatch.setattr(Raises, "too_much", 99)
    await replayed.stores.strategies.want("it", StrategyState.RUNNING, "asha")
    await replayed.until_state(StrategyState.RUNNING)
    after = await until_kept(replayed.stores, lambda seat: len(seat["strategy"]["closes"]) == 3)
    assert after["strategy"]["closes"] == ["101", "102", "103"], (
        "from its checkpoint on, what it missed included"
    )


async def test_one_that_exits_ends_nothing_but_itself(replayed: DeskWorld) -> None:
    await replayed.want("exits")
    row = await replayed.until_state(StrategyState.FAILED)

    assert "SystemExit: 3" in (row.detail or "")
    await started(replayed, name="other")


async def test_one_that_is_slow_holds_up_neither_prices_nor_others(stores: Stores) -> None:
    Blocks.may_go_on.clear()
    async with DeskWorld(stores, recorded=False).running() as world:
        await started(world, "blocks")
        await started(world, "by_tick", name="other")
        await ticks_of_now(world)

        assert signals_of(world, "it") == [], "it is still at its first tick"
        Blocks.may_go_on.set()
        await until(lambda: len(signals_of(world, "it")) == 2)


async def test_one_that_computes_has_a_process_and_holds_up_nobody(stores: Stores, tmp_path: Path) -> None:
    file, may_go_on = tmp_path / "own.py", tmp_path / "go-on"
    file.write_text(
        "from pathlib import Path\n"
        "from pulse_domain.strategy import Strategy\n"
        "class Computes(Strategy):\n"
        "    def on_tick(self, tick):\n"
        f"        while not Path({str(may_go_on)!r}).exists():\n"
        "            pass\n"
        "        self.buy(tick.instrument, 1)\n"
    )
    async with DeskWorld(stores, recorded=False).running() as world:
        await started(world, f"{file}:Computes")
        await started(world, "by_tick", name="other")
        await ticks_of_now(world)

        assert signals_of(world, "it") == []
        may_go_on.touch()
        await until(lambda: len(signals_of(world, "it")) == 2)


async def ticks_of_now(world: DeskWorld) -> None:
    """One of now, and the other strategy has ordered by it; then another, which the desk has seen."""
    world.tick_at(world.clock.now(), 100)
    await until(lambda: signals_of(world, "other"))
    world.tick_at(world.clock.now(), 101)
    await until(lambda: world.latest[TCS].price == 101)


def signals_of(world: DeskWorld, name: str) -> list[Any]:
    return [each for each in world.seen["signal"] if each.strategy_tag == name]


async def test_one_that_does_not_return_has_failed(stores: Stores) -> None:
    async with DeskWorld(stores, recorded=True, call_timeout_s=0.2).running() as world:
        await started(world, "hangs")
        world.minute(0, 100)
        world.pass_to(1)

        row = await world.until_state(StrategyState.FAILED)

    assert row.detail == "it did not return within 0.2 s"


# --- orders


async def test_a_refusal_of_the_risk_gate_is_told_with_its_rule(stores: Stores) -> None:
    class Gate:
        limits = None

        async def check(self, request: OrderRequest, sends: object) -> None:
            raise RiskRejected("too large", reasons=[{"rule": "ORDER_QUANTITY", "reason": "too large"}])

        async def note(self, refused: object, error: RiskRejected) -> None:
            pass

    async with DeskWorld(stores, recorded=True, risk=Gate()).running() as world:
        await started(world)
        await play(world, 0, 1)
        await until(lambda: world.seen["order_update"])

    [update] = world.seen["order_update"]
    assert (update.state, update.done, update.reason_code) == (OrderState.REJECTED, True, "ORDER_QUANTITY")
    assert await world.orders() == []


async def test_an_order_waits_for_a_store_that_is_away(
    replayed: DeskWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    await started(replayed)
    real: Callable[..., Awaitable[Any]] = replayed.stores.orders.accept
    failures = iter([True, True])

    async def away(*args: Any) -> Any:
        if next(failures, False):
            raise StorageUnavailable
        return await real(*args)

    monkeypatch.setattr(replayed.stores.orders, "accept", away)
    await play(replayed, 0, 1)

    assert len(await replayed.orders()) == 1


async def test_ticks_are_told_and_what_is_ordered_by_one_is_filled(replayed: DeskWorld) -> None:
    await started(replayed, "by_tick")
    replayed.minute(0, 100, 101, 102)
    await until(lambda: replayed.seen["order_update"])

    [view] = await replayed.orders()
    assert (view.summary.state, view.summary.average_price) == (OrderState.FILLED, Decimal("100.0000"))
    assert ".t.NSE:TCS.1" in view.order.order_unique_key


# --- across crashes


async def test_after_a_crash_it_goes_on_where_it_was(stores: Stores) -> None:
    async with DeskWorld(stores, recorded=True).running() as world:
        await started(world)
        await play(world, 0, 3)
        before = await until_kept(stores, lambda seat: len(seat["strategy"]["closes"]) == 3)
        first = await keys(world)
    async with DeskWorld(stores, recorded=True).running() as world:
        await world.until_state(StrategyState.RUNNING)
        await world.until_fed()
        # The recording begins anew: what is known is passed over.
        await play(world, 0, 5)
        await until_kept(stores, lambda seat: len(seat["strategy"]["closes"]) == 5)
        after = await memory(stores)

    assert before["strategy"]["closes"] == after["strategy"]["closes"][:3]
    assert after["strategy"]["closes"] == ["101", "102", "103", "104", "105"]
    assert (await keys(world))[:3] == first
    assert len(await keys(world)) == 5
    assert len(set(after["strategy"]["told"])) == len(after["strategy"]["told"]) == 5, "each fill was told once"


async def test_an_order_that_was_accepted_and_then_forgotten_is_not_doubled(stores: Stores) -> None:
    async with DeskWorld(stores, recorded=True).running() as world:
        await started(world)
        await play(world, 0, 1)
        checkpoint = await stores.strategies.checkpoint("it", 1)
        await until_kept(stores, lambda seat: len(seat["strategy"]["closes"]) == 1)
        checkpoint = await stores.strategies.checkpoint("it", 1)
        await play(world, 1, 2)
        await until_kept(stores, lambda seat: len(seat["strategy"]["closes"]) == 2)
        first = await keys(world)
    assert checkpoint is not None
    await stores.strategies.save_checkpoint(checkpoint)  # as if the later one had been lost

    async with DeskWorld(stores, recorded=True).running() as world:
        world.pass_to(3)
        await world.until_state(StrategyState.RUNNING)
        after = await until_kept(stores, lambda seat: len(seat["strategy"]["closes"]) == 2)

    assert await keys(world) == first, "the same event gives the same key"
    assert after["strategy"]["closes"] == ["101", "102"]


async def test_for_a_candle_that_closed_long_ago_nothing_is_sent(stores: Stores) -> None:
    async with DeskWorld(stores, recorded=True).running() as world:
        await started(world)
        await play(world, 0, 1)
        await until_kept(stores, lambda seat: len(seat["strategy"]["closes"]) == 1)
    async with DeskWorld(stores, recorded=True, instruments=(TCS,)).running() as world:
        await stores.strategies.want("it", StrategyState.STOPPED, "asha")
        await world.until_state(StrategyState.STOPPED)
        await world.until_fed()
        world.minute(1, 105)  # closes while it does not run
        world.pass_to(2)
        await until(lambda: [each for each in world.seen["candle"] if each.candle])
        await stores.strategies.want("it", StrategyState.RUNNING, "asha")
        await world.until_state(StrategyState.RUNNING)
        # The refusal is told after the candle, and kept after that.
        after = await until_kept(
            stores, lambda seat: bool(seat["strategy"]["told"]) and "REJECTED" in seat["strategy"]["told"][-1]
        )

    assert len(await keys(world)) == 1
    assert after["strategy"]["closes"] == ["101", "105"]
    assert after["strategy"]["told"][-1].endswith("REJECTED 0")


async def test_a_trade_of_others_under_its_tag_counts_after_a_halt(replayed: DeskWorld) -> None:
    """As when the kill switch squares it off."""
    await started(replayed)
    await play(replayed, 0, 1)
    by_hand = OrderRequest(instrument=TCS, side=Side.SELL, total_quantity=10, strategy_tag="it")
    await replayed.accept(
        AcceptCommand(client_id=CLIENT, order_unique_key="by-hand", request=by_hand, source=Source.TELEGRAM)
    )
    async with asyncio.timeout(30):
        while not all(view.summary.done for view in await replayed.orders()):  # noqa: ASYNC110  # a store
            await asyncio.sleep(0.01)
    await replayed.stores.orders.halt("asha", "a look")
    await replayed.stores.orders.resume("asha", "seen")
    changed_at = (await replayed.stores.orders.trading_state()).changed_at
    await until(lambda: replayed.desk.runner.trading_seen_at == changed_at)
    await play(replayed, 1, 2)

    assert [view.order.request.side for view in await replayed.orders()] == [Side.BUY, Side.SELL, Side.BUY]


# --- on paper


async def test_orders_on_paper_are_filled_by_ticks_and_nobody_else_hears_of_them(replayed: DeskWorld) -> None:
    await started(replayed, mode=StrategyMode.PAPER)
    for number in range(3):
        replayed.minute(number, 100 + number, 101 + number)
    replayed.minute(3, 110)
    replayed.pass_to(4)
    await until(lambda: len([each for each in replayed.seen["order_update"] if each.last_quantity]) >= 3)

    updates = replayed.seen["order_update"]
    assert await replayed.orders() == []
    assert [(each.side, each.last_quantity, each.last_price) for each in updates[:3]] == [
        (Side.BUY, 10, Decimal("101.00")),
        (Side.SELL, 10, Decimal("102.00")),
        (Side.BUY, 10, Decimal("110.00")),
    ]


async def test_paper_is_part_of_what_is_remembered(stores: Stores) -> None:
    async with DeskWorld(stores, recorded=True).running() as world:
        await started(world, mode=StrategyMode.PAPER)
        world.minute(0, 100)
        world.minute(1, 101)
        world.pass_to(2)
        await until_kept(stores, lambda seat: len(seat["strategy"]["told"]) == 1)
    async with DeskWorld(stores, recorded=True).running() as world:
        await world.until_state(StrategyState.RUNNING)
        await world.until_fed()
        world.minute(2, 103)
        world.minute(3, 104)
        world.pass_to(4)
        after = await until_kept(stores, lambda seat: len(seat["strategy"]["told"]) >= 2)
        kept = await stores.strategies.checkpoint("it", 1)

    # Bought at 101 in the first life, the order to sell of its second candle met the first price of the second.
    assert [each.split()[1:] for each in after["strategy"]["told"][:2]] == [["FILLED", "10"], ["FILLED", "10"]]
    assert kept is not None
    assert kept.state["venue"]["money"][3] == 20_0000, "10 units, 2 rupees each, were earned"


async def test_paper_refuses_what_the_money_does_not_cover(stores: Stores) -> None:
    async with DeskWorld(stores, recorded=True, capital=Decimal(50)).running() as world:
        await started(world, mode=StrategyMode.PAPER)
        world.minute(0, 100)
        world.minute(1, 101)
        world.pass_to(2)
        await until(lambda: world.seen["order_update"])

    update = world.seen["order_update"][0]
    assert (update.state, update.reason_code) == (OrderState.REJECTED, "INSUFFICIENT_FUNDS")


# --- in a process of its own


async def test_one_of_a_file_sits_in_a_process_and_is_the_same(stores: Stores, tmp_path: Path) -> None:
    file = tmp_path / "own.py"
    file.write_text(
        "from pulse_domain.strategy import Strategy\n"
        "class Buys(Strategy):\n"
        "    def on_candle(self, candle):\n"
        "        self.buy(candle.instrument, 7)\n"
    )
    async with DeskWorld(stores, recorded=True).running() as world:
        await started(world, f"{file}:Buys")
        await play(world, 0, 2)

    assert [view.order.request.total_quantity for view in await world.orders()] == [7, 7]
    assert [each.at for each in world.seen["signal"]] == [
        OPEN + timedelta(minutes=1),
        OPEN + timedelta(minutes=2),
    ]


async def test_a_process_that_dies_is_a_strategy_that_failed(stores: Stores, tmp_path: Path) -> None:
    file = tmp_path / "own.py"
    file.write_text(
        "import os, signal\n"
        "from pulse_domain.strategy import Strategy\n"
        "class Dies(Strategy):\n"
        "    def on_candle(self, candle):\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    async with DeskWorld(stores, recorded=True).running() as world:
        await started(world, f"{file}:Dies")
        world.minute(0, 100)
        world.pass_to(1)
        row = await world.until_state(StrategyState.FAILED)

        assert row.detail == "its process was ended by SIGKILL"
        await started(world, name="other")
