"""What goes into the matching engine and what comes out of it. Prices in rupees, quantities in units.

None of these can be part of a reference cycle, so the garbage collector need not look at them: there are
many, and looking costs more than making them.
"""

from datetime import datetime
from decimal import Decimal

from msgspec import Struct

from pulse_domain.errors import MatchingError
from pulse_domain.instruments import Instrument
from pulse_domain.orders.model import OrderType, Side, Validity


class Tick(Struct, frozen=True, gc=False):
    """One look at the market. `volume` counts units since the session's start.

    bid, ask: the best quotes, where known; else the price stands for them.
    day_low, day_high: where known, a price outside them is a bad tick: it fills nothing.
    """

    instrument: Instrument
    at: datetime
    price: Decimal
    bid: Decimal | None = None
    ask: Decimal | None = None
    volume: int = 0
    day_low: Decimal | None = None
    day_high: Decimal | None = None


class Candle(Struct, frozen=True, gc=False):
    """The prices between `start` and the next candle's start.

    end: where known, orders sent up to then can meet the close, if the settings say so.
    """

    instrument: Instrument
    start: datetime
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: int = 0
    end: datetime | None = None


class VenueOrder(Struct, frozen=True, kw_only=True, gc=False):
    """One order at the venue; `order_id` is unique among those that work."""

    order_id: str
    instrument: Instrument
    side: Side
    quantity: int
    order_type: OrderType = OrderType.MARKET
    validity: Validity = Validity.DAY
    limit_price: Decimal | None = None
    trigger_price: Decimal | None = None


class Accepted(Struct, frozen=True, kw_only=True, gc=False):
    """The venue took the order; without further results it rests."""

    order_id: str


class Modified(Struct, frozen=True, kw_only=True, gc=False):
    order_id: str


class Triggered(Struct, frozen=True, kw_only=True, gc=False):
    """A stop fired. `price` fired it; for a candle this is the trigger, or the open beyond it."""

    order_id: str
    price: Decimal
    at: datetime


class Filled(Struct, frozen=True, kw_only=True, gc=False):
    """All of an order, or a part where volume is capped.

    `at` is the time of the tick, or the start of the candle: what happened inside it is not known. A fill
    at the close of a candle with an `end` has that.
    """

    order_id: str
    quantity: int
    price: Decimal
    at: datetime


class Cancelled(Struct, frozen=True, kw_only=True, gc=False):
    """`reason_code` is REQUESTED or IOC."""

    order_id: str
    reason_code: str


class Rejected(Struct, frozen=True, kw_only=True, gc=False):
    """A cancel or modify for an order that does not work here; `reason_code` is UNKNOWN_ORDER."""

    order_id: str
    reason_code: str


Result = Accepted | Modified | Triggered | Filled | Cancelled | Rejected


def check_tick(tick: Tick) -> None:
    """Raises MatchingError for a tick that no order may meet."""
    check_time(tick.at)
    _check_price("price", tick.price)
    for name, price in (
        ("bid", tick.bid), ("ask", tick.ask), ("day_low", tick.day_low), ("day_high", tick.day_high),
    ):  # fmt: skip
        if price is not None:
            _check_price(name, price)
    if tick.bid is not None and tick.ask is not None and tick.bid > tick.ask:
        raise MatchingError(f"bid {tick.bid} is above ask {tick.ask}", field="bid")
    _check_volume(tick.volume)


def check_candle(candle: Candle) -> None:
    """Raises MatchingError for a candle that no order may meet."""
    check_time(candle.start)
    if candle.end is not None:
        check_time(candle.end)
        if candle.end <= candle.start:
            raise MatchingError(f"a candle from {candle.start} cannot end at {candle.end}", field="end")
    _check_price("open", candle.open)
    _check_price("high", candle.high)
    _check_price("low", candle.low)
    _check_price("close", candle.close)
    if not (candle.low <= candle.open <= candle.high and candle.low <= candle.close <= candle.high):
        raise MatchingError(
            f"open {candle.open} and close {candle.close} are not within {candle.low} to {candle.high}",
            field="low" if candle.low > candle.high else "open",
        )
    _check_volume(candle.volume)


def check_order(order: VenueOrder) -> None:
    """Raises MatchingError for an order that cannot be matched."""
    if type(order.quantity) is not int or order.quantity < 1:
        raise MatchingError(f"quantity must be a positive whole number, not {order.quantity}", field="quantity")
    for name, price, wanted in (
        ("limit_price", order.limit_price, order.order_type.has_limit),
        ("trigger_price", order.trigger_price, order.order_type.has_trigger),
    ):
        if (price is not None) != wanted:
            verb = "needs a" if wanted else "takes no"
            raise MatchingError(f"{order.order_type} {verb} {name}", field=name)
        if price is not None:
            _check_price(name, price)


def _check_price(name: str, price: Decimal) -> None:
    # A float would compare with Decimals and then fill at a price that is not on any grid.
    if type(price) is not Decimal or not price.is_finite() or price <= 0:
        raise MatchingError(f"{name} must be a decimal above 0, not {price}", field=name)


def check_time(at: datetime) -> None:
    if at.tzinfo is None:
        raise MatchingError("the time must carry a UTC offset", field="at")


def _check_volume(volume: int) -> None:
    if volume < 0:
        raise MatchingError(f"volume must not be negative, not {volume}", field="volume")
