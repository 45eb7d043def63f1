"""Prices and instants as whole numbers, for what has to be fast, and back.

A price counts ten-thousandths of a rupee, the finest that Indian exchanges quote; an instant counts
microseconds since the Unix epoch. Nothing is rounded: what does not fit is refused.
"""

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal, InvalidOperation

from pulse_domain.errors import DomainError, InvalidPrice

PRICE_UNITS = 10_000
INDIA = timezone(timedelta(hours=5, minutes=30))

DAY_US = 86_400_000_000
_INDIA_US = 19_800_000_000  # 5 h 30 min ahead of UTC
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_IN_INDIA = _EPOCH.astimezone(INDIA)
_PAISA = PRICE_UNITS // 100
_KEPT_MAX = 100_000

_prices: dict[int, Decimal] = {}


def to_units(price: Decimal) -> int:
    """Count a price, or an amount of rupees.

    Raises:
        InvalidPrice: it is not finite, or finer than a ten-thousandth of a rupee.
    """
    try:
        units = int(scaled := price * PRICE_UNITS)
    except (InvalidOperation, ValueError, OverflowError):
        raise InvalidPrice(f"{price} is not a price") from None
    if units != scaled:
        raise InvalidPrice(f"{price} is finer than a ten-thousandth of a rupee")
    return units


def to_price(units: int) -> Decimal:
    """The price that was counted, with two decimals, or four where it needs them."""
    price = _prices.get(units)
    if price is None:
        paise, rest = divmod(units, _PAISA)
        price = Decimal(units).scaleb(-4) if rest else Decimal(paise).scaleb(-2)
        # Prices come again and again; amounts of money hardly do, and must not pile up.
        if len(_prices) < _KEPT_MAX:
            _prices[units] = price
    return price


def to_us(at: datetime) -> int:
    """Count an instant.

    Raises:
        DomainError: it has no offset from UTC.
    """
    if at.tzinfo is None:
        raise DomainError(f"{at} has no offset from UTC", field="at")
    since = at - _EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def to_time(us: int) -> datetime:
    """The instant that was counted, in Indian time."""
    return _EPOCH_IN_INDIA + timedelta(microseconds=us)


def day_end_us(us: int) -> int:
    """The midnight (Indian time) after an instant."""
    return (us + _INDIA_US) // DAY_US * DAY_US + DAY_US - _INDIA_US


def day_number(us: int) -> int:
    """Counts the days of Indian time: equal for instants of one date."""
    return (us + _INDIA_US) // DAY_US
