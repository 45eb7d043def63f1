"""What is asked for, and when: also while the store is slow or away."""

import asyncio
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

from msgspec.structs import replace

from pulse_domain.errors import StorageUnavailable
from pulse_domain.instruments import Instrument
from pulse_domain.ports.market_feed import FeedGap
from tests.integration.feeds.faulty import KiteFace
from tests.integration.feeds.making import INFY, KITE_TOKENS, QUICK, TCS, always_open
from tests.integration.feeds.rig import BEGIN, SpedUp, rig, tick, until

BOTH = {KITE_TOKENS[INFY], KITE_TOKENS[TCS]}


class Store:
    """Of the broker's numbers, and of candles."""

    def __init__(self) -> None:
        self.is_away = False
        self.answers = asyncio.Event()
        self.answers.set()
        self.asked = 0
        self.stored: dict[Instrument, datetime] = {}

    async def tokens(self, instrument: Instrument) -> str | None:
        self.asked += 1
        await self.answers.wait()
        if self.is_away:
            raise StorageUnavailable
        return KITE_TOKENS.get(instrument)

    async def stored_until(self, instruments: Iterable[Instrument]) -> Mapping[Instrument, datetime]:
        return {instrument: at for instrument, at in self.stored.items() if instrument in set(instruments)}


async def test_what_is_known_is_asked_for_at_once_however_long_the_rest_takes() -> None:
    store = Store()
    async with rig(KiteFace(), hours_at=always_open, tokens=store.tokens) as it:
        await it.connected()
        await it.send(tick(0))
        store.answers.clear()
        asked = store.asked
        await it.server.drop()
        await it.connected(2)
        await until(lambda: store.asked > asked)  # and gets no answer
        await it.send(tick(1))
        store.answers.set()
        it.feed.subscribe([INFY])
        await until(lambda: it.server.subscribed[-1] == {KITE_TOKENS[INFY]})


async def test_a_store_that_is_away_stops_no_prices() -> None:
    store = Store()
    async with rig(KiteFace(), hours_at=always_open, tokens=store.tokens) as it:
        await it.connected()
        await it.send(tick(0))
        store.is_away = True
        await it.server.drop()
        await it.connected(2)
        asked = store.asked
        await until(lambda: store.asked > asked + 3)  # again and again
        await it.send(tick(1))
        assert it.feed.figures().connected


async def test_where_nothing_is_asked_for_yet_it_is_not_silent() -> None:
    store, clock = Store(), SpedUp()
    store.is_away = True
    feed = replace(QUICK, silence_s=10.0)
    async with rig(KiteFace(), hours_at=always_open, feed=feed, clock=clock, tokens=store.tokens) as it:
        await until(lambda: it.feed.figures().connects == 1)
        await clock.passed(30)
        figures = it.feed.figures()
        store.is_away = False
        await it.connected()

    assert (figures.connects, figures.silences, figures.connected) == (1, 0, False)


async def test_what_a_desk_before_left_begins_a_hole_that_is_filled() -> None:
    store = Store()
    store.stored = {INFY: BEGIN - timedelta(minutes=20)}
    quiet = replace(QUICK, silence_s=20)
    async with rig(
        KiteFace(), hours_at=always_open, feed=quiet, tokens=store.tokens, stored_until=store.stored_until
    ) as it:
        await it.connected()
        # As brokers do it, it begins with the last price of before.
        await it.send(tick(-900), tick(-900, instrument=TCS))
        [first] = it.kept.gaps
        await it.server.drop()
        await it.connected(2)
        await it.send(tick(5))

    assert (first.instruments, first.since, first.reason) == ((INFY,), store.stored[INFY], "unwatched")
    assert it.kept.gaps[1:] == [
        FeedGap(instruments=(INFY,), since=tick(-900).at, until=tick(5).at, reason="lost")
    ]


async def test_what_is_wanted_again_begins_with_a_hole() -> None:
    store = Store()
    quiet = replace(QUICK, silence_s=20)
    async with rig(
        KiteFace(), hours_at=always_open, feed=quiet, tokens=store.tokens, stored_until=store.stored_until
    ) as it:
        await it.connected()
        await it.send(tick(0), tick(0, instrument=TCS))
        it.feed.subscribe([INFY])
        await until(lambda: it.server.subscribed[-1] == {KITE_TOKENS[INFY]})
        store.stored = {INFY: BEGIN, TCS: BEGIN}
        it.feed.subscribe([INFY, TCS])
        await until(lambda: it.server.subscribed[-1] == BOTH)
        await it.send(tick(60), tick(60, instrument=TCS))

    assert [(gap.instruments, gap.since, gap.reason) for gap in it.kept.gaps] == [((TCS,), BEGIN, "unwatched")]
