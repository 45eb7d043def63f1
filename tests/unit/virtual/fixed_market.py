"""Prices that a test sets by hand."""

from collections.abc import Awaitable, Callable
from decimal import Decimal

from pulse_domain.errors import MarketDataUnavailable
from pulse_domain.instruments import Instrument
from pulse_domain.ports.clock import Clock
from pulse_domain.ports.market_data import Quote


class FixedMarket:
    """Quotes a tick around the last price set; instruments without one have no price."""

    def __init__(self, clock: Clock, tick_size: Decimal = Decimal("0.05")) -> None:
        self.looks = 0
        # What happens meanwhile: a real source takes time to answer.
        self.before_next_look: Callable[[], Awaitable[None]] | None = None
        self._clock = clock
        self._tick_size = tick_size
        self._prices: dict[Instrument, Decimal] = {}

    def set(self, instrument: Instrument, price: Decimal | str) -> None:
        self._prices[instrument] = Decimal(price)

    async def quote(self, instrument: Instrument) -> Quote:
        self.looks += 1
        if meanwhile := self.before_next_look:
            self.before_next_look = None
            await meanwhile()
        if instrument not in self._prices:
            raise MarketDataUnavailable(f"no price for {instrument}")
        price = self._prices[instrument]
        return Quote(
            instrument=instrument,
            at=self._clock.now(),
            last_price=price,
            bid=price - self._tick_size,
            ask=price + self._tick_size,
            volume=0,
        )
