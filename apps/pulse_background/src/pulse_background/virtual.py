"""The virtual exchange of this process, on the configured price feed or on the quotes of a real broker."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from random import Random

from msgspec import Struct

from pulse_adapters.feeds.replay import ReplayFeed
from pulse_adapters.feeds.spec import open_feed, parse_feed
from pulse_adapters.feeds.synthetic import SyntheticFeed
from pulse_adapters.virtual.broker import VirtualBroker
from pulse_adapters.virtual.exchange import VirtualExchange
from pulse_background.market.quotes import FeedQuotes
from pulse_domain.instruments import Instrument
from pulse_domain.matching import Tick
from pulse_domain.ports.broker_reads import BrokerReads
from pulse_domain.ports.clock import Clock


class VirtualMarket(Struct, frozen=True):
    exchange: VirtualExchange
    feed: SyntheticFeed | ReplayFeed


@asynccontextmanager
async def open_market(
    feed: str, speed: float, clock: Clock, latest: Mapping[Instrument, Tick] | None = None
) -> AsyncIterator[VirtualMarket]:
    """Run an exchange; its book lives and ends with the process.

    latest: prices that come before those of the feed, where it has some.

    Raises:
        FeedSpecError, FeedFileError: the feed cannot be played.
    """
    prices = await asyncio.to_thread(open_feed, parse_feed(feed), clock, speed=speed)
    # Only latencies are drawn from it.
    quotes = prices if latest is None else FeedQuotes(latest, prices, clock)
    exchange = VirtualExchange(quotes, clock, Random(secrets.randbits(64)))  # noqa: S311
    async with _matching(exchange):
        yield VirtualMarket(exchange, prices)


@asynccontextmanager
async def open_virtual_broker(
    reads: BrokerReads, clock: Clock, *, poll_s: float, on_quotes_failed: Callable[[], object]
) -> AsyncIterator[VirtualBroker]:
    """The same, around a real broker that is only read from."""
    broker = VirtualBroker(
        reads,
        clock,
        Random(secrets.randbits(64)),  # noqa: S311  # as above
        poll_interval_s=poll_s,
        on_quotes_failed=on_quotes_failed,
    )
    async with _matching(broker):
        yield broker


@asynccontextmanager
async def _matching(exchange: VirtualExchange) -> AsyncIterator[None]:
    matching = asyncio.create_task(exchange.run(), name="virtual-exchange")
    try:
        yield
    finally:
        matching.cancel()
        await asyncio.gather(matching, return_exceptions=True)
        await exchange.close()
