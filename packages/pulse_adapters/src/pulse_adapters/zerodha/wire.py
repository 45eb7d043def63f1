"""The broker's rows as values: orders, trades, postbacks and text messages."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import msgspec

from pulse_adapters.real_broker.calls import REJECTED
from pulse_adapters.real_broker.rows import Fields, OrderRow, TradeRow, UnreadableRow, as_text, circuits_of
from pulse_adapters.zerodha.outcomes import text_code
from pulse_domain.errors import InvalidInstrument
from pulse_domain.instruments import Instrument
from pulse_domain.orders.ids import BrokerOrderId
from pulse_domain.orders.model import Side
from pulse_domain.ports.broker import BrokerOrderStatus
from pulse_domain.ports.broker_reads import BrokerHolding, BrokerPosition
from pulse_domain.ports.circuit_reads import CircuitLimits
from pulse_domain.ports.market_data import Quote
from pulse_domain.units import INDIA

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


# What the ledger keeps of an order's row: all that is documented but who owns the account.
_KEPT = (
    "order_id", "exchange_order_id", "parent_order_id", "status", "status_message", "status_message_raw",
    "order_timestamp", "exchange_update_timestamp", "exchange_timestamp", "variety", "modified", "exchange",
    "tradingsymbol", "instrument_token", "order_type", "transaction_type", "validity", "validity_ttl",
    "product", "quantity", "disclosed_quantity", "price", "trigger_price", "average_price",
    "filled_quantity", "unfilled_quantity", "pending_quantity", "cancelled_quantity", "auction_number",
    "market_protection", "meta", "tag", "tags",
)  # fmt: skip


def read_order(row: object) -> OrderRow:
    """Read a row of the order book or of an order's history, a postback, or what a text message carries.

    Raises:
        UnreadableRow: a field that is needed is missing or makes no sense.
    """
    fields = Fields(row)
    placed_at = fields.need("order_timestamp", _instant)
    status = _STATUSES.get(fields.need("status", as_text), BrokerOrderStatus.PENDING)
    reason = fields.may("status_message", as_text) or fields.may("status_message_raw", as_text)
    updates = (fields.may(name, _instant) for name in ("exchange_update_timestamp", "exchange_timestamp"))
    code = None
    if status is BrokerOrderStatus.REJECTED:
        code = text_code(f"{reason or ''} {fields.may('status_message_raw', as_text) or ''}", REJECTED)
    return OrderRow(
        order_id=BrokerOrderId(fields.need("order_id", as_text)),
        tags=_tags(fields),
        instrument=_instrument(fields),
        side=fields.need("transaction_type", Side),
        quantity=fields.need("quantity", _whole),
        filled_quantity=fields.need("filled_quantity", _whole),
        average_price=fields.need("average_price", _price),
        status=status,
        placed_at=placed_at,
        updated_at=max([placed_at, *filter(None, updates)]),
        reason_code=code,
        reason=reason,
        words=fields.words(_KEPT),
    )


def read_trade(row: object) -> TradeRow:
    """Read a row of an order's trades.

    Raises:
        UnreadableRow: a field that is needed is missing or makes no sense.
    """
    fields = Fields(row)
    # `order_timestamp` is a time without a day here.
    at = fields.may("fill_timestamp", _instant) or fields.need("exchange_timestamp", _instant)
    return TradeRow(
        trade_id=fields.need("trade_id", as_text),
        order_id=BrokerOrderId(fields.need("order_id", as_text)),
        instrument=_instrument(fields),
        quantity=fields.need("quantity", _whole),
        price=fields.need("average_price", _price),
        at=at,
    )


def read_message(text: str) -> tuple[str, object]:
    """The type of a text message of the ticker, and what it carries.

    Raises:
        UnreadableRow: it is not a message.
    """
    try:
        message = Fields(msgspec.json.decode(text))
    except (msgspec.DecodeError, RecursionError):
        raise UnreadableRow("a text message is not JSON") from None
    return message.need("type", as_text), message.get("data")


def read_quote(instrument: Instrument, row: object) -> Quote | None:
    """Read a quote; None where nobody buys or nobody sells.

    Raises:
        UnreadableRow: a field that is needed is missing or makes no sense.
    """
    fields = Fields(row)
    depth = fields.need("depth", Fields)
    bid, ask = depth.need("buy", _best_price), depth.need("sell", _best_price)
    last_price = fields.need("last_price", _price)
    if min(bid, ask, last_price) <= 0:
        return None
    return Quote(
        instrument=instrument,
        at=fields.need("timestamp", _instant),
        last_price=last_price,
        bid=bid,
        ask=ask,
        volume=fields.may("volume", _whole) or 0,
    )


def read_circuits(row: object) -> CircuitLimits | None:
    """The circuit limits that a quote tells; None where it has none.

    Raises:
        UnreadableRow: one of them makes no sense.
    """
    fields = Fields(row)
    return circuits_of(fields.may("lower_circuit_limit", _price), fields.may("upper_circuit_limit", _price))


def read_position(row: object) -> BrokerPosition | None:
    """Read a row of the net positions; None where it is flat, or of an exchange that we have no orders on.

    Raises:
        UnreadableRow: a field that is needed is missing or makes no sense.
    """
    fields = Fields(row)
    # Where the quantity counts lots, the multiplier says of how many units.
    quantity = fields.need("quantity", _signed) * fields.need("multiplier", _whole)
    instrument = _instrument(fields)
    if not quantity or instrument is None:
        return None
    return BrokerPosition(
        instrument=instrument,
        product=fields.need("product", as_text),
        quantity=quantity,
        average_price=fields.need("average_price", _price),
    )


def read_holding(row: object) -> BrokerHolding | None:
    """As `read_position`, of holdings."""
    fields = Fields(row)
    quantity = fields.need("quantity", _whole) + fields.need("t1_quantity", _whole)
    instrument = _instrument(fields)
    if not quantity or instrument is None:
        return None
    return BrokerHolding(
        instrument=instrument, quantity=quantity, average_price=fields.need("average_price", _price)
    )


def _best_price(levels: Any) -> Decimal:
    # The best comes first; an empty side has levels of 0.
    return Fields(levels[0]).need("price", _price) if levels else Decimal(0)


def _whole(value: Any) -> int:
    if (number := _signed(value)) < 0:
        raise ValueError
    return number


def _signed(value: Any) -> int:
    # A float without a fraction is what some JSON writers make of a whole number.
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError
    if not float(value).is_integer():
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
    # The SDK makes naive datetimes of some fields of some answers; pushes have the text, of Indian time too.
    at = value if isinstance(value, datetime) else datetime.fromisoformat(as_text(value))
    return (at.replace(tzinfo=INDIA) if at.tzinfo is None else at).astimezone(UTC)


def _tags(fields: Fields) -> tuple[str, ...]:
    tags = fields.get("tags") or ()
    if not isinstance(tags, list | tuple) or not all(isinstance(tag, str) for tag in tags):
        raise UnreadableRow(f"tags makes no sense: {str(tags)[:40]!r}")
    tag = fields.may("tag", as_text)
    return tuple(dict.fromkeys([*([tag] if tag else []), *tags]))


def _instrument(fields: Fields) -> Instrument | None:
    exchange, symbol = fields.need("exchange", as_text), fields.need("tradingsymbol", as_text)
    try:
        return Instrument.parse(f"{exchange}:{symbol}")
    except InvalidInstrument:
        return None
