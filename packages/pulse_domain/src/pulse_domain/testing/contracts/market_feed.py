"""What every feed promises."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Protocol

import pytest

from pulse_domain.instruments import Instrument
from pulse_domain.ports.market_feed import MarketFeed
from pulse_domain.testing.memory_feed import KeptFeed

_LIMIT_S = 30.0


class FeedVenue(Protocol):
    """A feed under test.

    one, other: instruments that it has prices of.
    ends: whether its prices come to an end.
    """

    feed: MarketFeed
    one: Instrument
    other: Instrument
    ends: bool

    async def move(self) -> None:
        """Let there be a new price of both, or let some time pass until there is."""
        ...


class MarketFeedContract:
    """Subclass it and override `venue`."""

    @pytest.fixture
    def venue(self) -> FeedVenue:
        pytest.fail("a subclass overrides this fixture")

    async def test_it_gives_prices_of_what_is_subscribed_to_and_of_nothing_else(self, venue: FeedVenue) -> None:
        venue.feed.subscribe([venue.one])

        async with running(venue) as kept:
            await moving(venue, lambda: len(kept.taken) >= 3)

        assert {tick.instrument for tick in kept.taken} == {venue.one}
        for tick in kept.taken:
            assert tick.at.tzinfo is not None
            assert tick.price > 0
            assert tick.volume >= 0
            assert tick.bid is None or tick.ask is None or 0 < tick.bid <= tick.ask

    async def test_both_of_two_instruments_have_prices(self, venue: FeedVenue) -> None:
        venue.feed.subscribe([venue.one, venue.other])

        async with running(venue) as kept:
            await moving(venue, lambda: {tick.instrument for tick in kept.taken} == {venue.one, venue.other})

    async def test_what_is_subscribed_to_may_change_while_it_runs(self, venue: FeedVenue) -> None:
        venue.feed.subscribe([venue.one])

        async with running(venue) as kept:
            await moving(venue, lambda: kept.taken != [])
            venue.feed.subscribe([venue.other])
            await moving(venue, lambda: kept.taken[-1].instrument == venue.other)
            seen = len(kept.taken)
            await moving(venue, lambda: len(kept.taken) > seen)

        assert {tick.instrument for tick in kept.taken[seen:]} == {venue.other}

    async def test_a_feed_of_nothing_waits_until_something_is_subscribed_to(self, venue: FeedVenue) -> None:
        async with running(venue) as kept:
            for _ in range(5):
                await venue.move()
            assert kept.taken == []
            venue.feed.subscribe([venue.one])
            await moving(venue, lambda: kept.taken != [])

    async def test_a_feed_of_nothing_any_more_is_quiet(self, venue: FeedVenue) -> None:
        venue.feed.subscribe([venue.one])

        async with running(venue) as kept:
            await moving(venue, lambda: kept.taken != [])
            venue.feed.subscribe([])
            quiet_for = 0
            while quiet_for < 5:
                seen = len(kept.taken)
                await venue.move()
                quiet_for = quiet_for + 1 if len(kept.taken) == seen else 0

    async def test_it_stops_when_it_is_cancelled_and_can_be_run_again(self, venue: FeedVenue) -> None:
        venue.feed.subscribe([venue.one])

        async with running(venue) as kept:
            await moving(venue, lambda: kept.taken != [])
        seen = len(kept.taken)
        await venue.move()
        assert len(kept.taken) == seen
        async with running(venue) as again:
            await moving(venue, lambda: again.taken != [])

    async def test_figures_tell_what_was_given_and_whether_more_can_come(self, venue: FeedVenue) -> None:
        venue.feed.subscribe([venue.one])
        assert (venue.feed.figures().ticks, venue.feed.figures().connected) == (0, False)

        async with running(venue) as kept:
            await moving(venue, lambda: kept.taken != [])
            assert venue.feed.figures().connected

        figures = venue.feed.figures()
        assert (figures.ticks, figures.connects, figures.connected) == (len(kept.taken), 1, False)
        assert (figures.bad, figures.silences, figures.gaps) == (0, 0, 0)

    async def test_a_feed_that_ends_returns(self, venue: FeedVenue) -> None:
        if not venue.ends:
            pytest.skip("the prices of this feed have no end")
        venue.feed.subscribe([venue.one])
        kept = KeptFeed()

        run = asyncio.create_task(venue.feed.run(kept))
        await moving(venue, run.done)
        await run

        assert kept.taken != []
        assert not venue.feed.figures().connected


@asynccontextmanager
async def running(venue: FeedVenue) -> AsyncIterator[KeptFeed]:
    """The feed, run into a sink; it must not end by itself with an error."""
    kept = KeptFeed()
    run = asyncio.create_task(venue.feed.run(kept))
    try:
        yield kept
    finally:
        if not run.done():
            run.cancel()
        (ended,) = await asyncio.wait_for(asyncio.gather(run, return_exceptions=True), _LIMIT_S)
        assert ended is None or isinstance(ended, asyncio.CancelledError), ended


async def moving(venue: FeedVenue, holds: Callable[[], bool]) -> None:
    """Have new prices until something holds."""
    async with asyncio.timeout(_LIMIT_S):
        while not holds():
            await venue.move()
