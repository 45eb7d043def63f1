"""Orders at rest, by price, so that a look at the market touches only the orders it reaches."""

from bisect import bisect_left, insort
from decimal import Decimal

from msgspec import Struct

from pulse_domain.matching.values import VenueOrder
from pulse_domain.orders.model import Side, Validity


class Working(Struct, eq=False):
    """An order at rest. `seq` is its place in time among orders of its price."""

    order: VenueOrder
    seq: int
    triggered: bool = False

    @property
    def awaits_trigger(self) -> bool:
        return self.order.order_type.has_trigger and not self.triggered


class Ladder:
    """Orders sorted by a price level and, within it, by time. The next one to be reached is the last
    of the list, so that taking it is a pop."""

    def __init__(self, *, highest_first: bool) -> None:
        self._highest_first = highest_first
        self._rows: list[tuple[Decimal, int, Working]] = []

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, level: Decimal, working: Working) -> None:
        insort(self._rows, (self._key(level), -working.seq, working))

    def remove(self, level: Decimal, working: Working) -> None:
        key: tuple[Decimal, int] = (self._key(level), -working.seq)
        del self._rows[bisect_left(self._rows, key)]  # a pair sorts just before the row that it begins

    def take(self, reach: Decimal, *, touch: bool) -> list[Working]:
        """Remove and return the orders with a level beyond `reach`, or at it where a touch is enough."""
        taken: list[Working] = []
        if self._rows:
            key = self._key(reach)
            while self._rows and (self._rows[-1][0] > key or (touch and self._rows[-1][0] == key)):
                taken.append(self._rows.pop()[2])
        return taken

    def _key(self, level: Decimal) -> Decimal:
        return level if self._highest_first else level.copy_negate()


class Book:
    """The orders of one instrument at rest."""

    def __init__(self) -> None:
        # Orders that came without a quote and meet whatever price is seen first.
        self.arrivals: list[Working] = []
        # A falling price reaches the highest buy limits and sell stops first, a rising one the lowest
        # sell limits and buy stops.
        self.limits = {Side.BUY: Ladder(highest_first=True), Side.SELL: Ladder(highest_first=False)}
        self.stops = {Side.BUY: Ladder(highest_first=False), Side.SELL: Ladder(highest_first=True)}

    def __bool__(self) -> bool:
        return bool(self.arrivals) or any(map(len, (*self.limits.values(), *self.stops.values())))

    def add(self, working: Working) -> None:
        if place := self._place(working):
            ladder, level = place
            ladder.add(level, working)
        else:
            self.arrivals.append(working)

    def remove(self, working: Working) -> None:
        if place := self._place(working):
            ladder, level = place
            ladder.remove(level, working)
        else:
            self.arrivals.remove(working)

    def take_arrivals(self) -> list[Working]:
        taken, self.arrivals = self.arrivals, []
        return taken

    def _place(self, working: Working) -> tuple[Ladder, Decimal] | None:
        order = working.order
        if working.awaits_trigger and order.trigger_price is not None:
            return self.stops[order.side], order.trigger_price
        if order.limit_price is not None and order.validity is Validity.DAY:
            return self.limits[order.side], order.limit_price
        return None
