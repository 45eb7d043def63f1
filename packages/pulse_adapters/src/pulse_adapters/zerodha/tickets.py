"""Our orders in the broker's parameters."""

from typing import Any

from pulse_adapters.real_broker.tickets import broker_quantity, plain_price
from pulse_domain.instruments import Exchange
from pulse_domain.ports.broker import OrderTicket

# Where the broker's quantity counts lots, and not units.
LOT_COUNTED = frozenset({Exchange.MCX, Exchange.CDS})


def order_fields(ticket: OrderTicket) -> dict[str, Any]:
    """The broker's parameters, but for what protects an order without a limit."""
    fields: dict[str, Any] = {
        "exchange": ticket.instrument.exchange.value,
        "tradingsymbol": ticket.instrument.symbol,
        "transaction_type": ticket.side.value,
        "quantity": broker_quantity(ticket, LOT_COUNTED),
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
