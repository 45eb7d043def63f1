"""What no broker takes of our orders, and what they write alike."""

import re
from decimal import Decimal

from pulse_domain.errors import BrokerRejected
from pulse_domain.instruments import Exchange
from pulse_domain.orders.model import Product, Validity
from pulse_domain.ports.broker import OrderTicket

_is_tag = re.compile(r"[A-Za-z0-9]{1,20}").fullmatch


def check_ticket(ticket: OrderTicket, lot_counted: frozenset[Exchange]) -> None:
    """Refuse what is not taken before it costs a request.

    Raises:
        BrokerRejected: TAG, EXCHANGE_PRODUCT, IOC_NOT_ON_MCX, LOT_SIZE, FREEZE_QUANTITY or TICK_SIZE.
    """
    terms, exchange = ticket.terms, ticket.instrument.exchange
    if not _is_tag(ticket.tag):
        raise BrokerRejected("TAG", "the tag must be 1 to 20 letters and digits")
    if (ticket.product is Product.CNC) != exchange.is_cash and ticket.product is not Product.MIS:
        raise BrokerRejected("EXCHANGE_PRODUCT", f"{ticket.product} is not for {exchange}")
    if ticket.validity is Validity.IOC and exchange is Exchange.MCX:
        raise BrokerRejected("IOC_NOT_ON_MCX", "MCX takes DAY orders only from programs")
    if ticket.quantity % terms.lot_size or ticket.quantity % _units(ticket, lot_counted):
        raise BrokerRejected("LOT_SIZE", f"{ticket.quantity} is not a whole number of lots")
    if terms.freeze_quantity is not None and ticket.quantity > terms.freeze_quantity:
        raise BrokerRejected(
            "FREEZE_QUANTITY", f"{ticket.quantity} is above the freeze quantity {terms.freeze_quantity}"
        )
    for price in (ticket.limit_price, ticket.trigger_price):
        if price is not None and price % terms.tick_size:
            raise BrokerRejected("TICK_SIZE", f"{price} is not a multiple of {terms.tick_size}")


def broker_quantity(ticket: OrderTicket, lot_counted: frozenset[Exchange]) -> int:
    """The quantity as the broker counts."""
    return ticket.quantity // _units(ticket, lot_counted)


def plain_price(price: Decimal) -> str:
    """Never 1E+2, nor 0.0, nor a float's tail."""
    return format(price.normalize(), "f")


def _units(ticket: OrderTicket, lot_counted: frozenset[Exchange]) -> int:
    return ticket.terms.units_per_broker_quantity if ticket.instrument.exchange in lot_counted else 1
