"""What clients send: form fields, read and checked one by one."""

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from typing import TypeVar

from msgspec import Struct

from pulse_adapters.simulator.kite.errors import bad_input
from pulse_domain.instruments import Exchange
from pulse_domain.orders.model import PRICE_MAX, QUANTITY_MAX, OrderType, Product, Side, Validity

VARIETIES = ("regular", "amo", "co", "iceberg", "auction")
TAG_LENGTH_MAX = 20

_Choice = TypeVar("_Choice", bound=StrEnum)


class ProductLabel(StrEnum):
    """What a position is held as, and what the account books it as."""

    CNC = "CNC"
    NRML = "NRML"
    MIS = "MIS"
    MTF = "MTF"
    CO = "CO"

    @property
    def booked_as(self) -> Product:
        match self:
            case ProductLabel.CNC | ProductLabel.MTF:
                return Product.CNC
            case ProductLabel.NRML:
                return Product.NRML
            case _:
                return Product.MIS


class Lifetime(StrEnum):
    DAY = "DAY"
    IOC = "IOC"
    TTL = "TTL"

    @property
    def validity(self) -> Validity:
        return Validity.IOC if self is Lifetime.IOC else Validity.DAY


class OrderForm(Struct, frozen=True, kw_only=True):
    """An order as it was sent, each field by itself readable."""

    exchange: Exchange
    symbol: str
    side: Side
    order_type: OrderType
    product: ProductLabel
    quantity: int
    price: Decimal | None
    trigger_price: Decimal | None
    lifetime: Lifetime
    ttl_minutes: int
    disclosed_quantity: int
    tag: str | None
    protection: Decimal
    iceberg_legs: int
    iceberg_quantity: int
    auction_number: str | None
    autoslice: bool


def read_order(form: Mapping[str, str]) -> OrderForm:
    """Read an order; what is not known is ignored.

    Raises:
        KiteError: a field is missing or cannot be read.
    """
    tag = form.get("tag") or None
    if tag is not None and len(tag) > TAG_LENGTH_MAX:
        raise bad_input(f"Invalid `tag`. It should be at most {TAG_LENGTH_MAX} characters.")
    return OrderForm(
        exchange=choice(form, "exchange", Exchange),
        symbol=text(form, "tradingsymbol"),
        side=choice(form, "transaction_type", Side),
        order_type=choice(form, "order_type", OrderType),
        product=choice(form, "product", ProductLabel),
        quantity=whole(form, "quantity", least=1),
        price=price(form, "price"),
        trigger_price=price(form, "trigger_price"),
        lifetime=choice(form, "validity", Lifetime, Lifetime.DAY),
        ttl_minutes=whole(form, "validity_ttl", default=0),
        disclosed_quantity=whole(form, "disclosed_quantity", default=0),
        tag=tag,
        protection=protection(form) or Decimal(0),
        iceberg_legs=whole(form, "iceberg_legs", default=0),
        iceberg_quantity=whole(form, "iceberg_quantity", default=0),
        auction_number=form.get("auction_number") or None,
        autoslice=form.get("autoslice", "").lower() == "true",
    )


def text(form: Mapping[str, str], name: str) -> str:
    if not (value := form.get(name)):
        raise bad_input(f"Missing or empty field `{name}`")
    return value


def choice(form: Mapping[str, str], name: str, kind: type[_Choice], default: _Choice | None = None) -> _Choice:
    if default is not None and not form.get(name):
        return default
    value = text(form, name)
    try:
        return kind(value)
    except ValueError:
        raise bad_input(f"Invalid `{name}`.") from None


def whole(form: Mapping[str, str], name: str, *, least: int = 0, default: int | None = None) -> int:
    if default is not None and not form.get(name):
        return default
    value = text(form, name)
    if not value.isascii() or not value.isdigit() or not least <= int(value) <= QUANTITY_MAX:
        raise bad_input(f"Invalid `{name}`.")
    return int(value)


def price(form: Mapping[str, str], name: str) -> Decimal | None:
    """A price; None where it is missing or 0, which means the same."""
    value = _decimal(form, name)
    if value is not None and not 0 <= value < PRICE_MAX:
        raise bad_input(f"Invalid `{name}`.")
    return value or None


def protection(form: Mapping[str, str]) -> Decimal | None:
    value = _decimal(form, "market_protection")
    if value is not None and value != -1 and not 0 <= value <= 100:
        raise bad_input("Invalid `market_protection`.")
    return value


def _decimal(form: Mapping[str, str], name: str) -> Decimal | None:
    if not form.get(name):
        return None
    try:
        value = Decimal(form[name])
    except InvalidOperation:
        raise bad_input(f"Invalid `{name}`.") from None
    if not value.is_finite():
        raise bad_input(f"Invalid `{name}`.")
    return value
