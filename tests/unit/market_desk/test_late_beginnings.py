"""A desk that begins within a session, as after a restart, and instruments that come to it later."""

from collections.abc import Sequence
from datetime import datetime

from pulse_background.market.feeds import stored_until
from pulse_domain.candles import ClosedCandle
from pulse_domain.instruments import Instrument
from pulse_domain.matching import Candle, Tick
from pulse_domain.ports.market_feed import FeedGap
from pulse_domain.testing.fake_clock import FakeClock
from tests.unit.market_desk.desk_world import INFY, OPEN, TCS, DeskWorld, Stores, until
from tests.unit.market_desk.test_holes import Live, LookedAt, at, day, stored, tick


class Begun(Live):
    """At a time of the session."""

    def __init__(self, stores: Stores, begins: datetime, *instruments: Instrument) -> None:
        self.clock = LookedAt(begins)
        self.world = DeskWorld(stores, recorded=False, clock=self.clock, instruments=instruments)

    async def fed(self) -> None:
        """Until the desk knows that prices can come."""
        await self.world.until_fed()
        await self.pass_to(self.clock.at)


async def run(stores: Stores, begins: datetime, ticks: Sequence[Tick], closed: int) -> None:
    desk = Begun(stores, begins, TCS)
    async with desk.world.running():
        await desk.fed()
        await desk.give(ticks)
        await desk.pass_to(at(closed, 2))


async def every(stores: Stores) -> list[list[Candle]]:
    return [await stored(stores, minutes) for minutes in (1, 5, 15)]


async def test_a_last_price_of_before_leaves_what_is_stored_as_it_is(stores: Stores) -> None:
    await run(stores, OPEN, day(10), 10)
    before = await every(stores)
    assert [len(candles) for candles in before] == [10, 2, 0]

    desk = Begun(stores, at(30), TCS)
    async with desk.world.running():
        await desk.fed()
        desk.world.feed.give(tick(9, 50))
        await desk.give([tick(30, 5)])
        await desk.pass_to(at(31, 2))
        figures = desk.world.desk.candle_figures()

    ones, fives, fifteens = await every(stores)
    assert (ones[:-1], fives, fifteens) == (before[0], before[1], before[2])
    assert (ones[-1].start, ones[-1].volume) == (at(30), tick(30, 5).volume - tick(9, 50).volume)
    assert figures.late == 1


async def test_a_restart_that_is_filled_leaves_the_candles_of_a_desk_without_one(stores: Stores) -> None:
    whole = Stores()
    await run(whole, OPEN, day(32), 32)
    expected = await every(whole)
    history = [ClosedCandle(TCS, 1, each.start, each) for each in expected[0]]

    await run(stores, OPEN, [each for each in day(8) if each.at < at(7, 30)], 7)
    again = Begun(stores, at(13, 30), TCS)
    assert await stored_until(stores.candles, FakeClock(at(13, 30)))([TCS, INFY]) == {TCS: at(7)}
    async with again.world.running():
        await again.fed()
        gap = FeedGap(instruments=(TCS,), since=at(7), until=at(13, 45), reason="unwatched")
        again.world.feed.tell_gap(gap)
        await again.give([tick(13, 45)])
        again.world.feed.backfill(*history[:13])
        await again.give([tick(14, 5)])
        again.world.feed.backfill(*history[13:14])
        await again.give([each for each in day(32) if each.at > at(14, 5)])
        await again.pass_to(at(32, 2))

    assert await every(stores) == expected


async def test_without_a_fill_no_candle_is_a_part_of_one(stores: Stores) -> None:
    await run(stores, OPEN, [each for each in day(8) if each.at < at(7, 30)], 7)
    await run(stores, at(13, 30), [each for each in day(32) if each.at > at(13, 30)], 32)

    assert [each.start for each in await stored(stores, 1)] == [at(it) for it in (*range(7), *range(14, 32))]
    assert [each.start for each in await stored(stores, 5)] == [at(it) for it in (0, 15, 20, 25)]
    assert [each.start for each in await stored(stores, 15)] == [at(15)]


async def test_an_instrument_that_comes_later_begins_then(stores: Stores) -> None:
    desk = Begun(stores, OPEN, TCS)
    async with desk.world.running():
        await desk.fed()
        await desk.give([*day(2), tick(2, 5)])
        await desk.pass_to(at(2, 2))
        await desk.world.want("scripted", instruments=(INFY,))
        await until(lambda: INFY in desk.world.feed.subscribed)
        await desk.give([Tick(INFY, at(2, 20), tick(2, 20).price, volume=5_000_000)])
        await desk.give([Tick(INFY, at(3, 20), tick(3, 20).price, volume=5_000_200)])
        await desk.pass_to(at(4, 2))
        told = [each for each in desk.world.seen["candle"] if each.instrument == INFY and each.minutes == 1]

    assert [(each.start, each.candle.volume) for each in told] == [(at(3), 200)]
