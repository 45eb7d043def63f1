"""The broker's rows as values: orders, trades, postbacks and text messages.

Fields that are not known here are ignored, as the broker adds some now and then. A field that is needed and
is not there, or makes no sense, is an `UnreadableRow` that names it.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal, InvalidOperation
from typing import Any, TypeVar

import msgspec
from msgspec import Struct

from pulse_adapters.zerodha.outcomes import REJECTED, text_code
from pulse_domain.errors import InvalidInstrument
from pulse_domain.instruments import Instrument
from pulse_domain.orders.events import Fill
from pulse_domain.orders.ids import BrokerOrderId
from pulse_domain.orders.model import Side
from pulse_domain.ports.broker import BrokerOrder, BrokerOrderStatus

T = TypeVar("T")

# The broker writes Indian time without an offset.
_IST = timezone(timedelta(hours=5, minutes=30))

# Whatever is not listed is on its way somewhere, and says nothing that could be acted on: PENDING. That holds
# for UPDATE too, which only pushes have, for an order that rests as well as for one that waits for a trigger.
_STATUSES = {
    "OPEN": BrokerOrderStatus.OPEN,
    "TRIGGER PENDING": BrokerOrderStatus.TRIGGER_PENDING,
    "COMPLETE": BrokerOrderStatus.COMPLETE,
    "CANCELLED": BrokerOrderStatus.CANCELLED,
    "CANCEL": BrokerOrderStatus.CANCELLED,  # how the description of postbacks spells it
    "REJECTED": BrokerOrderStatus.REJECTED,
    "LAPSED": BrokerOrderStatus.EXPIRED,  # mentioned by the broker's staff, in no document
}
_ENDED = frozenset(
    {
        BrokerOrderStatus.COMPLETE,
        BrokerOrderStatus.CANCELLED,
        BrokerOrderStatus.REJECTED,
        BrokerOrderStatus.EXPIRED,
    }
)


class UnreadableRow(ValueError):
    """A row lacks a field that is needed, or has nonsense in one."""


class KiteOrder(Struct, frozen=True, kw_only=True):
    """An order as the broker counts: `quantity` and `filled_quantity` may be lots.

    instrument: None where it is of an exchange or in a spelling that we have no orders in.
    updated_at: the latest instant that the row tells of.
    """

    order_id: BrokerOrderId
    tags: tuple[str, ...]
    instrument: Instrument | None
    side: Side
    quantity: int
    filled_quantity: int
    average_price: Decimal
    status: BrokerOrderStatus
    placed_at: datetime
    updated_at: datetime
    reason_code: str | None
    reason: str | None

    @property
    def has_ended(self) -> bool:
        return self.status in _ENDED

    def in_units(self, units: int) -> BrokerOrder:
        """The order as the domain counts. units: what one of the broker's quantity stands for."""
        assert self.instrument is not None, "an order of a foreign exchange is none of ours"
        return BrokerOrder(
            broker_order_id=self.order_id,
            tags=self.tags,
            instrument=self.instrument,
            side=self.side,
            quantity=self.quantity * units,
            filled_quantity=self.filled_quantity * units,
            average_price=self.average_price,
            status=self.status,
            placed_at=self.placed_at,
            reason_code=self.reason_code,
            reason=self.reason,
        )


class KiteTrade(Struct, frozen=True, kw_only=True):
    """A trade as the broker counts: `quantity` may be lots."""

    trade_id: str
    order_id: BrokerOrderId
    instrument: Instrument | None
    quantity: int
    price: Decimal
    at: datetime

    def in_units(self, units: int) -> Fill:
        return Fill(
            trade_id=self.trade_id,
            broker_order_id=self.order_id,
            quantity=self.quantity * units,
            price=self.price,
            at=self.at,
        )


def read_order(row: object) -> KiteOrder:
    """Read a row of the order book or of an order's history, a postback, or what a text message carries.

    Raises:
        UnreadableRow: see the module.
    """
    fields = _fields(row)
    placed_at = _need(fields, "order_timestamp", _instant)
    status = _STATUSES.get(_need(fields, "status", _text), BrokerOrderStatus.PENDING)
    reason = _may(fields, "status_message", _text) or _may(fields, "status_message_raw", _text)
    updates = (_may(fields, name, _instant) for name in ("exchange_update_timestamp", "exchange_timestamp"))
    code = None
    if status is BrokerOrderStatus.REJECTED:
        code = text_code(f"{reason or ''} {_may(fields, 'status_message_raw', _text) or ''}", REJECTED)
    return KiteOrder(
        order_id=BrokerOrderId(_need(fields, "order_id", _text)),
        tags=_tags(fields),
        instrument=_instrument(fields),
        side=_need(fields, "transaction_type", Side),
        quantity=_need(fields, "quantity", _whole),
        filled_quantity=_need(fields, "filled_quantity", _whole),
        average_price=_need(fields, "average_price", _price),
        status=status,
        placed_at=placed_at,
        updated_at=max([placed_at, *filter(None, updates)]),
        reason_code=code,
        reason=reason,
    )


def read_trade(row: object) -> KiteTrade:
    """Read a row of an order's trades.

    Raises:
        UnreadableRow: see the module.
    """
    fields = _fields(row)
    # `order_timestamp` is a time without a day here.
    at = _may(fields, "fill_timestamp", _instant) or _need(fields, "exchange_timestamp", _instant)
    return KiteTrade(
        trade_id=_need(fields, "trade_id", _text),
        order_id=BrokerOrderId(_need(fields, "order_id", _text)),
        instrument=_instrument(fields),
        quantity=_need(fields, "quantity", _whole),
        price=_need(fields, "average_price", _price),
        at=at,
    )


def read_message(text: str) -> tuple[str, object]:
    """The type of a text message of the ticker, and what it carries.

    Raises:
        UnreadableRow: it is not a message.
    """
    try:
        message = _fields(msgspec.json.decode(text))
    except msgspec.DecodeError:
        raise UnreadableRow("a text message is not JSON") from None
    return _need(message, "type", _text), message.get("data")


def _fields(row: object) -> Mapping[str, Any]:
    if not isinstance(row, Mapping):
        raise UnreadableRow(f"a row is of type {type(row).__name__}")
    return row


def _need(fields: Mapping[str, Any], name: str, read: Callable[[Any], T]) -> T:
    value = fields.get(name)
    if value is None:
        raise UnreadableRow(f"{name} is missing")
    try:
        return read(value)
    except (ValueError, TypeError, InvalidOperation):
        raise UnreadableRow(f"{name} makes no sense: {str(value)[:40]!r}") from None


def _may(fields: Mapping[str, Any], name: str, read: Callable[[Any], T]) -> T | None:
    return None if fields.get(name) in (None, "") else _need(fields, name, read)


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError
    return value


def _whole(value: Any) -> int:
    # A float without a fraction is what some JSON writers make of a whole number.
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError
    if not float(value).is_integer() or value < 0:
        raise ValueError
    return int(value)


def _price(value: Any) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError
    # Through its shortest text: the number that the broker wrote, and not its binary neighbour.
    price = Decimal(str(value))
    if not price.is_finite():
        raise ValueError
    return price


def _instant(value: Any) -> datetime:
    # The SDK makes naive datetimes of some fields of some answers; pushes have the text.
    at = value if isinstance(value, datetime) else datetime.fromisoformat(_text(value))
    return (at.replace(tzinfo=_IST) if at.tzinfo is None else at).astimezone(UTC)


def _tags(fields: Mapping[str, Any]) -> tuple[str, ...]:
    tags = fields.get("tags") or ()
    if not isinstance(tags, list | tuple) or not all(isinstance(tag, str) for tag in tags):
        raise UnreadableRow(f"tags makes no sense: {str(tags)[:40]!r}")
    tag = _may(fields, "tag", _text)
    return tuple(dict.fromkeys([*([tag] if tag else []), *tags]))


def _instrument(fields: Mapping[str, Any]) -> Instrument | None:
    exchange, symbol = _need(fields, "exchange", _text), _need(fields, "tradingsymbol", _text)
    try:
        return Instrument.parse(f"{exchange}:{symbol}")
    except InvalidInstrument:
        return None
