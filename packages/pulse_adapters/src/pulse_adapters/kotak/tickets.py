"""Our orders in the broker's parameters, and what of them it does not take."""

from decimal import Decimal

from pulse_adapters.kotak.protection import stop_limit
from pulse_adapters.kotak.wire import SEGMENTS, SIDES
from pulse_adapters.real_broker import tickets
from pulse_adapters.real_broker.tickets import broker_quantity, plain_price
from pulse_domain.errors import BrokerRejected
from pulse_domain.instruments import Exchange
from pulse_domain.orders.model import OrderType
from pulse_domain.ports.broker import OrderTicket

# Where the broker's quantity may count something else than units: what, the terms say.
LOT_COUNTED = frozenset({Exchange.MCX})
# SL-M is refused from programs: it goes out as SL.
_ORDER_TYPES = {OrderType.MARKET: "MKT", OrderType.LIMIT: "L", OrderType.SL: "SL", OrderType.SL_M: "SL"}


def check_ticket(ticket: OrderTicket) -> None:
    """Refuse what the broker does not take before it costs a request.

    Raises:
        BrokerRejected: EXCHANGE or PRICE_MISSING, and what no broker takes.
    """
    if ticket.instrument.exchange not in SEGMENTS:
        raise BrokerRejected("EXCHANGE", f"the broker takes no orders for {ticket.instrument.exchange}")
    tickets.check_ticket(ticket, LOT_COUNTED)
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
    return {
        "exchange_segment": SEGMENTS[ticket.instrument.exchange],
        "product": ticket.product.value,
        "price": price_text(limit),
        "order_type": _ORDER_TYPES[ticket.order_type],
        "quantity": str(broker_quantity(ticket, LOT_COUNTED)),
        "validity": ticket.validity.value,
        "trading_symbol": symbol,
        "transaction_type": SIDES[ticket.side],
        "trigger_price": price_text(trigger if ticket.order_type.has_trigger else None),
        "tag": ticket.tag,
    }


def price_text(price: Decimal | None) -> str:
    """Where there is none, 0 and not 0.0, which is refused."""
    return "0" if price is None else plain_price(price)
