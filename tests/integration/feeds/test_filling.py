"""Holes that are filled from what the broker tells afterwards."""

import asyncio
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from msgspec.structs import replace

from pulse_adapters.clock import SystemClock
from pulse_domain.matching import Tick
from pulse_domain.units import INDIA
from tests.integration.feeds.faulty import Face, KiteFace
from tests.integration.feeds.making import INFY, KITE_TOKENS, NEO_TOKENS, QUICK, always_open
from tests.integration.feeds.rig import faces, rig, tick, until
from tests.integration.simulator.neo import KotakProcess
from tests.integration.simulator.process import KiteProcess


def told_by_kite(kite: KiteProcess, first: datetime, last: datetime) -> list[tuple[Any, ...]]:
    client = kite.client_of(kite.access_token())
    rows = client.historical_data(
        KITE_TOKENS[INFY], first.replace(tzinfo=None), last.replace(tzinfo=None), "minute"
    )
    return [tuple(row[name] for name in ("date", "open", "high", "low", "close", "volume")) for row in rows]


def told_by_kotak(kotak: KotakProcess, first: datetime, last: datetime) -> list[tuple[Any, ...]]:
    client, day = kotak.client(), f"{first:%Y-%m-%d}"
    answer = client.historical_data(neosymbol=NEO_TOKENS[INFY], interval="1min", from_date=day, to_date=day)
    rows = [(datetime.fromisoformat(row[0]), *row[1:6]) for row in answer["data"]["candles"]]
    return [row for row in rows if first <= row[0] <= last]


@faces
async def test_a_hole_is_filled_from_the_brokers_candles(
    kite: KiteProcess, kotak: KotakProcess, face: type[Face]
) -> None:
    day = SystemClock().now().astimezone(INDIA) - timedelta(days=1)
    while day.weekday() > 4:
        day -= timedelta(days=1)
    since = day.replace(hour=10, minute=30, second=20, microsecond=0)
    ends = since + timedelta(minutes=10)
    is_kite = face is KiteFace
    async with rig(
        face(), hours_at=always_open, feed=replace(QUICK, silence_s=20),
        history_url=kite.url if is_kite else kotak.url, token=kite.access_token() if is_kite else "token",
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
    theirs = told_by_kite(kite, first, ends) if is_kite else told_by_kotak(kotak, first, ends)
    assert [
        (each.start, each.open, each.high, each.low, each.close, each.volume)
        for told in it.kept.candles
        if (each := told.candle) is not None
    ] == [(start, *(Decimal(str(price)) for price in prices), volume) for start, *prices, volume in theirs]
    assert (figures.backfilled, figures.unfilled) == (11, 0)


@faces
async def test_a_history_that_fails_is_counted_and_prices_go_on(face: type[Face]) -> None:
    async with rig(face(), hours_at=always_open, feed=replace(QUICK, silence_s=60)) as it:
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
