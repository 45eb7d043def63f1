"""Connections that end or do not begin, and sessions that do."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest
import structlog
from msgspec.structs import replace

from pulse_adapters.clock import SystemClock
from pulse_domain.candles import SessionHours
from pulse_domain.instruments import Instrument
from pulse_domain.ports.market_feed import FeedGap
from pulse_domain.testing.memory_feed import KeptFeed
from pulse_domain.testing.memory_sessions import InMemorySessions
from tests.integration.feeds.faulty import Face, KiteFace, NeoFace, price_server
from tests.integration.feeds.making import (
    INFY,
    KITE_TOKENS,
    QUICK,
    TCS,
    always_open,
    kotak_feed,
    log_in,
    never_open,
    zerodha_feed,
    zerodha_sessions,
)
from tests.integration.feeds.rig import Rig, SpedUp, faces, rig, running, tick, until


@faces
async def test_a_lost_connection_is_taken_up_again_with_all_that_was_subscribed_to(
    face: Callable[[], Face],
) -> None:
    async with rig(face(), hours_at=always_open, feed=replace(QUICK, silence_s=20)) as it:
        await it.connected()
        await it.send(tick(0), tick(0, instrument=TCS))
        await it.server.drop()
        await it.connected(2)
        await it.send(tick(2), tick(2, instrument=TCS))
        it.server.cut()
        await it.connected(3)
        await it.send(tick(3))

    # Short as they are: nobody knows what was missed.
    assert it.kept.gaps == [
        FeedGap(instruments=(INFY, TCS), since=tick(0).at, until=tick(2).at, reason="lost"),
        FeedGap(instruments=(INFY,), since=tick(2).at, until=tick(3).at, reason="lost"),
    ]
    assert it.feed.figures().connects == 3
    assert it.feed.figures().silences == 0


async def test_a_connection_lost_in_the_night_leaves_no_hole() -> None:
    async with rig(KiteFace()) as it:
        await it.connected()
        await it.send(tick(0))
        await it.server.drop()
        await it.connected(2)
        await it.send(tick(50_000))

    assert it.kept.gaps == []


async def test_a_connection_that_is_back_before_the_market_opens_leaves_no_hole() -> None:
    clock, opens = SystemClock(), list[datetime]()

    def hours_at(instrument: Instrument, at: datetime) -> SessionHours | None:
        return always_open(instrument, at) if opens and at >= opens[0] else None

    async with rig(KiteFace(), hours_at=hours_at, feed=replace(QUICK, silence_s=20)) as it:
        await it.connected()
        await it.send(tick(0))
        await it.server.drop()
        await it.connected(2)
        await until(lambda: it.feed.figures().connected)
        opens.append(clock.now())
        await it.send(tick(50_000))

    assert it.kept.gaps == []


@pytest.mark.parametrize("fate", ["close", 500, 429])
async def test_a_storm_of_reconnections_is_held_back(fate: int | str) -> None:
    clock = SpedUp()
    with structlog.testing.capture_logs() as logs:
        async with price_server(KiteFace()) as server:
            server.next += [fate] * 8
            feed = await zerodha_feed(server.url, "token", clock=clock, hours_at=never_open)
            feed.subscribe([INFY, TCS])
            it = Rig(server, feed, KITE_TOKENS)
            async with running(feed, it.kept):
                await it.connected()
                await it.send(tick(0))
            attempts = server.attempts

    waits = [line["wait_s"] for line in logs if line["event"] == "the market feed is not connected"]
    assert attempts == 9  # no busy loop
    assert len(waits) == 8
    for wait_s, most_s in zip(waits, [1, 2, 4, 8, 8, 8, 8, 8], strict=True):
        assert most_s / 2 <= wait_s <= most_s
    assert len(set(waits)) > 4  # not all alike


async def test_after_a_while_of_prices_the_waits_are_short_again() -> None:
    clock = SpedUp()
    with structlog.testing.capture_logs() as logs:
        async with price_server(KiteFace()) as server:
            server.next += [503] * 5
            feed = await zerodha_feed(server.url, "token", clock=clock, hours_at=never_open)
            feed.subscribe([INFY, TCS])
            it = Rig(server, feed, KITE_TOKENS)
            async with running(feed, it.kept):
                await it.connected()
                began = clock.monotonic()
                await it.send(tick(0))
                await until(lambda: clock.monotonic() - began > 31)
                await server.drop()
                await it.connected(2)

    waits = [line["wait_s"] for line in logs if line["event"] == "the market feed is not connected"]
    assert waits[4] >= 4
    assert waits[5] <= 1


async def test_a_refused_session_waits_for_the_next_login() -> None:
    clock = SpedUp()
    store = InMemorySessions()
    sessions = zerodha_sessions("first", clock, store)
    async with price_server(KiteFace()) as server:
        feed = await zerodha_feed(
            server.url,
            "",
            sessions=sessions,
            hours_at=always_open,
            feed=replace(QUICK, refused_wait_s=100_000, silence_s=100_000),
        )
        feed.subscribe([INFY, TCS])
        it = Rig(server, feed, KITE_TOKENS)
        with structlog.testing.capture_logs() as logs:
            async with running(feed, it.kept):
                await it.connected()
                await it.send(tick(0))
                server.next += [403] * 100
                await server.drop()
                await until(lambda: server.attempts == 2)
                await clock.passed(60)
                assert server.attempts == 2  # it is of no use to ask again
                assert not feed.figures().connected
                server.next.clear()
                await log_in(store, "second", clock)
                await it.connected(2)
                await it.send(tick(5))

    assert [query["access_token"] for query in server.queries] == ["first", "first", "second"]
    assert it.kept.gaps == [FeedGap(instruments=(INFY,), since=tick(0).at, until=tick(5).at, reason="refused")]
    assert any("pulse broker login zerodha" in line["event"] for line in logs)
    assert not any("first" in str(line) or "second" in str(line) for line in logs)


async def test_a_new_login_makes_a_new_connection() -> None:
    clock = SystemClock()
    store = InMemorySessions()
    sessions = zerodha_sessions("first", clock, store)
    async with price_server(KiteFace()) as server:
        feed = await zerodha_feed(server.url, "", sessions=sessions, hours_at=never_open, feed=QUICK)
        feed.subscribe([INFY, TCS])
        it = Rig(server, feed, KITE_TOKENS)
        async with running(feed, it.kept):
            await it.connected()
            await log_in(store, "second", clock)
            await it.connected(2)

    assert [query["access_token"] for query in server.queries] == ["first", "second"]


async def test_kotak_says_that_a_session_is_of_no_use() -> None:
    face = NeoFace()
    face.answers = [{"message_code": 1119}, {"message_code": 1120}]
    with structlog.testing.capture_logs() as logs:
        async with price_server(face) as server:
            feed = await kotak_feed(server.url, token="t", sid="planted", ucc="U", feed=QUICK)
            feed.subscribe([INFY])
            async with running(feed, KeptFeed()):
                await until(lambda: any("pulse broker login kotak" in line["event"] for line in logs))
                assert not feed.figures().connected

    assert face.greetings[0]["auth"] == "planted"
    assert (face.greetings[0]["user"], face.greetings[0]["format"]) == ("U", "native_batch")
    assert "planted" not in str(logs)


@pytest.mark.parametrize(
    "answers",
    [
        [{"message_code": 1119}],
        [{"message_code": 1117}],
        [{"message_code": 1119}, {"message_code": 1, "text": "maintenance tonight"}, {"message_code": 1117}],
    ],
)
async def test_kotak_may_welcome_in_one_word_or_two(answers: list[dict[str, Any]]) -> None:
    face = NeoFace()
    face.answers = answers
    async with rig(face) as it:
        await it.connected()
        await it.send(tick(0))


async def test_a_kotak_session_of_an_older_release_needs_a_login() -> None:
    feed = await kotak_feed("http://127.0.0.1:1", token="t", sid="s", ucc="", market_url="", feed=QUICK)
    feed.subscribe([INFY])
    with structlog.testing.capture_logs() as logs:
        async with running(feed, KeptFeed()):
            await until(lambda: any("pulse broker login kotak" in line["event"] for line in logs))
