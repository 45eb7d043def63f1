"""Orders, ticks and candles with defaults, so that a test shows only what matters to it."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from pulse_domain.instruments import Instrument
from pulse_domain.matching import Candle, Filled, Result, Tick, VenueOrder
from pulse_domain.orders.model import OrderType, Side

AT = datetime(2026, 1, 5, 4, 0, tzinfo=UTC)
INFY = Instrument.parse("NSE:INFY")
TCS = Instrument.parse("NSE:TCS")

Price = Decimal | str | int


def tick(price: Price, bid: Price | None = None, ask: Price | None = None, **changes: Any) -> Tick:
    values: dict[str, Any] = {
        "instrument": INFY,
        "at": AT,
        "price": Decimal(price),
        "bid": None if bid is None else Decimal(bid),
        "ask": None if ask is None else Decimal(ask),
    }
    return Tick(**(values | changes))


def candle(opened: Price, high: Price, low: Price, close: Price, **changes: Any) -> Candle:
    values: dict[str, Any] = {
        "instrument": INFY,
        "start": AT,
        "open": Decimal(opened),
        "high": Decimal(high),
        "low": Decimal(low),
        "close": Decimal(close),
        "volume": 1000,
    }
    return Candle(**(values | changes))


def order(order_id: str = "1", side: Side = Side.BUY, **changes: Any) -> VenueOrder:
    values: dict[str, Any] = {"order_id": order_id, "instrument": INFY, "side": side, "quantity": 10}
    return VenueOrder(**(values | changes))


def buy_limit(price: Price, order_id: str = "1", **changes: Any) -> VenueOrder:
    return order(order_id, order_type=OrderType.LIMIT, limit_price=Decimal(price), **changes)


def sell_limit(price: Price, order_id: str = "1", **changes: Any) -> VenueOrder:
    return order(order_id, Side.SELL, order_type=OrderType.LIMIT, limit_price=Decimal(price), **changes)


def buy_stop(trigger: Price, limit: Price | None = None, order_id: str = "1", **changes: Any) -> VenueOrder:
    return _stop(Side.BUY, trigger, limit, order_id, **changes)


def sell_stop(trigger: Price, limit: Price | None = None, order_id: str = "1", **changes: Any) -> VenueOrder:
    return _stop(Side.SELL, trigger, limit, order_id, **changes)


def _stop(side: Side, trigger: Price, limit: Price | None, order_id: str, **changes: Any) -> VenueOrder:
    return order(
        order_id,
        side,
        order_type=OrderType.SL_M if limit is None else OrderType.SL,
        trigger_price=Decimal(trigger),
        limit_price=None if limit is None else Decimal(limit),
        **changes,
    )


def fills(results: tuple[Result, ...]) -> list[tuple[str, Any]]:
    """Who filled, and at which price."""
    return [(result.order_id, result.price) for result in results if isinstance(result, Filled)]


def kinds(results: tuple[Result, ...]) -> list[str]:
    return [type(result).__name__ for result in results]
