"""Stop-market orders, which the broker does not take from programs, as stop-limit orders of ours.

Plain market orders it turns itself into limits within a band around the last price. For a stop the price that
counts is the trigger, so the same bands around that give the limit.
"""

import re
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

from pulse_domain.instruments import Instrument
from pulse_domain.orders.model import Side

# From a price on, the percentage away from it, of shares and futures and of options; as the broker has
# published them, from 2026-04-01 on. Only the highest begins beyond its price.
_BANDS = (
    (Decimal(100), Decimal(1), Decimal(2)),
    (Decimal(10), Decimal(2), Decimal(3)),
    (Decimal(5), Decimal(2), Decimal(5)),
    (Decimal(0), Decimal(2), Decimal(10)),
)
_HIGHEST = (Decimal(500), Decimal("0.5"), Decimal(1))
# Below a rupee an option's band is a sum, and no share.
_CHEAP_OPTION_BELOW = Decimal(1)
_CHEAP_OPTION_BAND = Decimal("0.10")


def stop_limit(instrument: Instrument, side: Side, trigger: Decimal, tick_size: Decimal) -> Decimal:
    """The worst price to accept once `trigger` is reached, on the tick grid, rounded away from it so that there
    is always room. A sale is never offered below one tick."""
    direction, rounding = (1, ROUND_CEILING) if side is Side.BUY else (-1, ROUND_FLOOR)
    exact = trigger + direction * _band(instrument, trigger)
    ticks = (exact / tick_size).to_integral_value(rounding)
    return max(ticks * tick_size, tick_size)


def _band(instrument: Instrument, price: Decimal) -> Decimal:
    is_option = not instrument.exchange.is_cash and re.search(r"\d(?:CE|PE)$", instrument.symbol) is not None
    if is_option and price < _CHEAP_OPTION_BELOW:
        return _CHEAP_OPTION_BAND
    beyond, *percents = _HIGHEST
    if price <= beyond:
        _, *percents = next(band for band in _BANDS if price >= band[0])
    return price * percents[is_option] / 100
