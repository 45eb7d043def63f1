"""Packets late, twice and from clocks that are wrong: all that comes is given, and candles are made of it."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from random import Random

import pytest
from msgspec.structs import replace

from pulse_adapters.clock import SystemClock
from pulse_adapters.feeds.recordings import FeedFile
from pulse_adapters.feeds.replay_feed import ReplayMarketFeed
from pulse_domain.candles import CandleBuilder, ClosedCandle, HoursAt, SessionHours
from pulse_domain.instruments import Instrument
from pulse_domain.matching import Candle, Tick
from tests.integration.feeds.faulty import Face
from tests.integration.feeds.making import (
    INFY,
    QUICK,
    TCS,
    always_open,
)
from tests.integration.feeds.rig import BEGIN, faces, rig, seen, tick, until

DATA = Path(__file__).parents[4] / "shared" / "data"


@faces
@pytest.mark.parametrize(
    "at",
    [
        BEGIN - timedelta(days=1),
        BEGIN + timedelta(days=1),
        datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC),
        datetime(2100, 1, 1, tzinfo=UTC),
    ],
)
async def test_a_sender_with_another_clock_is_believed(face: Callable[[], Face], at: datetime) -> None:
    async with rig(face(), hours_at=always_open, feed=replace(QUICK, silence_s=20)) as it:
        await it.connected()
        await it.send(tick(0), Tick(INFY, at, Decimal(1501)), tick(1))

    assert [tick.at for tick in it.kept.taken] == [tick(0).at, at, tick(1).at]


@faces
async def test_a_packet_without_a_time_has_that_of_its_arrival(face: Callable[[], Face]) -> None:
    before = SystemClock().now()
    async with rig(face()) as it:
        await it.connected()
        await it.send(Tick(INFY, datetime(1970, 1, 1, tzinfo=UTC), Decimal(1500)))

    assert before <= it.kept.taken[0].at <= SystemClock().now()


def made_up(seed: int) -> list[Tick]:
    """What a live feed does: packets late by seconds or minutes, twice, and from clocks that are wrong."""
    dice = Random(seed)
    totals = {INFY: 0, TCS: 0}
    ticks: list[Tick] = []
    for step in range(1200):
        instrument = dice.choice((INFY, TCS))
        totals[instrument] += dice.randrange(50)
        ticks.append(tick(step, dice.randrange(1400, 1600), instrument, totals[instrument]))
    for _ in range(250):
        place = dice.randrange(len(ticks))
        match dice.randrange(5):
            case 0:
                ticks.insert(place, ticks[dice.randrange(place + 1)])  # twice, much later
            case 1 | 2:
                later = min(len(ticks) - 1, place + dice.randrange(1, 30))
                ticks.insert(later, ticks.pop(place))  # late
            case 3:
                moved = ticks[place]
                skew = timedelta(seconds=dice.choice((-86_400, -400, 45, 3_600)))
                ticks[place] = Tick(moved.instrument, moved.at + skew, moved.price, volume=moved.volume)
            case 4:
                back = ticks[place]
                volume = max(0, back.volume - dice.randrange(500))
                ticks[place] = Tick(back.instrument, back.at, back.price, volume=volume)
    return ticks


def built(ticks: list[Tick], hours_at: HoursAt) -> tuple[list[ClosedCandle], list[Tick], CandleBuilder]:
    """One after the other, as they come; and those that were taken."""
    builder = CandleBuilder(hours_at, timeframes=(1,))
    told: list[ClosedCandle] = []
    taken: list[Tick] = []
    refused = 0
    for each in ticks:
        told += builder.on_tick(each)
        if (now := builder.late + builder.outside + builder.ahead) == refused:
            taken.append(each)
        refused = now
    told += builder.on_time(max(each.at for each in ticks) + timedelta(days=2))
    return told, taken, builder


def batch(ticks: list[Tick]) -> dict[tuple[Instrument, datetime], Candle]:
    """All at once, from what was taken."""
    minutes: dict[tuple[Instrument, datetime], list[Tick]] = {}
    for each in ticks:
        start = each.at.replace(second=0, microsecond=0)
        minutes.setdefault((each.instrument, start), []).append(each)
    candles: dict[tuple[Instrument, datetime], Candle] = {}
    highest: dict[tuple[Instrument, object], int] = {}
    for (instrument, start), own in sorted(minutes.items()):
        in_time = sorted(own, key=lambda each: each.at)  # of equal instants the one that came first is first
        day = (instrument, start.date())
        before, total = highest.get(day, 0), max(each.volume for each in own)
        highest[day] = max(before, total)
        candles[instrument, start] = Candle(
            instrument, start, in_time[0].price, max(each.price for each in own),
            min(each.price for each in own), in_time[-1].price, max(0, total - before),
        )  # fmt: skip
    return candles


def session_of(instrument: Instrument, at: datetime) -> SessionHours | None:
    day = at.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    hours = SessionHours(day + timedelta(hours=4), day + timedelta(hours=12))
    return hours if hours.opens <= at < hours.closes else None


def assert_candles_of(ticks: list[Tick]) -> CandleBuilder:
    told, taken, builder = built(ticks, session_of)
    candles = {(each.instrument, each.start): each.candle for each in told if each.candle is not None}
    assert candles == batch(taken)
    return builder


@faces
@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_candles_of_packets_in_any_order_are_those_of_all_that_were_taken(
    face: Callable[[], Face], seed: int
) -> None:
    ticks = made_up(seed)
    async with rig(face()) as it:
        await it.connected()
        for at in range(0, len(ticks), 60):
            await it.server.send(*ticks[at : at + 60])
        await until(lambda: len(it.kept.taken) == len(ticks))
        figures = it.feed.figures()

    assert seen(it.kept.taken) == seen(ticks)  # in their order, and as often as they were sent
    assert (figures.ticks, figures.bad, figures.unknown) == (len(ticks), 0, 0)
    builder = assert_candles_of(it.kept.taken)
    assert builder.late > 0
    assert builder.outside + builder.ahead > 0


@pytest.mark.skipif(not DATA.is_dir(), reason="no real files in ../shared/data")
@faces
async def test_a_recorded_hour_of_a_live_feed_over_the_wire(face: Callable[[], Face]) -> None:
    path = next(DATA.glob("nse-ticks/*TRENT*.csv.gz"))
    rows = ReplayMarketFeed(SystemClock(), {}, FeedFile(path))
    names = {Instrument.parse("NFO:MCX"): INFY, Instrument.parse("NFO:TRENT"): TCS}
    rows.subscribe(names)
    # The wires tell whole seconds.
    ticks = [
        Tick(names[row.instrument], row.at.replace(microsecond=0).astimezone(UTC), row.price, volume=row.volume)
        for row in rows.ticks()
    ]
    async with rig(face()) as it:
        await it.connected()
        for at in range(0, len(ticks), 100):
            await it.server.send(*ticks[at : at + 100])
        await until(lambda: len(it.kept.taken) == len(ticks))

    assert seen(it.kept.taken) == seen(ticks)
    assert_candles_of(it.kept.taken)
