"""What is known at the instant an order is judged."""

from datetime import datetime
from decimal import Decimal

from msgspec import Struct


class PriceFacts(Struct, frozen=True, kw_only=True):
    """Of the order's instrument, in rupees.

    at: of the latest tick that they come from.
    minute_vwap: the volume-weighted average price of the last minute; None where nothing was traded in it.
    lower_circuit, upper_circuit: None where the exchange names none.
    """

    at: datetime
    last_price: Decimal
    minute_vwap: Decimal | None = None
    lower_circuit: Decimal | None = None
    upper_circuit: Decimal | None = None


class ResultFacts(Struct, frozen=True, kw_only=True):
    """net: the day's result over all strategies, in rupees, after charges; a loss is below zero."""

    at: datetime
    net: Decimal


class OrderCounts(Struct, frozen=True, kw_only=True):
    """What the limits by count are held against, as one look at the store has found it; None: not asked for.

    now: by the store's clock, as are the instants. The others as in `RiskFacts`.
    closable: units held of the order's instrument and product that its side takes down; below zero where it
        would add to them.
    closing: units that open orders of its instrument, product and side may still fill, over all strategies.
    """

    now: datetime
    open_orders: int | None = None
    recent_orders: tuple[datetime, ...] | None = None
    same_orders: tuple[datetime, ...] | None = None
    closable: int | None = None
    closing: int | None = None


class RiskFacts(Struct, frozen=True, kw_only=True):
    """None stands for a fact that cannot be had.

    sends: the first and the last instant at which something of the order is to be sent; None: now.
    killed: the kill switch is tripped.
    position: units held of the order's instrument and product; below zero when short.
    net_position: units held of its instrument, whatever the product.
    open_orders: orders that are not done, over all instruments.
    open_positions: instruments with a position.
    recent_orders: instants of the orders that passed, the oldest first.
    same_orders: those of orders equal to this one, of the same strategy.
    session_open: whether the instrument trades continuously from the first of these instants to the last.
    """

    now: datetime
    killed: bool
    sends: tuple[datetime, datetime] | None = None
    price: PriceFacts | None = None
    result: ResultFacts | None = None
    position: int | None = None
    net_position: int | None = None
    open_orders: int | None = None
    open_positions: int | None = None
    recent_orders: tuple[datetime, ...] | None = None
    same_orders: tuple[datetime, ...] | None = None
    session_open: bool | None = None
