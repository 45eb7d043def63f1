"""What a broker tells of the market and of the account: reads, and nothing that could send an order."""

from collections.abc import Collection, Mapping
from decimal import Decimal
from typing import Protocol

from msgspec import Struct

from pulse_domain.instruments import Instrument
from pulse_domain.ports.market_data import Quote


class BrokerPosition(Struct, frozen=True, kw_only=True):
    """What is open in an instrument under one product, carried over or traded today; never flat.

    product: in the broker's word; besides ours it may be one that we place no orders under.
    quantity: in units, negative when short. average_price: in rupees, what it was traded at.
    """

    instrument: Instrument
    product: str
    quantity: int
    average_price: Decimal


class BrokerHolding(Struct, frozen=True, kw_only=True):
    """Shares owned, in units, those included that are bought and not delivered yet; what is pledged is not.

    average_price: in rupees, what they cost.
    """

    instrument: Instrument
    quantity: int
    average_price: Decimal


class BrokerReads(Protocol):
    """Every method raises `BrokerUnavailable` where the broker gives no answer that could be understood: no
    session, an outage, a limit."""

    async def quotes(self, instruments: Collection[Instrument]) -> Mapping[Instrument, Quote]:
        """The latest quotes, asked for together.

        What has no price, or nobody who buys or nobody who sells, is left out: it has no two-sided quote.
        """
        ...

    async def positions(self) -> tuple[BrokerPosition, ...]:
        """The open positions on the exchanges that we know, or an error: never a part of them."""
        ...

    async def holdings(self) -> tuple[BrokerHolding, ...]:
        """The same of holdings."""
        ...
