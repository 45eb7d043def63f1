"""Tickets with defaults, so that a test shows only what matters to it."""

import itertools
from decimal import Decimal
from typing import Any

from pulse_domain.instruments import Instrument, InstrumentTerms
from pulse_domain.orders.model import OrderType, Product, Side, Validity
from pulse_domain.ports.broker import OrderTicket

INFY = Instrument.parse("NSE:INFY")
TIMEOUT_S = 10.0

_numbers = itertools.count(1)


def ticket(**changes: Any) -> OrderTicket:
    values: dict[str, Any] = {
        "tag": f"T{next(_numbers)}",
        "instrument": INFY,
        "side": Side.BUY,
        "quantity": 10,
        "order_type": OrderType.MARKET,
        "product": Product.CNC,
        "validity": Validity.DAY,
        "limit_price": None,
        "trigger_price": None,
        "terms": InstrumentTerms(),
    }
    return OrderTicket(**(values | changes))


def limit(price: Decimal | str | int, **changes: Any) -> OrderTicket:
    return ticket(order_type=OrderType.LIMIT, limit_price=Decimal(price), **changes)
