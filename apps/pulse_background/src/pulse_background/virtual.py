"""The virtual exchange of this process, on the configured price feed or on the quotes of a real broker."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from decimal import Decimal
from random import Random

from msgspec import Struct

from pulse_adapters.feeds.replay import ReplayFeed
from pulse_adapters.feeds.spec import open_feed, parse_feed
from pulse_adapters.feeds.synthetic import SyntheticFeed
from pulse_adapters.virtual.broker import VirtualBroker
from pulse_adapters.virtual.exchange import VirtualExchange
from pulse_background.market.quotes import FeedQuotes
from pulse_background.settings import Settings
from pulse_domain.account import Account, AccountSettings
from pulse_domain.charges import NO_CHARGES
from pulse_domain.instruments import Instrument
from pulse_domain.matching import Tick
from pulse_domain.ports.broker_reads import BrokerReads
from pulse_domain.ports.clock import Clock


class VirtualMarket(Struct, frozen=True):
    exchange: VirtualExchange
    feed: SyntheticFeed | ReplayFeed


def open_account(settings: Settings) -> Account | None:
    """The account of the virtual broker, where it is to have one; it begins anew with the process."""
    if settings.virtual_broker_capital is None:
        return None
    account = Account(AccountSettings(charges=settings.market.charges or NO_CHARGES))
    account.open(Decimal(settings.virtual_broker_capital))
    return account


@asynccontextmanager
async def open_market(
    settings: Settings, clock: Clock, latest: Mapping[Instrument, Tick] | None = None
) -> AsyncIterator[VirtualMarket]:
    """Run an exchange; its book lives and ends with the process.

    latest: prices that come before those of the feed, where it has some.

    Raises:
        FeedSpecError, FeedFileError: the feed cannot be played.
    """
    prices = await asyncio.to_thread(
        open_feed, parse_feed(settings.market_feed), clock, speed=settings.feed_speed
    )
    # Only latencies are drawn from it.
    quotes = prices if latest is None else FeedQuotes(latest, prices, clock)
    rng = Random(secrets.randbits(64))  # noqa: S311
    exchange = VirtualExchange(quotes, clock, rng, account=open_account(settings))
    async with _matching(exchange):
        yield VirtualMarket(exchange, prices)


@asynccontextmanager
async def open_virtual_broker(
    settings: Settings, reads: BrokerReads, clock: Clock, *, on_quotes_failed: Callable[[], object]
) -> AsyncIterator[VirtualBroker]:
    """The same, around a real broker that is only read from."""
    broker = VirtualBroker(
        reads,
        clock,
        Random(secrets.randbits(64)),  # noqa: S311  # as above
        poll_interval_s=settings.virtual_broker_poll_seconds,
        on_quotes_failed=on_quotes_failed,
        account=open_account(settings),
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
