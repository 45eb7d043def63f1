"""The broker's rows as values: orders, trades and pushed updates.

Numbers come as numbers in some rows and as text in others, and nothing is written as "NA", "--" or an empty
text. Fields that are not known here are ignored. A field that is needed and is not there, or makes no sense,
is an `UnreadableRow` that names it.
"""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal, InvalidOperation
from typing import Any, TypeVar

import msgspec
from msgspec import Struct

from pulse_adapters.kotak.outcomes import REJECTED, text_code
from pulse_domain.errors import InvalidInstrument
from pulse_domain.instruments import Exchange, Instrument
from pulse_domain.orders.events import Fill
from pulse_domain.orders.ids import BrokerOrderId
from pulse_domain.orders.model import Side
from pulse_domain.ports.broker import BrokerOrder, BrokerOrderStatus

T = TypeVar("T")

SEGMENTS = {
    Exchange.NSE: "nse_cm",
    Exchange.BSE: "bse_cm",
    Exchange.NFO: "nse_fo",
    Exchange.BFO: "bse_fo",
    Exchange.MCX: "mcx_fo",
}
_EXCHANGES = {segment: exchange for exchange, segment in SEGMENTS.items()}
SIDES = {Side.BUY: "B", Side.SELL: "S"}
_SIDES = {code: side for side, code in SIDES.items()}

# The broker writes Indian time without an offset.
_IST = timezone(timedelta(hours=5, minutes=30))
_MONTHS = {
    name: number
    for number, name in enumerate(
        ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"), start=1
    )
}
_is_time = re.compile(r"(\d{1,2})-([A-Za-z]{3})-(\d{4}) (\d{2}):(\d{2}):(\d{2})").fullmatch

# Free text, and new ones appear. Whatever is not listed is on its way somewhere, and says nothing that could be
# acted on: PENDING. That holds for "modified" too, which may rest or wait for a trigger.
_STATUSES = {
    "open": BrokerOrderStatus.OPEN,
    "trigger pending": BrokerOrderStatus.TRIGGER_PENDING,
    "complete": BrokerOrderStatus.COMPLETE,
    "traded": BrokerOrderStatus.COMPLETE,
    "cancelled": BrokerOrderStatus.CANCELLED,
    "cancelled after market order": BrokerOrderStatus.CANCELLED,
    "rejected": BrokerOrderStatus.REJECTED,
}
_ENDED = frozenset({BrokerOrderStatus.COMPLETE, BrokerOrderStatus.CANCELLED, BrokerOrderStatus.REJECTED})
_NOTHING = (None, "", "NA", "--", "-")


class UnreadableRow(ValueError):
    """A row lacks a field that is needed, or has nonsense in one."""


class NeoOrder(Struct, frozen=True, kw_only=True):
    """An order as the broker counts: `quantity` and `filled_quantity` may be lots.

    instrument: None where it is of a segment or in a spelling that we have no orders in.
    updated_at: the latest instant that the row tells of.
    order_type, validity, price, trigger_price: in the broker's codes; what a change has to repeat.
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
    order_type: str | None
    validity: str | None
    price: Decimal
    trigger_price: Decimal

    @property
    def has_ended(self) -> bool:
        return self.status in _ENDED

    def in_units(self, units: int) -> BrokerOrder:
        """The order as the domain counts. units: what one of the broker's quantity stands for."""
        assert self.instrument is not None, "an order of a foreign segment is none of ours"
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


class NeoTrade(Struct, frozen=True, kw_only=True):
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


def read_order(row: object) -> NeoOrder:
    """Read a row of the order book, or what an order message carries.

    Raises:
        UnreadableRow: see the module.
    """
    fields = _fields(row)
    placed_at = _may(fields, "ordDtTm", _instant) or _need(fields, "ordEntTm", _instant)
    status = _STATUSES.get(_need(fields, "ordSt", _text).strip().lower(), BrokerOrderStatus.PENDING)
    reason = _may(fields, "rejRsn", _text)
    updates = (_may(fields, "exCfmTm", _instant), _may(fields, "updRecvTm", _epoch_ns))
    tag = _may(fields, "GuiOrdId", _text)
    return NeoOrder(
        order_id=BrokerOrderId(_need(fields, "nOrdNo", _text)),
        tags=(tag,) if tag else (),
        instrument=_instrument(fields),
        side=_need(fields, "trnsTp", lambda code: _SIDES[code]),
        quantity=_need(fields, "qty", _whole),
        filled_quantity=_need(fields, "fldQty", _whole),
        average_price=_may(fields, "avgPrc", _price) or Decimal(0),
        status=status,
        placed_at=placed_at,
        updated_at=max([placed_at, *filter(None, updates)]),
        reason_code=text_code(reason or "", REJECTED) if status is BrokerOrderStatus.REJECTED else None,
        reason=reason,
        order_type=_may(fields, "prcTp", _text),
        validity=_may(fields, "vldt", _text),
        price=_may(fields, "prc", _price) or Decimal(0),
        trigger_price=_may(fields, "trgPrc", _price) or Decimal(0),
    )


def trade_order_id(row: object) -> str:
    """Whose trade it is, without a look at the rest.

    Raises:
        UnreadableRow: it does not say.
    """
    return _need(_fields(row), "nOrdNo", _text)


def read_trade(row: object) -> NeoTrade:
    """Read a row of the trade report.

    Raises:
        UnreadableRow: see the module.
    """
    fields = _fields(row)
    if _may(fields, "flDt", _text) and _may(fields, "flTm", _text):
        at = _need({"flTm": f"{fields['flDt']} {fields['flTm']}"}, "flTm", _instant)
    else:
        at = _need(fields, "exTm", _instant)
    return NeoTrade(
        trade_id=_need(fields, "flId", _id),
        order_id=BrokerOrderId(_need(fields, "nOrdNo", _text)),
        instrument=_instrument(fields),
        quantity=_need(fields, "fldQty", _whole),  # `qty` has been 0 here
        price=_need(fields, "avgPrc", _price),
        at=at,
    )


def read_message(text: str) -> tuple[str, Mapping[str, Any]]:
    """The type of a text message of the order feed, and the message.

    Raises:
        UnreadableRow: it is not a message.
    """
    try:
        message = _fields(msgspec.json.decode(text))
    except (msgspec.DecodeError, RecursionError):
        raise UnreadableRow("a text message is not JSON") from None
    return _need(message, "type", _text), message


def _fields(row: object) -> Mapping[str, Any]:
    if not isinstance(row, Mapping):
        raise UnreadableRow(f"a row is of type {type(row).__name__}")
    return row


def _need(fields: Mapping[str, Any], name: str, read: Callable[[Any], T]) -> T:
    value = fields.get(name)
    if value in _NOTHING:
        raise UnreadableRow(f"{name} is missing")
    try:
        return read(value)
    except (ValueError, TypeError, KeyError, InvalidOperation, OverflowError):
        raise UnreadableRow(f"{name} makes no sense: {str(value)[:40]!r}") from None


def _may(fields: Mapping[str, Any], name: str, read: Callable[[Any], T]) -> T | None:
    return None if fields.get(name) in _NOTHING else _need(fields, name, read)


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError
    return value


def _id(value: Any) -> str:
    return str(_whole(value)) if isinstance(value, int) else _text(value)


def _number(value: Any) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise TypeError
    # A float through its shortest text: the number that the broker wrote, and not its binary neighbour.
    number = Decimal(str(value).strip())
    if not number.is_finite() or abs(number) >= 10**12:
        raise ValueError
    return number


def _whole(value: Any) -> int:
    number = _number(value)
    if number != number.to_integral_value() or number < 0:
        raise ValueError
    return int(number)


def _price(value: Any) -> Decimal:
    return _number(value)


def _instant(value: Any) -> datetime:
    found = _is_time(_text(value).strip())
    if found is None:
        raise ValueError
    day, month, year, hour, minute, second = found.groups()
    at = datetime(int(year), _MONTHS[month.lower()], int(day), int(hour), int(minute), int(second), tzinfo=_IST)
    return at.astimezone(UTC)


def _epoch_ns(value: Any) -> datetime:
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise TypeError
    return datetime.fromtimestamp(int(value) // 1_000_000_000, UTC)


def _instrument(fields: Mapping[str, Any]) -> Instrument | None:
    """As we and Kite write it: RELIANCE for RELIANCE-EQ, other series with theirs; BSE by the name alone."""
    exchange = _EXCHANGES.get(_need(fields, "exSeg", _text).strip().lower())
    symbol = _need(fields, "trdSym", _text)
    if exchange is None:
        return None
    if exchange is Exchange.NSE:
        symbol = symbol.removesuffix("-EQ")
    elif exchange is Exchange.BSE:
        symbol = _may(fields, "sym", _text) or symbol
    try:
        return Instrument.parse(f"{exchange}:{symbol}")
    except InvalidInstrument:
        return None
