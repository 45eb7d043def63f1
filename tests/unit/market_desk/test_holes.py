"""Holes in the prices of now, filled by what the market tells of them afterwards."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from pulse_background.market.intake import _LOOK_S
from pulse_domain.candles import ClosedCandle
from pulse_domain.matching import Candle, Tick
from pulse_domain.ports.market_feed import FeedGap
from pulse_domain.ports.notifier import NotificationKind
from pulse_domain.ports.strategy_store import StrategyMode, StrategyState
from tests.unit.market_desk.desk_world import OPEN, TCS, DeskWorld, StandingClock, Stores, until
from tests.unit.market_desk.test_strategies import play, started, until_kept

SHORTENED = {
    "fast": 2, "slow": 3, "signal": 2, "trend": 3, "volume_length": 2, "atr_length": 2, "flat_at": "00:01",
}  # fmt: skip


def at(minute: int, second: float = 0) -> datetime:
    return OPEN + timedelta(minutes=minute, seconds=second)


def tick(minute: int, second: float) -> Tick:
    """Of a market whose price and volume follow from the instant alone."""
    seconds = 60 * minute + int(second)
    return Tick(TCS, at(minute, second), Decimal(100 + seconds * 7 % 31), volume=1000 + seconds)


def day(minutes: int) -> list[Tick]:
    return [tick(minute, second) for minute in range(minutes) for second in (5, 25, 45)]


def flat(begins: datetime, price: int) -> Candle:
    paid = Decimal(price)
    return Candle(TCS, begins, paid, paid, paid, paid, 10)


async def stored(stores: Stores, minutes: int) -> list[Candle]:
    every = stores.candles.candles(TCS, minutes, OPEN, at(600))
    return [candle async for run in every for candle in run]


class LookedAt(StandingClock):
    """Looked at often; counts the looks of the intake."""

    looks = 0

    async def sleep(self, seconds: float) -> None:
        if seconds == _LOOK_S:
            self.looks += 1
            seconds /= 50
        await super().sleep(seconds)


class Live:
    """A desk on prices of now, at a time that a test sets."""

    def __init__(self, stores: Stores) -> None:
        self.clock = LookedAt(OPEN)
        self.world = DeskWorld(stores, recorded=False, clock=self.clock)

    async def pass_to(self, when: datetime) -> None:
        """Let time go on; what closes by it is closed afterwards."""
        self.clock.at = when
        looks = self.clock.looks
        await until(lambda: self.clock.looks >= looks + 2)

    async def give(self, ticks: Sequence[Tick]) -> None:
        for each in ticks:
            if each.at.minute != self.clock.at.minute:
                await self.pass_to(each.at)
            self.clock.at = each.at
            self.world.feed.give(each)

    async def lose(self, last: Tick, back: Tick) -> None:
        """From one tick to another no prices come, and the feed knows it."""
        self.world.feed.is_lost = True
        await self.pass_to(back.at)
        self.world.feed.is_lost = False
        self.world.feed.tell_gap(FeedGap(instruments=(TCS,), since=last.at, until=back.at, reason="lost"))
        await self.give([back])

    def fill(self, candles: Sequence[Candle]) -> None:
        self.world.feed.backfill(*[ClosedCandle(TCS, 1, each.start, each) for each in candles])


async def run_macd(live: Live, minutes: int, torn: bool, history: Sequence[Candle]) -> dict[str, Any]:
    """What the strategy knows after 24 minutes; torn from 2:25 to 9:25."""
    ticks = day(24)
    async with live.world.running():
        parameters = SHORTENED | {"candle_minutes": minutes}
        await started(live.world, "macd", mode=StrategyMode.PAPER, parameters=parameters)
        if not torn:
            await live.give(ticks)
        else:
            last, back = tick(2, 25), tick(9, 25)
            await live.give([each for each in ticks if each.at <= last.at])
            await live.lose(last, back)
            live.fill([each for each in history if at(2) <= each.start < at(9)])
            await live.give([each for each in ticks if back.at < each.at < at(10)])
            await live.pass_to(at(10, 6))
            live.fill([each for each in history if each.start == at(9)])
            await live.give([each for each in ticks if each.at > at(10)])
        await live.pass_to(at(24, 2))
        # The last of 5 minutes ends at 20.
        last_of = at(24 // minutes * minutes - minutes)
        seat = await until_kept(
            live.world.stores,
            lambda seat: {datetime.fromisoformat(it) for it in seat["candles"].values()} == {last_of},
        )
    return dict(seat["strategy"])


@pytest.mark.parametrize("minutes", [1, 5])
async def test_a_running_strategy_knows_what_it_would_know_without_the_hole(
    stores: Stores, minutes: int
) -> None:
    live, whole = Live(stores), Live(Stores())
    expected = await run_macd(whole, minutes, False, ())
    history = await stored(whole.world.stores, 1)
    assert len(history) == 24

    assert await run_macd(live, minutes, True, history) == expected
    for length in (1, 5, 15):
        assert await stored(stores, length) == await stored(whole.world.stores, length), (
            "a restart sees the same"
        )


async def test_what_answers_a_minute_of_long_ago_is_not_sent(stores: Stores) -> None:
    live = Live(stores)
    history = [flat(at(minute), 200 + minute) for minute in range(6)]
    async with live.world.running():
        await started(live.world, "scripted", mode=StrategyMode.PAPER)
        await live.give(day(1))
        await live.pass_to(at(1, 2))
        await until(lambda: live.world.seen["signal"])
        await live.give([tick(1, 5)])
        await live.lose(tick(1, 5), tick(4, 25))
        live.fill(history[1:4])
        await until(lambda: len(live.world.seen["signal"]) == 2)
        await live.pass_to(at(5, 6))
        live.fill(history[4:5])
        seat = await until_kept(stores, lambda seat: len(seat["strategy"]["closes"]) == 5)
        seat = await until_kept(
            stores, lambda seat: sum("REJECTED" in told for told in seat["strategy"]["told"]) == 2
        )
        signals = [signal.at for signal in live.world.seen["signal"]]

    assert seat["strategy"]["closes"] == [str(tick(0, 45).price), "201", "202", "203", "204"]
    # When it was told of them, the second minute had ended 145 seconds ago, the third 85, and the fourth 25.
    assert signals == [at(1), at(4), at(5)]
    refused = [told.split()[0] for told in seat["strategy"]["told"] if "REJECTED" in told]
    assert [key.split(".")[2] for key in refused] == [f"{at(minute):%Y%m%dT%H%M%S}" for minute in (2, 3)]


async def test_a_minute_older_than_one_that_was_told_is_stored_only(stores: Stores) -> None:
    live = Live(stores)
    async with live.world.running():
        await started(live.world, "scripted", mode=StrategyMode.PAPER)
        await live.give(day(3))
        await live.pass_to(at(3, 2))
        await until_kept(stores, lambda seat: len(seat["strategy"]["closes"]) == 3)
        late = flat(at(1), 500)
        live.fill([late])
        await live.give([tick(3, 5)])
        await live.pass_to(at(4, 2))
        seat = await until_kept(stores, lambda seat: len(seat["strategy"]["closes"]) >= 4)

    assert seat["strategy"]["closes"] == [
        str(tick(*last).price) for last in ((0, 45), (1, 45), (2, 45), (3, 5))
    ]
    assert (await stored(stores, 1))[1] == late


async def test_a_recording_that_strategies_know_already_is_told_of_once(stores: Stores) -> None:
    async with DeskWorld(stores, recorded=True).running() as world:
        await started(world)
        await play(world, 0, 3)
        await until_kept(stores, lambda seat: len(seat["strategy"]["closes"]) == 3)
    assert not [each for each in world.notifier.told if each.kind is NotificationKind.FEED]

    async with DeskWorld(stores, recorded=True).running() as world:
        await world.until_state(StrategyState.RUNNING)
        await world.until_fed()
        await play(world, 0, 4)
        await until_kept(stores, lambda seat: len(seat["strategy"]["closes"]) == 4)

    [told] = [each for each in world.notifier.told if each.kind is NotificationKind.FEED]
    assert dict(told.parts) == {
        "the recording": "is known already, and passed over",
        "by": "it",
        "for all of it": "replay into a database of its own",
    }
