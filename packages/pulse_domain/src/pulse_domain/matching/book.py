"""Orders at rest, by price, so that a look at the market touches only the orders it reaches."""

from bisect import bisect_left, insort
from datetime import datetime
from decimal import Decimal
from heapq import heappop, heappush

from msgspec import Struct

from pulse_domain.matching.values import VenueOrder
from pulse_domain.orders.model import Side, Validity

_NO_LEVEL = Decimal(0)


class Working(Struct, eq=False):
    """An order at rest. `seq` is its place in time among orders of its price."""

    order: VenueOrder
    seq: int
    triggered: bool = False
    filled: int = 0
    # Still on its way to the venue.
    travels: bool = False

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

    def reaches(self, reach: Decimal, *, touch: bool) -> bool:
        """Whether the next order's level is beyond `reach`, or at it where a touch is enough."""
        if not self._rows:
            return False
        level, key = self._rows[-1][0], self._key(reach)
        return level > key or (touch and level == key)

    def pop(self) -> Working:
        return self._rows.pop()[2]

    @property
    def next_level(self) -> Decimal:
        return self._key(self._rows[-1][0])

    @property
    def next_seq(self) -> int:
        return self._rows[-1][2].seq

    def _key(self, level: Decimal) -> Decimal:
        return level if self._highest_first else level.copy_negate()


class Reach(Struct, frozen=True):
    """Where orders wait for the market; None: nowhere on that side.

    at_once: some order meets whatever price is seen next.
    falls_to, rises_to: prices at or beyond which an order is met.
    arrives_at: when the next order that is on its way reaches the venue.
    """

    at_once: bool = False
    falls_to: Decimal | None = None
    rises_to: Decimal | None = None
    arrives_at: datetime | None = None

    def __bool__(self) -> bool:
        """Whether any order works."""
        return self != NOTHING_RESTS


NOTHING_RESTS = Reach()


class Book:
    """The orders of one instrument at rest."""

    def __init__(self) -> None:
        # Orders that meet whatever price is seen next: those that wait for volume, if they must, and those
        # that get one look.
        self.market = Ladder(highest_first=True)
        self.once = Ladder(highest_first=True)
        # A falling price reaches the highest buy limits and sell stops first, a rising one the lowest
        # sell limits and buy stops.
        self.limits = {Side.BUY: Ladder(highest_first=True), Side.SELL: Ladder(highest_first=False)}
        self.stops = {Side.BUY: Ladder(highest_first=False), Side.SELL: Ladder(highest_first=True)}
        self._ladders = (self.market, self.once, *self.limits.values(), *self.stops.values())
        # Orders on their way, the earliest first. A cancelled one stays until its time has come.
        self._travelling: list[tuple[datetime, int, Working]] = []
        self._travellers = 0

    def __bool__(self) -> bool:
        return self._travellers > 0 or any(map(len, self._ladders))

    def is_idle(self, until: datetime) -> bool:
        """Whether nothing rests and nothing arrives until then."""
        if self._travelling and self._travelling[0][0] <= until:
            return False
        return not any(map(len, self._ladders))

    def reach(self) -> Reach:
        down = [ladder.next_level for ladder in (self.limits[Side.BUY], self.stops[Side.SELL]) if ladder]
        up = [ladder.next_level for ladder in (self.limits[Side.SELL], self.stops[Side.BUY]) if ladder]
        return Reach(
            at_once=bool(self.market or self.once),
            falls_to=max(down, default=None),
            rises_to=min(up, default=None),
            arrives_at=self._travelling[0][0] if self._travelling else None,
        )

    def is_out_of_reach(self, low: Decimal, high: Decimal, until: datetime) -> bool:
        """Whether no order arrives until then and none at rest is met between both prices."""
        return not (
            self.market
            or self.once
            or self.limits[Side.BUY].reaches(low, touch=True)
            or self.limits[Side.SELL].reaches(high, touch=True)
            or self.stops[Side.BUY].reaches(high, touch=True)
            or self.stops[Side.SELL].reaches(low, touch=True)
            or (self._travelling and self._travelling[0][0] <= until)
        )

    def add(self, working: Working) -> None:
        ladder, level = self._place(working)
        ladder.add(level, working)

    def remove(self, working: Working) -> None:
        if working.travels:
            working.travels = False
            self._travellers -= 1
        else:
            ladder, level = self._place(working)
            ladder.remove(level, working)

    def send(self, working: Working, due: datetime) -> None:
        """Let an order be on its way until `due`."""
        working.travels = True
        self._travellers += 1
        heappush(self._travelling, (due, working.seq, working))

    def arrived(self, by: datetime) -> list[Working]:
        """Take out those that have arrived, in the order of their arrival."""
        arrived = []
        while self._travelling and self._travelling[0][0] <= by:
            working = heappop(self._travelling)[2]
            if working.travels:
                working.travels = False
                self._travellers -= 1
                arrived.append(working)
        return arrived

    def pop_arrival(self, *, volume_left: bool) -> Working | None:
        """The next order that takes any price, by time; without volume only one that ends by not filling."""
        if self.once and not (volume_left and self.market and self.market.next_seq < self.once.next_seq):
            return self.once.pop()
        return self.market.pop() if self.market and volume_left else None

    def _place(self, working: Working) -> tuple[Ladder, Decimal]:
        order = working.order
        if working.awaits_trigger and order.trigger_price is not None:
            return self.stops[order.side], order.trigger_price
        if order.validity is Validity.IOC:
            return self.once, _NO_LEVEL
        if order.limit_price is None:
            return self.market, _NO_LEVEL
        return self.limits[order.side], order.limit_price
