"""The volume-weighted average price of the last minute, tick by tick.

The minute ends with the latest tick of the instrument, and moves with it.

- What was traded at a tick's price is what the day's running total has grown by. Where it steps back, the
  highest total so far holds, so a tick that repeats another, or comes late with a smaller total, adds nothing.
- The first tick of a day only tells where the total stands.
- After a silence of a minute nobody knows how much of the growth is of this minute: it counts as one unit, so
  that the price is there and weighs next to nothing beside what is known.
- A tick may come late by up to a minute, and counts at its own instant.
- Where nothing was traded in the minute there is no average. But of an instrument that had no volume at all on
  the day, an index or a feed that tells none, the plain average of the minute's distinct ticks stands in.
"""

from bisect import insort
from collections import deque
from decimal import Decimal

from pulse_domain.matching import Tick
from pulse_domain.units import PRICE_UNITS, day_number, to_units, to_us

MINUTE_US = 60_000_000
_FINEST = Decimal("0.0001")


class MinuteVwap:
    """Of one instrument. `late`: ticks that came more than a minute after a later one, and changed nothing."""

    def __init__(self) -> None:
        # Instant, price and units traded at it, ascending.
        self._ticks: deque[tuple[int, int, int]] = deque()
        self._value = self._units = self._prices = 0
        self._day = -1
        self._total = 0
        self._latest_us = 0
        self._last: Tick | None = None
        self.late = 0

    @property
    def last(self) -> Tick | None:
        """The tick of the latest instant; of equal ones the one that came last."""
        return self._last

    @property
    def vwap(self) -> Decimal | None:
        """In rupees, to a ten-thousandth."""
        if self._units:
            return _average(self._value, self._units)
        return _average(self._prices, len(self._ticks)) if self._ticks and not self._total else None

    def on_tick(self, tick: Tick) -> bool:
        """Take a tick in; false where it came too late.

        Raises:
            DomainError: its price or instant cannot be counted; nothing has changed.
        """
        us, price = to_us(tick.at), to_units(tick.price)
        if self._last is not None and us <= self._latest_us - MINUTE_US:
            self.late += 1
            return False
        day = day_number(us)
        if day > self._day:
            self._begin(day, tick.volume)
            units = 0
        elif day < self._day:
            units = 0  # of a total that is over
        else:
            units = max(0, tick.volume - self._total)
            self._total = max(self._total, tick.volume)
            if units and us - self._latest_us >= MINUTE_US:
                units = 1
        self._add(us, price, units)
        if us >= self._latest_us:
            self._latest_us, self._last = us, tick
            self._forget(us - MINUTE_US)
        return True

    def _begin(self, day: int, total: int) -> None:
        self._ticks.clear()
        self._value = self._units = self._prices = 0
        self._day, self._total = day, total

    def _add(self, us: int, price: int, units: int) -> None:
        row = (us, price, units)
        if not units and any(known[:2] == row[:2] for known in _since(self._ticks, us)):
            return  # told before
        if not self._ticks or us >= self._ticks[-1][0]:
            self._ticks.append(row)
        else:
            insort(self._ticks, row)
        self._value += price * units
        self._units += units
        self._prices += price

    def _forget(self, until_us: int) -> None:
        while self._ticks and self._ticks[0][0] <= until_us:
            _, price, units = self._ticks.popleft()
            self._value -= price * units
            self._units -= units
            self._prices -= price


def _since(ticks: deque[tuple[int, int, int]], us: int) -> list[tuple[int, int, int]]:
    """Those of an instant or later ones, few as a rule."""
    found = []
    for row in reversed(ticks):
        if row[0] < us:
            break
        found.append(row)
    return found


def _average(value: int, units: int) -> Decimal:
    return (Decimal(value) / (units * PRICE_UNITS)).quantize(_FINEST)
