"""How far from the last price the limit is that a market order is turned into, as the broker publishes it."""

from decimal import Decimal

# Below each price the percentage, for prices up to the last band's beginning; beyond it, the last.
_BANDS = ((Decimal(100), Decimal(2)), (Decimal("Infinity"), Decimal(1)))
_LAST_BAND = Decimal("0.5")
_OPTION_BANDS = (
    (Decimal(5), Decimal(10)), (Decimal(10), Decimal(5)), (Decimal(100), Decimal(3)),
    (Decimal("Infinity"), Decimal(2)),
)  # fmt: skip
_LAST_OPTION_BAND = Decimal(1)
_LAST_BEGINS_BEYOND = Decimal(500)
# Of an option below a rupee it is a sum.
_CHEAP_OPTION = Decimal("0.10")


def distance(price: Decimal, *, is_option: bool) -> Decimal:
    """How far the limit is from a last price."""
    if is_option and price < 1:
        return _CHEAP_OPTION
    if price > _LAST_BEGINS_BEYOND:
        percent = _LAST_OPTION_BAND if is_option else _LAST_BAND
    else:
        percent = next(wide for below, wide in (_OPTION_BANDS if is_option else _BANDS) if price < below)
    return price * percent / 100
