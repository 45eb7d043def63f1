"""Market protection: a market order becomes a limit order at a price that is a bit worse."""

from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

from pulse_domain.orders.model import Side


def worst_price(price: Decimal, side: Side, distance: Decimal, tick: Decimal) -> Decimal:
    """The worst price within a distance, on the tick grid; never below one tick."""
    exact = price + distance if side is Side.BUY else price - distance
    rounding = ROUND_FLOOR if side is Side.BUY else ROUND_CEILING
    return max(tick, (exact / tick).to_integral_value(rounding) * tick)
