"""A desk put together from its parts, for whichever face it is to have."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from random import Random

from msgspec import Struct

from pulse_adapters.simulator.catalog import Catalog, feed_name, load_catalog, made_catalog
from pulse_adapters.simulator.clock import VenueClock
from pulse_adapters.simulator.desk import CAPITAL, Desk
from pulse_adapters.simulator.faults import FaultRule, Faults
from pulse_adapters.simulator.journal import Journal
from pulse_adapters.simulator.pace import INSTANT, draw_pace
from pulse_adapters.simulator.prices import PriceHistory, Prices
from pulse_adapters.simulator.venue import Numbering, snowflake, trading_day
from pulse_domain.account import Holding
from pulse_domain.instruments import Instrument
from pulse_domain.ports.clock import Clock
from pulse_domain.ports.market_data import MarketData


class SimulatorOptions(Struct, frozen=True, kw_only=True):
    """How a simulator behaves.

    journal: its file; what an earlier process left there is taken up.
    seed: of the clock's offset, of delays and of faults.
    speed: divides all delays.
    has_delays: without, everything takes no time and the clock is right.
    participation: the largest share of the market's volume that orders fill; None fills in full.
    instruments: the broker's instrument file; a small one is made up without.
    capital, holdings: of a new journal; an old one keeps what it has.
    """

    journal: Path
    seed: int = 0
    speed: float = 1.0
    has_delays: bool = True
    rules: tuple[FaultRule, ...] = ()
    participation: Decimal | None = None
    instruments: Path | None = None
    capital: Decimal = CAPITAL
    holdings: tuple[Holding, ...] = ()


class Feed(Struct, frozen=True):
    """Where prices come from.

    tick_of: the feed's tick sizes, so that orders and quotes lie on one grid.
    history: the feed's past, where it has one.
    instruments: what it has prices for and is to be listed besides the familiar names.
    """

    market: MarketData
    tick_of: Callable[[Instrument], Decimal] | None = None
    history: PriceHistory | None = None
    instruments: tuple[Instrument, ...] = ()


class OpenDesk(Struct, frozen=True):
    """A desk that has its journal back.

    rng: for the face's own delays. entries: what a face has put into the journal.
    """

    desk: Desk
    rng: Random
    entries: tuple[tuple[str, bytes], ...]


@asynccontextmanager
async def open_desk(
    options: SimulatorOptions, feed: Feed, clock: Clock, first_id: Numbering = snowflake
) -> AsyncIterator[OpenDesk]:
    """Open the journal and bring back what it holds; nothing runs yet.

    first_id: how orders are numbered; a journal goes with one numbering for good.

    Raises:
        JournalError, CatalogError: a file cannot be used.
    """
    # Chance here is to be repeated by the seed, not to be secret.
    drawn = Random(options.seed)  # noqa: S311
    pace = draw_pace(drawn, options.speed) if options.has_delays else INSTANT
    venue_clock = VenueClock(clock, pace.clock_offset_s)
    catalog = await _catalog(options, feed, venue_clock)
    prices = Prices(feed.market, venue_clock.now, catalog.tick_size, trading_day, feed.history, feed_name)
    faults = Faults(Random(f"{options.seed}/faults"), options.rules)  # noqa: S311
    rng = Random(f"{options.seed}/delays")  # noqa: S311
    journal = Journal(options.journal)
    try:
        desk = Desk(journal, catalog, prices, venue_clock, rng, pace, faults, first_id)
        entries = await desk.start(
            capital=options.capital, holdings=options.holdings, participation=options.participation
        )
        yield OpenDesk(desk, rng, tuple(entries))
    finally:
        journal.close()


async def _catalog(options: SimulatorOptions, feed: Feed, clock: VenueClock) -> Catalog:
    if options.instruments is not None:
        return await asyncio.to_thread(load_catalog, options.instruments)
    return await made_catalog(trading_day(clock.now()), feed.market, feed.tick_of, feed.instruments)
