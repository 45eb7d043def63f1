"""Holes that are filled from what the broker tells afterwards."""

import asyncio
from datetime import timedelta
from decimal import Decimal

from msgspec.structs import replace

from pulse_adapters.clock import SystemClock
from pulse_domain.matching import Tick
from pulse_domain.units import INDIA
from tests.integration.feeds.faulty import KiteFace, NeoFace
from tests.integration.feeds.making import (
    INFY,
    KITE_TOKENS,
    QUICK,
    always_open,
)
from tests.integration.feeds.rig import rig, tick, until
from tests.integration.simulator.process import KiteProcess


async def test_a_hole_is_filled_from_the_brokers_candles(kite: KiteProcess) -> None:
    day = SystemClock().now().astimezone(INDIA) - timedelta(days=1)
    while day.weekday() > 4:
        day -= timedelta(days=1)
    since = day.replace(hour=10, minute=30, second=20, microsecond=0)
    ends = since + timedelta(minutes=10)
    async with rig(
        KiteFace(), hours_at=always_open, feed=replace(QUICK, silence_s=20), history_url=kite.url,
        token=kite.access_token(),
    ) as it:  # fmt: skip
        await it.connected()
        await it.send(Tick(INFY, since, Decimal(1500)))
        await it.server.drop()
        await it.connected(2)
        await it.send(Tick(INFY, ends, Decimal(1500)))
        # The minute in which prices came again is over long ago, so it comes at once too.
        await until(lambda: len(it.kept.candles) == 11)
        figures = it.feed.figures()

    first = since.replace(second=0)
    assert [told.start for told in it.kept.candles] == [first + timedelta(minutes=n) for n in range(11)]
    client = kite.client_of(kite.access_token())
    theirs = client.historical_data(
        KITE_TOKENS[INFY], first.replace(tzinfo=None), ends.replace(tzinfo=None), "minute"
    )
    assert [
        (told.candle.open, told.candle.high, told.candle.low, told.candle.close, told.candle.volume)
        for told in it.kept.candles
        if told.candle is not None
    ] == [
        (*(Decimal(str(row[name])) for name in ("open", "high", "low", "close")), row["volume"])
        for row in theirs
    ]
    assert (figures.backfilled, figures.unfilled) == (11, 0)


async def test_a_history_that_fails_is_counted_and_prices_go_on() -> None:
    async with rig(KiteFace(), hours_at=always_open, feed=replace(QUICK, silence_s=60)) as it:
        # Candles are asked for at the same server, which has none.
        await it.connected()
        await it.send(Tick(INFY, SystemClock().now() - timedelta(hours=1), Decimal(1500)))
        await it.server.drop()
        await it.connected(2)
        await it.send(Tick(INFY, SystemClock().now(), Decimal(1500)))
        second = 0
        while not it.feed.figures().unfilled:
            await it.send(tick(second := second + 1))
            await asyncio.sleep(0.05)

    assert it.kept.candles == []


async def test_kotak_tells_a_hole_and_fills_none() -> None:
    async with rig(NeoFace(), hours_at=always_open, feed=replace(QUICK, silence_s=20)) as it:
        await it.connected()
        await it.send(tick(0))
        await it.server.drop()
        await it.connected(2)
        await it.send(tick(600))

    assert len(it.kept.gaps) == 1
    assert (it.feed.figures().backfilled, it.feed.figures().unfilled, it.kept.candles) == (0, 0, [])
