"""Prices for many who look at single instruments, from a broker that is asked for all of them together."""

import asyncio
from collections.abc import Callable, Mapping

import structlog
from msgspec import Struct

from pulse_domain.errors import BrokerUnavailable, MarketDataUnavailable
from pulse_domain.instruments import Instrument
from pulse_domain.ports.broker_reads import BrokerReads
from pulse_domain.ports.clock import Clock
from pulse_domain.ports.market_data import Quote

log = structlog.get_logger(__name__)

# An instrument that nobody has looked at for so many reads is not asked for any more.
_FORGOTTEN_AFTER = 10


class _Read(Struct, frozen=True):
    """What one read told of the instruments that it asked for; quotes: the broker's word that there are none
    where that is an error."""

    at: float
    asked: frozenset[Instrument]
    quotes: Mapping[Instrument, Quote] | BrokerUnavailable


class PolledMarket:
    """Implements the `MarketData` port.

    interval_s: a read answers whoever looks within this time, for every instrument that was looked at lately.
        In between the market may have moved: only the latest counts.
    on_failure: called for every read that fails. The first failure in a row is logged, and the end of the row.
    """

    def __init__(
        self, reads: BrokerReads, clock: Clock, *, interval_s: float, on_failure: Callable[[], object]
    ) -> None:
        self._reads = reads
        self._clock = clock
        self._interval_s = interval_s
        self._on_failure = on_failure
        self._looked_at: dict[Instrument, float] = {}
        self._last: _Read | None = None
        self._reading = asyncio.Lock()
        self._is_failing = False

    async def quote(self, instrument: Instrument) -> Quote:
        """The latest quote, `interval_s` old at most."""
        self._looked_at[instrument] = self._clock.monotonic()
        # Those who wait find what the first has read.
        async with self._reading:
            last = self._last
            if last is None or not self._answers(last, instrument):
                last = self._last = await self._read()
        if isinstance(last.quotes, BrokerUnavailable):
            raise BrokerUnavailable(last.quotes.reason_code, last.quotes.message)
        if instrument not in last.quotes:
            raise MarketDataUnavailable(f"the broker quotes no price for {instrument}")
        return last.quotes[instrument]

    def _answers(self, read: _Read, instrument: Instrument) -> bool:
        is_fresh = self._clock.monotonic() - read.at < self._interval_s
        # While the broker does not answer, asking for another instrument would not help.
        return is_fresh and (instrument in read.asked or isinstance(read.quotes, BrokerUnavailable))

    async def _read(self) -> _Read:
        forgotten = self._clock.monotonic() - _FORGOTTEN_AFTER * self._interval_s
        self._looked_at = {key: at for key, at in self._looked_at.items() if at >= forgotten}
        asked = frozenset(self._looked_at)
        quotes: Mapping[Instrument, Quote] | BrokerUnavailable
        try:
            quotes = await self._reads.quotes(asked)
        except BrokerUnavailable as error:
            quotes = error
            self._on_failure()
            if not self._is_failing:
                log.error("quotes cannot be read; nothing is filled until they can", reason=error.reason_code)
        else:
            if self._is_failing:
                log.info("quotes can be read again")
        self._is_failing = isinstance(quotes, BrokerUnavailable)
        # The age counts from the end: what came late is not old on arrival, or slow reads would never do.
        return _Read(self._clock.monotonic(), asked, quotes)
