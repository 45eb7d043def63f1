"""What clients send: the fields of `jData`, all of them text, read and checked one by one."""

import re
from collections.abc import Mapping
from decimal import Decimal
from enum import StrEnum
from typing import Any, TypeVar

import msgspec
from msgspec import Struct

from pulse_adapters.simulator.kotak.errors import invalid
from pulse_adapters.simulator.kotak.names import SIDES
from pulse_domain.instruments import Exchange
from pulse_domain.orders.model import PRICE_MAX, QUANTITY_MAX, OrderType, Product, Side, Validity

Fields = Mapping[str, str]

ORDER_TYPES = {
    "L": OrderType.LIMIT,
    "MKT": OrderType.MARKET,
    "SL": OrderType.SL,
    "SL-M": OrderType.SL_M,
}
ORDER_TYPE_CODES = {order_type: code for code, order_type in ORDER_TYPES.items()}
TAG_LENGTH_MAX = 100  # not documented

_is_whole = re.compile(r"[0-9]{1,10}").fullmatch
_is_price = re.compile(r"[0-9]{1,12}(\.[0-9]{1,8})?").fullmatch
_Value = TypeVar("_Value")


class ProductLabel(StrEnum):
    """What a position is held as. Bracket and cover orders are withdrawn."""

    NRML = "NRML"
    CNC = "CNC"
    MIS = "MIS"
    MTF = "MTF"

    def booked_on(self, exchange: Exchange) -> Product:
        """What the account books it as: shares that are kept are kept, whatever they are called."""
        if self is ProductLabel.MIS:
            return Product.MIS
        return Product.CNC if exchange.is_cash else Product.NRML


_PRODUCTS = {**ProductLabel.__members__, "INTRADAY": ProductLabel.MIS}
_VALIDITIES = {"DAY": Validity.DAY, "IOC": Validity.IOC}
_YES_OR_NO = {"YES": True, "NO": False}


class OrderForm(Struct, frozen=True, kw_only=True):
    """An order as it was sent, each field by itself readable. A price of None was sent as 0."""

    segment: str
    symbol: str
    side: Side
    order_type: OrderType
    product: ProductLabel
    quantity: int
    price: Decimal | None
    trigger_price: Decimal | None
    validity: Validity
    disclosed_quantity: int
    after_market: bool
    tag: str | None


class ChangeForm(Struct, frozen=True, kw_only=True):
    """A modification; what it does not mean to change, it repeats."""

    order_number: str
    order_type: OrderType
    quantity: int
    price: Decimal | None
    trigger_price: Decimal | None
    validity: Validity
    disclosed_quantity: int


def read_fields(data: bytes | str) -> dict[str, str]:
    """Read a JSON object of texts; a null counts as left out, and what is not known is ignored.

    Raises:
        NeoError: it is something else.
    """
    try:
        given: Any = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise invalid("jData") from None
    if not isinstance(given, dict):
        raise invalid("jData")
    for name, value in given.items():
        if value is not None and not isinstance(value, str):
            raise invalid(f"value of {name}: it should be a string")
    return {name: value for name, value in given.items() if value is not None}


def read_order(fields: Fields) -> OrderForm:
    """Raises NeoError where a field is missing or cannot be read."""
    tag = fields.get("ig") or None
    if tag is not None and len(tag) > TAG_LENGTH_MAX:
        raise invalid("ig")
    return OrderForm(
        segment=text(fields, "es"),
        symbol=text(fields, "ts"),
        side=choice(fields, "tt", SIDES),
        order_type=choice(fields, "pt", ORDER_TYPES),
        product=choice(fields, "pc", _PRODUCTS),
        quantity=whole(fields, "qt", least=1),
        price=price(fields, "pr"),
        trigger_price=price(fields, "tp"),
        validity=choice(fields, "rt", _VALIDITIES),
        disclosed_quantity=whole(fields, "dq"),
        after_market=choice(fields, "am", _YES_OR_NO),
        tag=tag,
    )


def read_change(fields: Fields) -> ChangeForm:
    """Raises NeoError where a field is missing or cannot be read."""
    choice(fields, "am", _YES_OR_NO)
    return ChangeForm(
        order_number=text(fields, "no"),
        order_type=choice(fields, "pt", ORDER_TYPES),
        quantity=whole(fields, "qt", least=1),
        price=price(fields, "pr"),
        trigger_price=price(fields, "tp"),
        validity=choice(fields, "vd", _VALIDITIES),
        disclosed_quantity=whole(fields, "dq"),
    )


def read_cancel(fields: Fields) -> str:
    """The order number. Raises NeoError where a field is missing."""
    if choice(fields, "am", _YES_OR_NO):
        text(fields, "ts")  # wanted of after-market orders only
    return text(fields, "on")


def text(fields: Fields, name: str) -> str:
    if not (value := fields.get(name)):
        raise invalid(f"value of {name}: it is missing")
    return value


def choice(fields: Fields, name: str, values: Mapping[str, _Value]) -> _Value:
    """One of the exact codes."""
    value = text(fields, name)
    if value not in values:
        raise invalid(f"value of {name}")
    return values[value]


def whole(fields: Fields, name: str, *, least: int = 0) -> int:
    value = text(fields, name)
    if not _is_whole(value) or not least <= int(value) <= QUANTITY_MAX:
        raise invalid("quantity")
    return int(value)


def price(fields: Fields, name: str) -> Decimal | None:
    """A price; none is written `0`, and refused as `0.0`."""
    value = text(fields, name)
    if not _is_price(value) or Decimal(value) >= PRICE_MAX or (not Decimal(value) and value != "0"):
        raise invalid(f"price {name}")
    return Decimal(value) or None
