"""Last prices, for limits around them, as often as the broker lets them be read."""

import asyncio
from collections.abc import Awaitable, Callable
from decimal import Decimal

from msgspec import Struct

from pulse_domain.errors import BrokerUnavailable
from pulse_domain.instruments import Instrument
from pulse_domain.ports.clock import Clock

NO_PRICE = "NO_PRICE"
# How long a price is good enough for a limit around it, and how often the broker lets prices be read.
_LIFE_S = 2.0
_GAP_S = 1.0


class _Price(Struct, frozen=True):
    value: Decimal
    read_at: float


class LastPrices:
    """read: asks the broker for the prices of some keys, by a deadline of the clock's `monotonic`."""

    def __init__(self, read: Callable[[str, float], Awaitable[object]], clock: Clock) -> None:
        self._read = read
        self._clock = clock
        self._prices: dict[Instrument, _Price] = {}
        self._read_at = float("-inf")
        self._reading = asyncio.Lock()

    async def get(self, instrument: Instrument, deadline: float) -> Decimal:
        """The last price, a moment old at most.

        Raises:
            BrokerUnavailable: there is none by the deadline.
        """
        try:
            # Those who wait find what the first has read.
            async with asyncio.timeout(max(0.0, deadline - self._clock.monotonic())), self._reading:
                known = self._prices.get(instrument)
                if known is None or self._clock.monotonic() - known.read_at >= _LIFE_S:
                    known = await self._ask(instrument, deadline)
                    self._prices[instrument] = known
                return known.value
        except TimeoutError as error:
            raise BrokerUnavailable(NO_PRICE, "too many prices are asked for at once") from error

    async def _ask(self, instrument: Instrument, deadline: float) -> _Price:
        await self._clock.sleep(self._read_at + _GAP_S - self._clock.monotonic())
        self._read_at = self._clock.monotonic()
        key = str(instrument)
        answer = await self._read(key, deadline)
        # What the broker does not know is not in the answer.
        row = answer.get(key) if isinstance(answer, dict) else None
        last = row.get("last_price") if isinstance(row, dict) else None
        if not isinstance(last, int | float) or not 0 < last < float("inf"):
            raise BrokerUnavailable(NO_PRICE, f"there is no price for {instrument}")
        return _Price(Decimal(str(last)), self._read_at)
