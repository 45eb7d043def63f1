"""How much to trade, from what may be lost."""

from decimal import Decimal


def quantity_by_risk(
    *,
    equity: Decimal,
    cash: Decimal,
    price: Decimal,
    stop_distance: float,
    risk_percent: float,
    max_leverage: float,
    max_quantity: int,
    lot_size: int,
) -> int:
    """Units in whole lots, 0 where not even one fits.

    So many that a stop at `stop_distance` rupees costs `risk_percent` of the equity; at most `max_quantity`,
    and at most what `max_leverage` times the cash pays for at `price`. A price that does not move has no
    distance, and nothing is traded on it.
    """
    if stop_distance <= 0 or equity <= 0 or cash <= 0:
        return 0
    by_risk = equity * Decimal(str(risk_percent)) / 100 / Decimal(str(stop_distance))
    by_cash = cash * Decimal(str(max_leverage)) / price
    return int(min(by_risk, by_cash, Decimal(max_quantity))) // lot_size * lot_size
