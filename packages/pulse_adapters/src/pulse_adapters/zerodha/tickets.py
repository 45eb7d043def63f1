"""Our orders in the broker's parameters, and what of them it does not take."""

import re
from decimal import Decimal
from typing import Any

from pulse_adapters.zerodha.protection import is_lot_counted
from pulse_domain.errors import BrokerRejected
from pulse_domain.instruments import Exchange, InstrumentTerms
from pulse_domain.orders.model import Product, Validity
from pulse_domain.ports.broker import OrderTicket

_is_tag = re.compile(r"[A-Za-z0-9]{1,20}").fullmatch


def check_ticket(ticket: OrderTicket) -> None:
    """Refuse what the broker does not take before it costs a request.

    Raises:
        BrokerRejected: TAG, EXCHANGE_PRODUCT, IOC_NOT_ON_MCX, LOT_SIZE, FREEZE_QUANTITY or TICK_SIZE.
    """
    terms, exchange = ticket.terms, ticket.instrument.exchange
    if not _is_tag(ticket.tag):
        raise BrokerRejected("TAG", "the tag must be 1 to 20 letters and digits")
    if (ticket.product is Product.CNC) != exchange.is_cash and ticket.product is not Product.MIS:
        raise BrokerRejected("EXCHANGE_PRODUCT", f"{ticket.product} is not for {exchange}")
    if ticket.validity is Validity.IOC and exchange is Exchange.MCX:
        raise BrokerRejected("IOC_NOT_ON_MCX", "MCX takes no IOC orders from programs")
    if ticket.quantity % terms.lot_size or ticket.quantity % units_on(exchange, terms):
        raise BrokerRejected("LOT_SIZE", f"{ticket.quantity} is not a whole number of lots")
    if terms.freeze_quantity is not None and ticket.quantity > terms.freeze_quantity:
        raise BrokerRejected(
            "FREEZE_QUANTITY", f"{ticket.quantity} is above the freeze quantity {terms.freeze_quantity}"
        )
    for price in (ticket.limit_price, ticket.trigger_price):
        if price is not None and price % terms.tick_size:
            raise BrokerRejected("TICK_SIZE", f"{price} is not a multiple of {terms.tick_size}")


def order_fields(ticket: OrderTicket) -> dict[str, Any]:
    """The broker's parameters, but for what protects an order without a limit."""
    fields: dict[str, Any] = {
        "exchange": ticket.instrument.exchange.value,
        "tradingsymbol": ticket.instrument.symbol,
        "transaction_type": ticket.side.value,
        "quantity": ticket.quantity // units_on(ticket.instrument.exchange, ticket.terms),
        "product": ticket.product.value,
        "order_type": ticket.order_type.value,
        "validity": ticket.validity.value,
        "tag": ticket.tag,
    }
    if ticket.order_type.has_limit and ticket.limit_price is not None:
        fields["price"] = plain_price(ticket.limit_price)
    if ticket.order_type.has_trigger and ticket.trigger_price is not None:
        fields["trigger_price"] = plain_price(ticket.trigger_price)
    return fields


def units_on(exchange: Exchange, terms: InstrumentTerms) -> int:
    return terms.units_per_broker_quantity if is_lot_counted(exchange) else 1


def plain_price(price: Decimal) -> str:
    # Never 1E+2, nor a float's tail.
    return format(price.normalize(), "f")
