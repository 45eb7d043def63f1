"""How often one may ask: counted per calendar second of the server's clock, not over a sliding window."""

from collections.abc import Callable
from datetime import date, datetime
from enum import StrEnum

from pulse_adapters.simulator.kite.errors import KiteError, too_many
from pulse_adapters.simulator.venue import trading_day

ORDERS_PER_MINUTE = 400
ORDERS_PER_DAY = 5000


class Bucket(StrEnum):
    ORDER = "order"  # place, modify and cancel together
    QUOTE = "quote"
    HISTORICAL = "historical"
    OTHER = "other"
    FREE = "free"


_PER_SECOND = {Bucket.ORDER: 10, Bucket.QUOTE: 1, Bucket.HISTORICAL: 3, Bucket.OTHER: 10}


class Limits:
    """`is_on`: without it only what `close_second` refuses is refused."""

    def __init__(self, now: Callable[[], datetime], *, is_on: bool = True) -> None:
        self._now = now
        self._is_on = is_on
        self._seconds: dict[Bucket, tuple[int, int]] = {}
        self._minute = (0, 0)
        self._day = (date.min, 0)
        self._closed_second = -1

    def take(self, bucket: Bucket) -> None:
        """Count a request.

        Raises:
            KiteError: it is one too many.
        """
        if bucket is Bucket.FREE:
            return
        second = int(self._now().timestamp())
        if bucket is Bucket.ORDER and second == self._closed_second:
            raise too_many()
        if not self._is_on:
            return
        if bucket is Bucket.ORDER:
            minute, in_minute = self._minute
            in_minute = in_minute + 1 if minute == second // 60 else 1
            if in_minute > ORDERS_PER_MINUTE:
                raise too_many()
            self._minute = (second // 60, in_minute)
        counted, count = self._seconds.get(bucket, (0, 0))
        count = count + 1 if counted == second else 1
        self._seconds[bucket] = (second, count)
        if count > _PER_SECOND[bucket]:
            raise too_many()

    def take_of_day(self, orders: int = 1) -> None:
        """Count orders to the day's cap; modifications and cancellations do not count.

        Raises:
            KiteError: the cap is reached.
        """
        today = trading_day(self._now())
        day, count = self._day
        count = count + orders if day == today else orders
        if self._is_on and count > ORDERS_PER_DAY:
            raise KiteError(429, "NetworkException", "Maximum allowed order requests exceeded.")
        self._day = (today, count)

    def close_second(self) -> None:
        """Refuse all order requests until the calendar second is over."""
        self._closed_second = int(self._now().timestamp())
