"""Stop-market orders, which the broker does not take from programs, as stop-limit orders of ours.

Plain market orders it turns itself into limits within a band around the last price. For a stop the price that
counts is the trigger, so the same bands around that give the limit.
"""

from decimal import Decimal

from pulse_adapters.real_broker.protection import is_option, protected_limit
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
    """The worst price to accept once `trigger` is reached."""
    return protected_limit(side, trigger, _band(instrument, trigger), tick_size)


def _band(instrument: Instrument, price: Decimal) -> Decimal:
    if is_option(instrument) and price < _CHEAP_OPTION_BELOW:
        return _CHEAP_OPTION_BAND
    beyond, *percents = _HIGHEST
    if price <= beyond:
        _, *percents = next(band for band in _BANDS if price >= band[0])
    return price * percents[is_option(instrument)] / 100
