"""Made-up ticks: one at every whole interval, the same for all who ask."""

import asyncio
from datetime import timedelta
from itertools import pairwise

import pytest

from pulse_adapters.feeds.errors import FeedSpecError
from pulse_adapters.feeds.synthetic import SyntheticFeed
from pulse_adapters.feeds.synthetic_feed import SyntheticMarketFeed
from pulse_domain.instruments import Instrument
from pulse_domain.testing.fake_clock import FakeClock
from pulse_domain.testing.memory_feed import KeptFeed

TCS, INFY = Instrument.parse("NSE:TCS"), Instrument.parse("NSE:INFY")


async def run_for(feed: SyntheticMarketFeed, clock: FakeClock, seconds: float, step: float = 1.0) -> KeptFeed:
    kept = KeptFeed()
    run = asyncio.create_task(feed.run(kept))
    for _ in range(round(seconds / step)):
        await clock.advance(step)
    run.cancel()
    await asyncio.gather(run, return_exceptions=True)
    return kept


async def test_a_tick_of_each_instrument_and_second_is_the_quote_of_that_instant() -> None:
    clock = FakeClock()
    await clock.advance(0.4)
    feed, prices = SyntheticMarketFeed(clock, seed=7), SyntheticFeed(clock, seed=7)
    feed.subscribe([TCS, INFY, TCS])

    kept = await run_for(feed, clock, 10)

    assert len(kept.taken) == 20
    for tick in kept.taken:
        quote = prices.quote_at(tick.instrument, tick.at)
        assert (tick.price, tick.bid, tick.ask, tick.volume) == (
            quote.last_price, quote.bid, quote.ask, quote.volume,
        )  # fmt: skip
    instants = [tick.at for tick in kept.taken if tick.instrument == TCS]
    assert all(instant.microsecond == 0 for instant in instants)
    assert {later - earlier for earlier, later in pairwise(instants)} == {timedelta(seconds=1)}


async def test_a_seed_is_a_market() -> None:
    ticks = []
    for seed in (1, 1, 2):
        clock = FakeClock()
        feed = SyntheticMarketFeed(clock, seed)
        feed.subscribe([TCS])
        ticks.append((await run_for(feed, clock, 20)).taken)

    assert ticks[0] == ticks[1] != ticks[2]


class LateClock(FakeClock):
    """Time that passes while the process stands still."""

    def jump(self, seconds: float) -> None:
        self._elapsed_s += seconds


@pytest.mark.parametrize(("stopped_s", "made"), [(30, 31), (1000, 61)])
async def test_what_a_stopped_process_has_missed_is_made_up_to_a_minute_of_it(
    stopped_s: float, made: int
) -> None:
    clock, kept = LateClock(), KeptFeed()
    feed = SyntheticMarketFeed(clock)
    feed.subscribe([TCS])
    run = asyncio.create_task(feed.run(kept))
    await clock.advance(0.5)
    seen = len(kept.taken)

    clock.jump(stopped_s)
    for _ in range(5):
        await clock.advance(0.1)
    run.cancel()
    await asyncio.gather(run, return_exceptions=True)

    assert len(kept.taken) - seen == made
    assert clock.now() - kept.taken[-1].at < timedelta(seconds=1)


def test_an_interval_of_nothing_is_refused() -> None:
    with pytest.raises(FeedSpecError, match="a millisecond or more"):
        SyntheticMarketFeed(FakeClock(), interval=timedelta(0))
