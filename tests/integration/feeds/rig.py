"""A live feed between a server that does what a test wants and a sink that keeps everything."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from pulse_adapters.clock import SystemClock
from pulse_adapters.feeds.replay_clock import ReplayClock
from pulse_adapters.real_broker.market_stream import LiveFeed, LiveFeedSettings
from pulse_domain.candles import HoursAt
from pulse_domain.instruments import Instrument
from pulse_domain.matching import Tick
from pulse_domain.ports.clock import Clock
from pulse_domain.testing.memory_feed import KeptFeed
from tests.integration.feeds.faulty import Face, KiteFace, NeoFace, PriceServer, price_server
from tests.integration.feeds.making import (
    INFY,
    KITE_TOKENS,
    NEO_TOKENS,
    QUICK,
    TCS,
    kotak_feed,
    never_open,
    zerodha_feed,
)

LIMIT_S = 30.0
BEGIN = datetime(2026, 1, 20, 4, 30, tzinfo=UTC)


async def until(holds: Callable[[], object]) -> None:
    async with asyncio.timeout(LIMIT_S):
        while True:
            if holds():
                return
            await asyncio.sleep(0.005)


def tick(second: float, price: int = 1500, instrument: Instrument = INFY, volume: int = 0) -> Tick:
    return Tick(instrument, BEGIN + timedelta(seconds=second), Decimal(price), volume=volume)


def seen(ticks: list[Tick]) -> list[tuple[Instrument, datetime, Decimal, int]]:
    return [(tick.instrument, tick.at, tick.price, tick.volume) for tick in ticks]


class Rig:
    """A feed, the server that it is connected to, and what it gives."""

    def __init__(self, server: PriceServer, feed: LiveFeed[Any], tokens: dict[Instrument, str]) -> None:
        self.server = server
        self.feed = feed
        self.kept = KeptFeed()
        self.tokens = tokens

    async def connected(self, connections: int = 1) -> None:
        wanted = {self.tokens[INFY], self.tokens[TCS]}
        await until(lambda: len(self.server.subscribed) >= connections and self.server.subscribed[-1] == wanted)

    async def send(self, *ticks: Tick) -> None:
        """Send, and wait until all of them have come."""
        before = len(self.kept.taken)
        await self.server.send(*ticks)
        await until(lambda: len(self.kept.taken) == before + len(ticks))


@asynccontextmanager
async def running(feed: LiveFeed[Any], kept: KeptFeed) -> AsyncIterator[None]:
    run = asyncio.create_task(feed.run(kept))
    try:
        yield
        assert not run.done(), run
    finally:
        run.cancel()
        (ended,) = await asyncio.gather(run, return_exceptions=True)
    assert isinstance(ended, asyncio.CancelledError), ended


@asynccontextmanager
async def rig(
    face: Face,
    *,
    hours_at: HoursAt = never_open,
    feed: LiveFeedSettings = QUICK,
    history_url: str | None = None,
    token: str = "token",
    clock: Clock | None = None,
    **more: Any,
) -> AsyncIterator[Rig]:
    """more: of a feed at Zerodha, as for `zerodha_feed`."""
    async with price_server(face) as server:
        made: LiveFeed[Any]
        if isinstance(face, KiteFace):
            made = await zerodha_feed(
                history_url or server.url,
                token,
                ticker_url=server.url.replace("http", "ws", 1),
                hours_at=hours_at,
                feed=feed,
                clock=clock,
                **more,
            )
            tokens = KITE_TOKENS
        else:
            made = await kotak_feed(
                history_url or server.url,
                token=token,
                sid="sid",
                ucc="UCC01",
                market_url=server.url.replace("http", "ws", 1) + "/apifeed",
                hours_at=hours_at,
                feed=feed,
                clock=clock,
            )
            tokens = NEO_TOKENS
        made.subscribe([INFY, TCS])
        it = Rig(server, made, tokens)
        async with running(made, it.kept):
            yield it


faces = pytest.mark.parametrize("face", [KiteFace, NeoFace])


class SpedUp(ReplayClock):
    """A minute in a second."""

    def __init__(self) -> None:
        clock = SystemClock()
        super().__init__(clock, clock.now(), 60)
        self.start()

    async def passed(self, seconds: float) -> None:
        until_s = self.monotonic() + seconds
        await until(lambda: self.monotonic() > until_s)
