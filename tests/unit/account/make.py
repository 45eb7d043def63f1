"""Accounts, orders and fills with defaults, so that a test shows only what matters to it."""

from collections.abc import Iterable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from pulse_domain.account import Account, AccountOrder, AccountSettings, Holding, Position
from pulse_domain.instruments import Instrument
from pulse_domain.matching import Filled
from pulse_domain.orders.model import Product, Side

AT = datetime(2026, 11, 2, 5, 0, tzinfo=UTC)
INFY = Instrument.parse("NSE:INFY")
TCS = Instrument.parse("NSE:TCS")
FUTURE = Instrument.parse("NFO:NIFTY26NOVFUT")
CALL = Instrument.parse("NFO:NIFTY26NOV26000CE")

Price = Decimal | str | int


def rupees(*amounts: Price) -> tuple[Decimal, ...]:
    return tuple([Decimal(amount) for amount in amounts])


def account(capital: Price = 100_000, holdings: Iterable[Holding] = (), **settings: Any) -> Account:
    opened = Account(AccountSettings(**settings))
    opened.open(Decimal(capital), holdings)
    return opened


def order(order_id: str, side: Side, quantity: int, price: Price, **changes: Any) -> AccountOrder:
    values: dict[str, Any] = {
        "order_id": order_id,
        "instrument": INFY,
        "side": side,
        "quantity": quantity,
        "product": Product.CNC,
        "price": Decimal(price),
    }
    return AccountOrder(**(values | changes))


def buy(order_id: str, quantity: int = 100, price: Price = 100, **changes: Any) -> AccountOrder:
    return order(order_id, Side.BUY, quantity, price, **changes)


def sell(order_id: str, quantity: int = 100, price: Price = 100, **changes: Any) -> AccountOrder:
    return order(order_id, Side.SELL, quantity, price, **changes)


def fill(order_id: str, quantity: int = 100, price: Price = 100, at: datetime = AT) -> Filled:
    return Filled(order_id=order_id, quantity=quantity, price=Decimal(price), at=at)


def trade(on: Account, asked: AccountOrder, price: Price | None = None, at: datetime = AT) -> None:
    """Block the order and fill it at once, at its own price unless another is given."""
    on.block(asked)
    on.apply_fill(fill(asked.order_id, asked.quantity, asked.price if price is None else price, at))


def position(of: Account, instrument: Instrument = INFY, product: Product = Product.CNC) -> Position:
    return of.position(instrument, product)
