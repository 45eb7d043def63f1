"""Orders without a limit as orders with one, which the broker's bands around a price give."""

import re
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

from pulse_domain.instruments import Instrument
from pulse_domain.orders.model import Side


def is_option(instrument: Instrument) -> bool:
    return not instrument.exchange.is_cash and re.search(r"\d(?:CE|PE)$", instrument.symbol) is not None


def protected_limit(side: Side, price: Decimal, band: Decimal, tick_size: Decimal) -> Decimal:
    """The worst price to accept: `band` rupees away from `price`, on the tick grid, rounded away so that there
    is always room. A sale is never offered below one tick."""
    direction, rounding = (1, ROUND_CEILING) if side is Side.BUY else (-1, ROUND_FLOOR)
    ticks = ((price + direction * band) / tick_size).to_integral_value(rounding)
    return max(ticks * tick_size, tick_size)
