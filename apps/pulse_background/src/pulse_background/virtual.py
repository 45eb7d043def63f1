"""The virtual exchange of this process, on the configured price feed."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random

from pulse_adapters.feeds.spec import open_feed, parse_feed
from pulse_adapters.virtual.exchange import VirtualExchange
from pulse_domain.ports.clock import Clock


@asynccontextmanager
async def open_exchange(feed: str, speed: float, clock: Clock) -> AsyncIterator[VirtualExchange]:
    """Run an exchange; its book lives and ends with the process.

    Raises:
        FeedSpecError, FeedFileError: the feed cannot be played.
    """
    market = await asyncio.to_thread(open_feed, parse_feed(feed), clock, speed=speed)
    # Only latencies are drawn from it.
    exchange = VirtualExchange(market, clock, Random(secrets.randbits(64)))  # noqa: S311
    matching = asyncio.create_task(exchange.run(), name="virtual-exchange")
    try:
        yield exchange
    finally:
        matching.cancel()
        await asyncio.gather(matching, return_exceptions=True)
        await exchange.close()
