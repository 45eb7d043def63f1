"""How wide market protection is here, and what the order book shows of it."""

from decimal import Decimal

AUTOMATIC = Decimal(-1)
PERCENT_MAX = Decimal(100)

# Below this price, the band in percent. As the broker's support describes it.
_BANDS = ((100, Decimal(2)), (500, Decimal(1)), (float("inf"), Decimal("0.5")))
_OPTION_BANDS = (
    (10, Decimal(5)), (100, Decimal(3)), (500, Decimal(2)), (float("inf"), Decimal(1)),
)  # fmt: skip


def band(percent: Decimal, price: Decimal, *, is_option: bool) -> Decimal:
    """The percentage that applies, where -1 asks for the automatic one."""
    if percent != AUTOMATIC:
        return percent
    bands = _OPTION_BANDS if is_option else _BANDS
    return next(wide for below, wide in bands if price < below)


def tags(percent: Decimal) -> tuple[str, str]:
    """What the order book shows of it."""
    return "mktp", f"mktp:{percent:.2f}"


def percent_of(system_tags: tuple[str, ...]) -> Decimal | None:
    """The protection that an order has been placed with."""
    for tag in system_tags:
        if tag.startswith("mktp:"):
            return Decimal(tag.removeprefix("mktp:"))
    return None
