"""Our orders in the broker's parameters, and what of them it does not take."""

import re
from decimal import Decimal

from pulse_adapters.kotak.protection import stop_limit
from pulse_adapters.kotak.wire import SEGMENTS, SIDES
from pulse_domain.errors import BrokerRejected
from pulse_domain.instruments import Exchange, InstrumentTerms
from pulse_domain.orders.model import OrderType, Product, Validity
from pulse_domain.ports.broker import OrderTicket

# The broker does not say what it takes: this is what everybody takes.
_is_tag = re.compile(r"[A-Za-z0-9]{1,20}").fullmatch
# SL-M is refused from programs: it goes out as SL.
_ORDER_TYPES = {OrderType.MARKET: "MKT", OrderType.LIMIT: "L", OrderType.SL: "SL", OrderType.SL_M: "SL"}


def check_ticket(ticket: OrderTicket) -> None:
    """Refuse what the broker does not take before it costs a request.

    Raises:
        BrokerRejected: TAG, EXCHANGE, EXCHANGE_PRODUCT, IOC_NOT_ON_MCX, LOT_SIZE, FREEZE_QUANTITY, TICK_SIZE or
            PRICE_MISSING.
    """
    terms, exchange = ticket.terms, ticket.instrument.exchange
    if not _is_tag(ticket.tag):
        raise BrokerRejected("TAG", "the tag must be 1 to 20 letters and digits")
    if exchange not in SEGMENTS:
        raise BrokerRejected("EXCHANGE", f"the broker takes no orders for {exchange}")
    if (ticket.product is Product.CNC) != exchange.is_cash and ticket.product is not Product.MIS:
        raise BrokerRejected("EXCHANGE_PRODUCT", f"{ticket.product} is not for {exchange}")
    if ticket.validity is Validity.IOC and exchange is Exchange.MCX:
        raise BrokerRejected("IOC_NOT_ON_MCX", "MCX takes DAY orders only")
    if ticket.quantity % terms.lot_size or ticket.quantity % units_on(exchange, terms):
        raise BrokerRejected("LOT_SIZE", f"{ticket.quantity} is not a whole number of lots")
    if terms.freeze_quantity is not None and ticket.quantity > terms.freeze_quantity:
        raise BrokerRejected(
            "FREEZE_QUANTITY", f"{ticket.quantity} is above the freeze quantity {terms.freeze_quantity}"
        )
    for price in (ticket.limit_price, ticket.trigger_price):
        if price is not None and price % terms.tick_size:
            raise BrokerRejected("TICK_SIZE", f"{price} is not a multiple of {terms.tick_size}")
    # At a price of 0 the exchange's side has put in one of its own.
    if ticket.order_type.has_limit and not (ticket.limit_price and ticket.limit_price > 0):
        raise BrokerRejected("PRICE_MISSING", "a limit order has a limit above 0")
    if ticket.order_type.has_trigger and not (ticket.trigger_price and ticket.trigger_price > 0):
        raise BrokerRejected("PRICE_MISSING", "a stop order has a trigger above 0")


def order_fields(ticket: OrderTicket, symbol: str) -> dict[str, str]:
    """The broker's parameters, all of them text. symbol: how its order calls name the instrument."""
    limit, trigger = ticket.limit_price, ticket.trigger_price
    if ticket.order_type is OrderType.SL_M:
        assert trigger is not None, "checked by check_ticket"
        limit = stop_limit(ticket.instrument, ticket.side, trigger, ticket.terms.tick_size)
    elif not ticket.order_type.has_limit:
        limit = None
    exchange = ticket.instrument.exchange
    return {
        "exchange_segment": SEGMENTS[exchange],
        "product": ticket.product.value,
        "price": plain_price(limit),
        "order_type": _ORDER_TYPES[ticket.order_type],
        "quantity": str(ticket.quantity // units_on(exchange, ticket.terms)),
        "validity": ticket.validity.value,
        "trading_symbol": symbol,
        "transaction_type": SIDES[ticket.side],
        "trigger_price": plain_price(trigger if ticket.order_type.has_trigger else None),
        "tag": ticket.tag,
    }


def is_lot_counted(exchange: Exchange) -> bool:
    """Whether the broker's quantity may count something else than units there: what, the terms say."""
    return exchange is Exchange.MCX


def units_on(exchange: Exchange, terms: InstrumentTerms) -> int:
    return terms.units_per_broker_quantity if is_lot_counted(exchange) else 1


def plain_price(price: Decimal | None) -> str:
    """Never 1E+2, nor "0.0", which is refused; and "0" where there is none."""
    return "0" if price is None else format(price.normalize(), "f")
