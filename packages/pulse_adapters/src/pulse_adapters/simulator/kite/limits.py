"""How often the API may be asked."""

from collections.abc import Callable
from datetime import datetime
from enum import StrEnum

from pulse_adapters.simulator.limits import ORDER, Limits

ORDERS_PER_MINUTE = 400
ORDERS_PER_DAY = 5000


class Bucket(StrEnum):
    ORDER = ORDER
    QUOTE = "quote"
    HISTORICAL = "historical"
    OTHER = "other"
    FREE = "free"


_PER_SECOND: dict[str, int] = {Bucket.ORDER: 10, Bucket.QUOTE: 1, Bucket.HISTORICAL: 3, Bucket.OTHER: 10}


def kite_limits(now: Callable[[], datetime], *, is_on: bool = True) -> Limits:
    """The documented ones."""
    return Limits(
        now, _PER_SECOND, orders_per_minute=ORDERS_PER_MINUTE, orders_per_day=ORDERS_PER_DAY, is_on=is_on
    )
