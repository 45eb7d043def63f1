"""A virtual broker around a real one: the account and the prices are the real one's, the orders are not.

It is given the real broker's reads, and nothing that could place, change or cancel there. What is to be
written ends at the virtual exchange, which matches it against the quotes.
"""

from collections.abc import Callable
from random import Random

from pulse_adapters.virtual.exchange import VirtualExchange
from pulse_adapters.virtual.polled_market import PolledMarket
from pulse_domain.account import Account
from pulse_domain.instruments import Instrument
from pulse_domain.ports.broker_reads import BrokerHolding, BrokerPosition, BrokerReads
from pulse_domain.ports.clock import Clock
from pulse_domain.ports.market_data import Quote


class VirtualBroker(VirtualExchange):
    """Implements the ports `Broker` and `MarketData`, and shows the real broker's account.

    rng, latency_ms, account: as for the exchange.
    poll_interval_s: between two reads of the quotes of all instruments that have working orders.
    on_quotes_failed: called for every such read that fails; until one succeeds nothing fills.
    """

    def __init__(
        self,
        reads: BrokerReads,
        clock: Clock,
        rng: Random,
        *,
        latency_ms: tuple[float, float] = (20.0, 60.0),
        poll_interval_s: float = 1.0,
        on_quotes_failed: Callable[[], object] = lambda: None,
        account: Account | None = None,
    ) -> None:
        self._reads = reads
        # Half a poll, so that every poll reads anew, and all that one poll looks at comes from one read.
        self._quotes = PolledMarket(reads, clock, interval_s=poll_interval_s / 2, on_failure=on_quotes_failed)
        super().__init__(
            self._quotes,
            clock,
            rng,
            latency_ms=latency_ms,
            poll_interval_s=poll_interval_s,
            account=account,
        )

    async def quote(self, instrument: Instrument) -> Quote:
        return await self._quotes.quote(instrument)

    async def positions(self) -> tuple[BrokerPosition, ...]:
        """Of the real account: orders here leave them as they are."""
        return await self._reads.positions()

    async def holdings(self) -> tuple[BrokerHolding, ...]:
        """Of the real account too."""
        return await self._reads.holdings()
