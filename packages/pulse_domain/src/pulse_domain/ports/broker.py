"""The broker: where executions become orders at the exchange."""

from collections.abc import AsyncIterator, Mapping
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any, Protocol

from msgspec import Struct

from pulse_domain.instruments import Instrument, InstrumentTerms
from pulse_domain.orders.events import Fill
from pulse_domain.orders.ids import BrokerOrderId
from pulse_domain.orders.model import OrderType, Product, Side, Validity


class OrderTicket(Struct, frozen=True, kw_only=True):
    """One order to place. `quantity` is in units; an adapter converts where its broker counts lots."""

    tag: str
    instrument: Instrument
    side: Side
    quantity: int
    order_type: OrderType
    product: Product
    validity: Validity
    limit_price: Decimal | None
    trigger_price: Decimal | None
    terms: InstrumentTerms


class BrokerOrderStatus(StrEnum):
    PENDING = "PENDING"  # on its way to the exchange
    OPEN = "OPEN"
    TRIGGER_PENDING = "TRIGGER_PENDING"
    COMPLETE = "COMPLETE"
    CANCELLED = "CANCELLED"
    REJECTED = "REJECTED"
    EXPIRED = "EXPIRED"


class BrokerOrder(Struct, frozen=True, kw_only=True):
    """A row of the order book, or a pushed update. Quantities in units.

    words: the row as the broker wrote it, for the record: plain values, without secrets and without who owns
        the account; None where the broker's words are the fields here.
    """

    broker_order_id: BrokerOrderId
    tags: tuple[str, ...]
    instrument: Instrument
    side: Side
    quantity: int
    filled_quantity: int
    average_price: Decimal
    status: BrokerOrderStatus
    placed_at: datetime
    reason_code: str | None = None
    reason: str | None = None
    # The trades so far, where the message carries them.
    fills: tuple[Fill, ...] = ()
    words: Mapping[str, Any] | None = None


class BookRead(Struct, frozen=True, kw_only=True):
    """One read of the order book.

    covers_since: orders placed before this instant are not in it; with most brokers the day's start.
    complete: false where rows may be missing.
    """

    orders: tuple[BrokerOrder, ...]
    began_at: datetime
    covers_since: datetime
    complete: bool


class Broker(Protocol):
    """Places orders and tells what became of them.

    Every method may raise `BrokerUnavailable` (certainly not sent) and `BrokerOutcomeUnknown` (it may
    have taken effect). A read that fails raises `BrokerUnavailable`.
    """

    name: str

    async def place(self, ticket: OrderTicket, *, timeout_s: float) -> BrokerOrderId:
        """Place one order; called at most once per attempt.

        timeout_s: the call ends by then, whatever happens.

        Raises:
            BrokerRejected: a definite no.
            BrokerUnavailable: certainly not sent.
            BrokerOutcomeUnknown: it may be live.
        """
        ...

    async def cancel(self, broker_order_id: BrokerOrderId, *, timeout_s: float) -> None:
        """Ask for a cancel. Returning means the broker took the wish, not that the order is cancelled.

        Raises:
            BrokerRejected: the order cannot be cancelled any more, or is unknown.
        """
        ...

    async def modify(
        self, broker_order_id: BrokerOrderId, *, quantity: int, limit_price: Decimal | None, timeout_s: float
    ) -> None:
        """Ask for a new total quantity and limit price. Returning means the broker took the wish.

        Raises:
            BrokerRejected: the order cannot be modified any more, or is unknown.
        """
        ...

    async def order_book(self) -> BookRead:
        """All orders of the trading day, of every source."""
        ...

    async def trades(self, broker_order_id: BrokerOrderId) -> tuple[Fill, ...]:
        """The trades of one order; empty while there are none."""
        ...

    def updates(self) -> AsyncIterator[BrokerOrder]:
        """Pushed updates, from now on, until closed: hints that may be late, doubled or missing."""
        ...

    async def close(self) -> None:
        """End all connections; the broker is not used afterwards."""
        ...
