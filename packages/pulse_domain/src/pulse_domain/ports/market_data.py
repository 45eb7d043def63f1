"""Prices."""

from datetime import datetime
from decimal import Decimal
from typing import Protocol

from msgspec import Struct

from pulse_domain.instruments import Instrument


class Quote(Struct, frozen=True, kw_only=True):
    """Prices in rupees, on the tick grid. `volume` counts units since the session's start."""

    instrument: Instrument
    at: datetime
    last_price: Decimal
    bid: Decimal
    ask: Decimal
    volume: int


class MarketData(Protocol):
    async def quote(self, instrument: Instrument) -> Quote:
        """The latest quote.

        Raises:
            MarketDataUnavailable: there is no price for the instrument.
            BrokerUnavailable: whoever has the prices gives no answer now, for any instrument.
        """
        ...
