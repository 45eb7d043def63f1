"""How often one may ask: counted per calendar second of the server's clock, not over a sliding window."""

from collections.abc import Callable, Mapping
from datetime import date, datetime

from pulse_adapters.simulator.venue import trading_day

ORDER = "order"  # the bucket of place, modify and cancel together


class TooMany(Exception):
    """A request above a limit; a face has its own answer to it."""


class Limits:
    """The requests of one user, by bucket; what has no rate is free.

    per_second: by bucket. orders_per_minute, orders_per_day: None where there is no such limit.
    is_on: without it only what `close_second` refuses is refused.
    """

    def __init__(
        self,
        now: Callable[[], datetime],
        per_second: Mapping[str, int],
        *,
        orders_per_minute: int | None = None,
        orders_per_day: int | None = None,
        is_on: bool = True,
    ) -> None:
        self._now = now
        self._per_second = per_second
        self._per_minute = orders_per_minute
        self._per_day = orders_per_day
        self._is_on = is_on
        self._seconds: dict[str, tuple[int, int]] = {}
        self._minute = (0, 0)
        self._day = (date.min, 0)
        self._closed_second = -1

    def take(self, bucket: str) -> None:
        """Count a request.

        Raises:
            TooMany: it is one too many.
        """
        most = self._per_second.get(bucket)
        if most is None:
            return
        second = int(self._now().timestamp())
        if bucket == ORDER and second == self._closed_second:
            raise TooMany("Too many requests")
        if not self._is_on:
            return
        if bucket == ORDER and self._per_minute is not None:
            minute, in_minute = self._minute
            in_minute = in_minute + 1 if minute == second // 60 else 1
            if in_minute > self._per_minute:
                raise TooMany("Too many requests")
            self._minute = (second // 60, in_minute)
        counted, count = self._seconds.get(bucket, (0, 0))
        count = count + 1 if counted == second else 1
        self._seconds[bucket] = (second, count)
        if count > most:
            raise TooMany("Too many requests")

    def take_of_day(self, orders: int = 1) -> None:
        """Count orders to the day's cap; modifications and cancellations do not count.

        Raises:
            TooMany: the cap is reached.
        """
        today = trading_day(self._now())
        day, count = self._day
        count = count + orders if day == today else orders
        if self._is_on and self._per_day is not None and count > self._per_day:
            raise TooMany("Maximum allowed order requests exceeded.")
        self._day = (today, count)

    def close_second(self) -> None:
        """Refuse all order requests until the calendar second is over."""
        self._closed_second = int(self._now().timestamp())
