"""Servers and wires that say nothing any more, over real sockets."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from pulse_adapters.clock import SystemClock
from pulse_adapters.real_broker.market_stream import LiveFeed, LiveFeedSettings
from pulse_domain.ports.market_feed import FeedGap
from pulse_domain.testing.memory_feed import KeptFeed
from tests.integration.feeds.faulty import Face, KiteFace, price_server, proxy_to
from tests.integration.feeds.making import (
    INFY,
    KITE_TOKENS,
    QUICK,
    TCS,
    UNLISTED,
    always_open,
    kotak_feed,
    zerodha_feed,
)
from tests.integration.feeds.rig import Rig, SpedUp, faces, rig, running, tick, until
from tests.integration.simulator.neo import KotakProcess
from tests.integration.simulator.process import KiteProcess


@faces
async def test_a_server_that_goes_silent_is_left_and_the_hole_is_told(face: Callable[[], Face]) -> None:
    async with rig(face(), hours_at=always_open) as it:
        await it.connected()
        await it.send(tick(0), tick(1, instrument=TCS))
        # Heartbeats go on, the socket stays open, and no price comes.
        await it.connected(2)
        await it.send(tick(9), tick(9, instrument=TCS))

        figures = it.feed.figures()

    assert it.kept.gaps == [
        FeedGap(instruments=(INFY,), since=tick(0).at, until=tick(9).at, reason="silent"),
        FeedGap(instruments=(TCS,), since=tick(1).at, until=tick(9).at, reason="silent"),
    ]
    assert figures.silences >= 1
    assert (figures.ticks, figures.gaps, figures.bad, figures.unknown) == (4, 2, 0, 0)


@faces
async def test_prices_keep_a_connection_alive(face: Callable[[], Face]) -> None:
    async with rig(face(), hours_at=always_open, feed=replace(QUICK, silence_s=3)) as it:
        await it.connected()
        clock, second = SystemClock(), 0
        ends = clock.monotonic() + 4
        while clock.monotonic() < ends:
            await it.send(tick(second := second + 1))
            await asyncio.sleep(0.02)
        assert (it.feed.figures().silences, it.kept.gaps) == (0, [])


@faces
async def test_nothing_is_expected_of_a_closed_market(face: Callable[[], Face]) -> None:
    clock = SpedUp()
    async with rig(face(), feed=LiveFeedSettings(), clock=clock) as it:
        await it.connected()
        await clock.passed(60)
        assert (it.feed.figures().silences, it.feed.figures().connects) == (0, 1)


async def test_nothing_is_expected_of_what_the_broker_does_not_list() -> None:
    clock = SpedUp()
    async with rig(KiteFace(), hours_at=always_open, feed=LiveFeedSettings(silence_s=60), clock=clock) as it:
        await it.connected()
        it.feed.subscribe([UNLISTED])
        await until(lambda: it.feed.unlisted == {UNLISTED})
        silences = it.feed.figures().silences
        await clock.passed(180)
        assert it.feed.figures().silences == silences


# --- a peer that vanishes


@pytest.mark.parametrize("broker", ["zerodha", "kotak"])
async def test_a_half_open_connection_is_noticed_by_its_silence(
    kite: KiteProcess, kotak: KotakProcess, broker: str
) -> None:
    process: Any = kite if broker == "zerodha" else kotak
    settings = replace(QUICK, silence_s=1.5)
    feed: LiveFeed[Any]
    prices = iter(range(1500, 100_000))

    async def move() -> None:
        for instrument in (INFY, TCS):
            await asyncio.to_thread(process.pin, str(instrument), str(next(prices)))

    async with proxy_to(process.url) as proxy:
        ws = proxy.url.replace("http", "ws", 1)
        if broker == "zerodha":
            feed = await zerodha_feed(process.url, process.access_token(), ticker_url=ws, feed=settings)
        else:
            session = process.session()
            feed = await kotak_feed(
                process.url, token=session["Auth"], sid=session["Sid"], ucc="SIM01", feed=settings,
                market_url=f"{ws}/apifeed",
            )  # fmt: skip
        kept = KeptFeed()
        feed.subscribe([INFY, TCS])
        async with running(feed, kept):
            await until(lambda: kept.taken)
            proxy.freeze()
            frozen_at = len(kept.taken)
            while not kept.gaps:
                await move()
            figures = feed.figures()

    assert figures.silences >= 1
    assert figures.connects >= 2
    assert {gap.reason for gap in kept.gaps} == {"silent"}
    assert len(kept.taken) > frozen_at


async def test_a_server_that_never_answers_a_connection_is_given_up() -> None:
    async with price_server(KiteFace()) as server:
        server.next += ["deaf"] * 3
        feed = await zerodha_feed(server.url, "token", feed=replace(QUICK, connect_timeout_s=0.2))
        feed.subscribe([INFY, TCS])
        it = Rig(server, feed, KITE_TOKENS)
        async with running(feed, it.kept):
            await it.connected()
            await it.send(tick(0))

    assert server.attempts >= 4


async def test_a_broker_that_is_killed_and_comes_back_is_found_again(tmp_path: Path) -> None:
    process = KiteProcess(tmp_path).start()
    try:
        feed = await zerodha_feed(process.url, process.access_token(), feed=QUICK)
        feed.subscribe([INFY])
        kept = KeptFeed()
        async with running(feed, kept):
            await until(lambda: kept.taken)
            await asyncio.to_thread(process.kill)
            await until(lambda: not feed.figures().connected)
            taken = len(kept.taken)
            await asyncio.to_thread(process.start)
            await until(lambda: len(kept.taken) > taken and kept.gaps)
    finally:
        process.stop()

    assert kept.gaps[0].reason in ("lost", "silent")
