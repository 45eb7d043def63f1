"""The broker's rows as values: orders, trades and pushed updates.

Numbers come as numbers in some rows and as text in others, and nothing is written as "NA", "--" or an empty
text.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import msgspec

from pulse_adapters.kotak.outcomes import text_code
from pulse_adapters.real_broker.calls import REJECTED
from pulse_adapters.real_broker.rows import Fields, OrderRow, TradeRow, UnreadableRow, as_text, circuits_of
from pulse_domain.errors import InvalidInstrument
from pulse_domain.instruments import Exchange, Instrument
from pulse_domain.orders.ids import BrokerOrderId
from pulse_domain.orders.model import Side
from pulse_domain.ports.broker import BrokerOrderStatus
from pulse_domain.ports.broker_reads import BrokerHolding, BrokerPosition
from pulse_domain.ports.circuit_reads import CircuitLimits
from pulse_domain.ports.market_data import Quote
from pulse_domain.units import INDIA

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
_NOTHING = ("", "NA", "--", "-")


class NeoOrder(OrderRow, frozen=True, kw_only=True):
    """order_type, validity, price, trigger_price: in the broker's codes; what a change has to repeat."""

    order_type: str | None
    validity: str | None
    price: Decimal
    trigger_price: Decimal


# What the ledger keeps of an order's row: all that is documented but who owns the account.
_KEPT = (
    "nOrdNo", "exOrdId", "ordSt", "stat", "trdSym", "sym", "tok", "exSeg", "series", "it", "trnsTp",
    "prcTp", "prod", "vldt", "qty", "fldQty", "unFldSz", "cnlQty", "dscQty", "prc", "avgPrc", "trgPrc",
    "rejRsn", "ordDtTm", "ordEntTm", "exCfmTm", "hsUpTm", "boeSec", "updRecvTm", "ordGenTp", "ordSrc",
    "GuiOrdId", "mktPro", "mktProPct", "lotSz", "brdLtQty", "tckSz", "multiplier", "precision", "genNum",
    "genDen", "prcNum", "prcDen", "expDt", "stkPrc", "optTp", "algId", "rmk", "ordModNo",
)  # fmt: skip


def read_order(row: object) -> NeoOrder:
    """Read a row of the order book, or what an order message carries.

    Raises:
        UnreadableRow: a field that is needed is missing or makes no sense.
    """
    fields = _fields(row)
    placed_at = fields.may("ordDtTm", _instant) or fields.need("ordEntTm", _instant)
    status = _STATUSES.get(fields.need("ordSt", as_text).strip().lower(), BrokerOrderStatus.PENDING)
    reason = fields.may("rejRsn", as_text)
    updates = (fields.may("exCfmTm", _instant), fields.may("updRecvTm", _epoch_ns))
    tag = fields.may("GuiOrdId", as_text)
    return NeoOrder(
        order_id=BrokerOrderId(fields.need("nOrdNo", as_text)),
        tags=(tag,) if tag else (),
        instrument=_instrument(fields),
        side=fields.need("trnsTp", lambda code: _SIDES[code]),
        quantity=fields.need("qty", _whole),
        filled_quantity=fields.need("fldQty", _whole),
        average_price=fields.may("avgPrc", _price) or Decimal(0),
        status=status,
        placed_at=placed_at,
        updated_at=max([placed_at, *filter(None, updates)]),
        reason_code=text_code(reason or "", REJECTED) if status is BrokerOrderStatus.REJECTED else None,
        reason=reason,
        words=fields.words(_KEPT),
        order_type=fields.may("prcTp", as_text),
        validity=fields.may("vldt", as_text),
        price=fields.may("prc", _price) or Decimal(0),
        trigger_price=fields.may("trgPrc", _price) or Decimal(0),
    )


def trade_order_id(row: object) -> str:
    """Whose trade it is, without a look at the rest.

    Raises:
        UnreadableRow: it does not say.
    """
    return _fields(row).need("nOrdNo", as_text)


def read_trade(row: object) -> TradeRow:
    """Read a row of the trade report.

    Raises:
        UnreadableRow: a field that is needed is missing or makes no sense.
    """
    fields = _fields(row)
    if fields.may("flDt", as_text) and fields.may("flTm", as_text):
        at = _fields({"flTm": f"{fields.get('flDt')} {fields.get('flTm')}"}).need("flTm", _instant)
    else:
        at = fields.need("exTm", _instant)
    return TradeRow(
        trade_id=fields.need("flId", _id),
        order_id=BrokerOrderId(fields.need("nOrdNo", as_text)),
        instrument=_instrument(fields),
        quantity=fields.need("fldQty", _whole),  # `qty` has been 0 here
        price=fields.need("avgPrc", _price),
        at=at,
    )


def read_message(text: str) -> tuple[str, Mapping[str, Any]]:
    """The type of a text message of the order feed, and the message.

    Raises:
        UnreadableRow: it is not a message.
    """
    try:
        message = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        raise UnreadableRow("a text message is not JSON") from None
    return _fields(message).need("type", as_text), message


def scrip_name(instrument: Instrument, token: str) -> tuple[str, str] | None:
    """Segment and number by which quotes, candles and prices know an instrument; None where they do not.

    token: as the broker's file has it, `nse_cm|1594`.
    """
    segment, _, number = token.partition("|")
    return (segment, number) if number and segment == SEGMENTS.get(instrument.exchange) else None


def quote_name(row: object) -> tuple[str, str]:
    """Segment and token of what a quote is of.

    Raises:
        UnreadableRow: it does not say.
    """
    fields = _fields(row)
    return fields.need("exchange", as_text).strip().lower(), fields.need("exchange_token", _id)


def read_quote(instrument: Instrument, row: object) -> Quote | None:
    """Read a quote; None where nobody buys or nobody sells.

    Raises:
        UnreadableRow: a field that is needed is missing or makes no sense.
    """
    fields = _fields(row)
    depth = fields.need("depth", _fields)
    bid, ask = depth.need("buy", _best_price), depth.need("sell", _best_price)
    last_price = fields.need("ltp", _price)
    if min(bid, ask, last_price) <= 0:
        return None
    return Quote(
        instrument=instrument,
        at=fields.need("lstup_time", _epoch_s),
        last_price=last_price,
        bid=bid,
        ask=ask,
        volume=fields.may("last_volume", _whole) or 0,
    )


def read_circuits(row: object) -> CircuitLimits | None:
    """The circuit limits that a quote tells; None where it has none.

    Raises:
        UnreadableRow: one of them makes no sense.
    """
    fields = _fields(row)
    return circuits_of(fields.may("low_price_range", _price), fields.may("high_price_range", _price))


def read_position(row: object) -> BrokerPosition | None:
    """Read a position; None where it is flat, or of a segment that we have no orders in.

    Raises:
        UnreadableRow: a field that is needed is missing or makes no sense.
    """
    fields = _fields(row)
    bought, sold = (
        fields.need(f"cf{side}Qty", _whole) + fields.need(f"fl{side}Qty", _whole) for side in ("Buy", "Sell")
    )
    # What one of the broker's quantity is worth at a price of one rupee.
    units = fields.need("multiplier", _price)
    for numerator, denominator in (("genNum", "genDen"), ("prcNum", "prcDen")):
        units *= fields.need(numerator, _positive) / fields.need(denominator, _positive)
    instrument = _instrument(fields)
    if bought == sold or instrument is None:
        return None
    if units != units.to_integral_value() or units <= 0:
        raise UnreadableRow(f"multiplier makes no sense: {units}")
    side, today, count = ("Buy", "buyAmt", bought) if bought > sold else ("Sell", "sellAmt", sold)
    average = (fields.need(f"cf{side}Amt", _price) + fields.need(today, _price)) / (count * units)
    return BrokerPosition(
        instrument=instrument,
        product=fields.need("prod", as_text),
        quantity=(bought - sold) * int(units),
        average_price=round(average, fields.may("precision", _whole) or 2),
    )


def read_holding(row: object) -> BrokerHolding | None:
    """As `read_position`, of holdings, which are shares."""
    fields = _fields(row)
    quantity = fields.need("quantity", _whole)
    exchange = _EXCHANGES.get(fields.need("exchangeSegment", as_text).strip().lower())
    symbol = fields.need("symbol", as_text)
    if not quantity or exchange is None:
        return None
    try:
        instrument = Instrument.parse(f"{exchange}:{symbol}")
    except InvalidInstrument:
        return None
    return BrokerHolding(
        instrument=instrument, quantity=quantity, average_price=fields.need("averagePrice", _price)
    )


def _fields(row: object) -> Fields:
    return Fields(row, _NOTHING)


def _best_price(levels: Any) -> Decimal:
    # The best comes first; an empty side has levels of 0.
    return _fields(levels[0]).need("price", _price) if levels else Decimal(0)


def _positive(value: Any) -> Decimal:
    if (number := _number(value)) <= 0:
        raise ValueError
    return number


def _epoch_s(value: Any) -> datetime:
    return datetime.fromtimestamp(_whole(value), UTC)


def _id(value: Any) -> str:
    return str(_whole(value)) if isinstance(value, int) else as_text(value)


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
    # Indian time without an offset.
    found = _is_time(as_text(value).strip())
    if found is None:
        raise ValueError
    day, month, year, hour, minute, second = found.groups()
    at = datetime(
        int(year), _MONTHS[month.lower()], int(day), int(hour), int(minute), int(second), tzinfo=INDIA
    )
    return at.astimezone(UTC)


def _epoch_ns(value: Any) -> datetime:
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise TypeError
    return datetime.fromtimestamp(int(value) // 1_000_000_000, UTC)


def _instrument(fields: Fields) -> Instrument | None:
    """As we and Kite write it: RELIANCE for RELIANCE-EQ, other series with theirs; BSE by the name alone."""
    exchange = _EXCHANGES.get(fields.need("exSeg", as_text).strip().lower())
    symbol = fields.need("trdSym", as_text)
    if exchange is None:
        return None
    if exchange is Exchange.NSE:
        symbol = symbol.removesuffix("-EQ")
    elif exchange is Exchange.BSE:
        symbol = fields.may("sym", as_text) or symbol
    try:
        return Instrument.parse(f"{exchange}:{symbol}")
    except InvalidInstrument:
        return None
