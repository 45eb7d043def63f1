"""A broker's market and account in memory."""

from collections.abc import Collection, Mapping
from decimal import Decimal

from pulse_domain.errors import BrokerUnavailable
from pulse_domain.instruments import Instrument
from pulse_domain.ports.broker_reads import BrokerHolding, BrokerPosition
from pulse_domain.ports.clock import Clock
from pulse_domain.ports.market_data import Quote


class InMemoryReads:
    """Implements the `BrokerReads` port.

    down: while set, every call fails, as without a session. asked: the instruments of each call for quotes.
    """

    def __init__(self, clock: Clock) -> None:
        self.down = False
        self.asked: list[frozenset[Instrument]] = []
        self.held: list[BrokerHolding] = []
        self.open: list[BrokerPosition] = []
        self._clock = clock
        self._prices: dict[Instrument, tuple[Decimal, Decimal, Decimal]] = {}

    def set(self, instrument: Instrument, price: Decimal, *, bid: Decimal, ask: Decimal) -> None:
        """A price, and what is bid and asked around it."""
        self._prices[instrument] = (price, bid, ask)

    async def quotes(self, instruments: Collection[Instrument]) -> Mapping[Instrument, Quote]:
        self.asked.append(frozenset(instruments))
        self._check()
        return {instrument: self._quote(instrument) for instrument in instruments if instrument in self._prices}

    async def positions(self) -> tuple[BrokerPosition, ...]:
        self._check()
        return tuple(position for position in self.open if position.quantity)

    async def holdings(self) -> tuple[BrokerHolding, ...]:
        self._check()
        return tuple(self.held)

    def _quote(self, instrument: Instrument) -> Quote:
        price, bid, ask = self._prices[instrument]
        return Quote(instrument=instrument, at=self._clock.now(), last_price=price, bid=bid, ask=ask, volume=0)

    def _check(self) -> None:
        if self.down:
            raise BrokerUnavailable("SESSION_EXPIRED", "there is no session")
