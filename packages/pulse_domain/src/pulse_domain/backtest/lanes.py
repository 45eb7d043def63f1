"""One instrument's market data on its way through a run, and the orders that wait for it.

A look at the market costs something only where an order waits for it. `next_look` finds the next row that
one does; a lane that is `listened` to is gone through row by row, as a strategy hears of each.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from sys import maxsize

from pulse_domain.backtest.series import CandleSeries, TickSeries
from pulse_domain.backtest.tracking import Sent
from pulse_domain.matching import MatchingEngine, Reach, Result
from pulse_domain.units import DAY_US, to_units, to_us

NEVER = maxsize
_NEIGHBOURHOOD = 64


class _Lane:
    """What candles and ticks share. Prices in units.

    resting: whether the engine holds orders of the instrument.
    wake: the row that will be worked on next, where not every one is.
    waiting: those that take the open of the first candle from when they were sent on; none with ticks.
    is_daily: whether a candle is a day or more. An order lives until the end of the next one, then: its day
        of the calendar would end before or between them.
    alive: those that end with a candle and not with the day, by when they were sent.
    """

    __slots__ = (
        "alive", "arrives_us", "at_once", "engine", "falls_to", "instrument", "is_daily", "listened", "number",
        "resting", "rises_to", "waiting", "wake",
    )  # fmt: skip

    def __init__(
        self, number: int, series: CandleSeries | TickSeries, engine: MatchingEngine, *, listened: bool
    ) -> None:
        self.number = number
        self.instrument = series.instrument
        self.engine = engine
        self.listened = listened
        self.wake = NEVER
        self.is_daily = isinstance(series, CandleSeries) and series.interval_us >= DAY_US
        self.alive: list[Sent] = []
        self.waiting: list[Sent] = []
        self.note()

    def note(self) -> None:
        """Ask the engine what its orders wait for; needed whenever they have changed."""
        reach: Reach = self.engine.reach(self.instrument)
        self.resting = bool(reach)
        self.at_once = reach.at_once
        self.falls_to = -1 if reach.falls_to is None else to_units(reach.falls_to)
        self.rises_to = NEVER if reach.rises_to is None else to_units(reach.rises_to)
        self.arrives_us = NEVER if reach.arrives_at is None else to_us(reach.arrives_at)


class CandleLane(_Lane):
    """Candles, each worked on at its end."""

    __slots__ = (
        "_asked_us", "_interval_us", "_meets_close", "_opening", "_processed", "_rows", "close", "high", "low",
        "open", "series", "start",
    )  # fmt: skip

    def __init__(
        self, number: int, series: CandleSeries, engine: MatchingEngine, *, listened: bool, meets_close: bool
    ) -> None:
        super().__init__(number, series, engine, listened=listened)
        self.series = series
        self.start = series.start_us
        self.open, self.high, self.low, self.close = series.open, series.high, series.low, series.close
        self._meets_close = meets_close
        self._processed = -1
        self._opening = 0
        self._asked_us = NEVER
        self._rows = len(series)
        self._interval_us = series.interval_us

    @property
    def times(self) -> Sequence[int]:
        return self.start

    @property
    def first_us(self) -> int:
        return self.start[0]

    @property
    def last_us(self) -> int:
        """When the data ends."""
        return self.due_us(len(self.start) - 1)

    @property
    def over_us(self) -> int:
        """From when on nothing is met any more."""
        return self.last_us

    def next_us(self, now_us: int) -> int:
        """When the next candle opens that opens now or later; NEVER where none does."""
        i = self.opening_from(now_us)
        return i if i == NEVER else self.start[i]

    def opened_by(self, now_us: int, since_us: int = 0) -> int:
        """The candle that is open, was before now, and began at `since_us` or later; NEVER where none is."""
        i = self._opening_from(now_us) - 1
        return i if i >= 0 and self.due_us(i) > now_us and self.start[i] >= since_us else NEVER

    def due_us(self, i: int) -> int:
        """When a row is worked on: a candle at its end."""
        start = self.start
        end_us = start[i] + self._interval_us
        return start[i + 1] if i + 1 < len(start) and start[i + 1] < end_us else end_us

    def ends(self) -> list[int]:
        """When each candle ends."""
        start, interval_us = self.start, self._interval_us
        ends = list(map(interval_us.__add__, start))
        if self.series.overlaps():
            ends = [min(end, after) for end, after in zip(ends, [*start[1:], ends[-1]], strict=True)]
        return ends

    def opening_from(self, now_us: int) -> int:
        """The first candle that opens now or later; NEVER where none does."""
        i = self._opening if now_us == self._asked_us else self._opening_from(now_us)
        return i if i < self._rows else NEVER

    def _opening_from(self, now_us: int) -> int:
        # Time seldom jumps, and hardly ever back: what is looked for is near what was found last.
        start, near = self.start, self._opening
        if near and start[near - 1] >= now_us:
            near = 0
        far = near + _NEIGHBOURHOOD
        if far > self._rows:
            far = self._rows
        i = bisect_left(start, now_us, near, far)
        if i == far:
            i = bisect_left(start, now_us, far)
        self._opening, self._asked_us = i, now_us
        return i

    def last_price(self, now_us: int) -> int:
        """The last one known: a close, the open of the candle that is open, or the first open of all.

        A candle that opens at this very instant tells nothing yet: what is decided now, is decided before.
        """
        i = self._opening_from(now_us)
        if not i:
            return self.open[0]
        start = self.start
        has_ended = start[i - 1] + self._interval_us <= now_us or (i < self._rows and start[i] == now_us)
        return self.close[i - 1] if has_ended else self.open[i - 1]

    @property
    def final_price(self) -> int:
        return self.close[-1]

    def next_look(self, now_us: int) -> int:
        """The next candle that an order waits for, of those that have not ended; NEVER where there is none."""
        first = self._opening_from(now_us)
        if first and self.due_us(first - 1) > now_us:
            first -= 1
        n = len(self.start)
        last = n
        for sent in (self.waiting, self.alive):
            if sent:
                last = min(last, max(first, self._opening_from(sent[0][0])))
        if self.resting:
            low, high, falls_to, rises_to = self.low, self.high, self.falls_to, self.rises_to
            i = first
            while i < last and not (low[i] <= falls_to or high[i] >= rises_to or self._is_due(i)):
                i += 1
            last = i
        return last if last < n else NEVER

    def wants(self, i: int) -> bool:
        """Whether one of the engine's orders may meet a candle."""
        return self.low[i] <= self.falls_to or self.high[i] >= self.rises_to or self._is_due(i)

    def process(self, i: int) -> tuple[Result, ...]:
        """Let the engine work on a candle."""
        self._processed = i
        return self.engine.process_candle(self.series[i])

    def settle(self, now_us: int) -> None:
        """Let the engine know the candle that has ended last, if an order may still meet its close."""
        if not self._meets_close:
            return
        i = bisect_right(self.start, now_us) - 1
        if i >= 0 and self.due_us(i) > now_us:
            i -= 1
        if i > self._processed:
            # Nobody waited for it, or it would have been worked on.
            self.process(i)

    def _is_due(self, i: int) -> bool:
        if self.at_once:
            return True
        return self.arrives_us <= (self.due_us(i) if self._meets_close else self.start[i])


class TickLane(_Lane):
    """Ticks of equal times are worked on in their order; `passed` counts those that have been.

    every: whether the engine must see each of them.
    """

    __slots__ = ("at", "every", "passed", "price", "series")

    def __init__(
        self, number: int, series: TickSeries, engine: MatchingEngine, *, listened: bool, every: bool
    ) -> None:
        super().__init__(number, series, engine, listened=listened or every)
        self.every = every
        self.series = series
        self.at, self.price = series.at_us, series.price
        self.passed = 0

    @property
    def times(self) -> Sequence[int]:
        return self.at

    @property
    def first_us(self) -> int:
        return self.at[0]

    @property
    def last_us(self) -> int:
        """When the data ends."""
        return self.at[-1]

    @property
    def over_us(self) -> int:
        """From when on nothing is met any more: what is due at the last tick's time still meets it."""
        return self.at[-1] + 1

    def next_us(self, now_us: int) -> int:
        """The time of the next tick from now on; NEVER where there is none."""
        i = bisect_left(self.at, now_us)
        return self.at[i] if i < len(self.at) else NEVER

    def due_us(self, i: int) -> int:
        """When a row is worked on."""
        return self.at[i]

    def last_price(self, now_us: int) -> int:
        """The last one known, or the first of all; a tick of this very instant only once it was worked on."""
        return self.price[max(0, max(self.passed, bisect_left(self.at, now_us)) - 1)]

    @property
    def final_price(self) -> int:
        return self.price[-1]

    def next_look(self, now_us: int) -> int:
        """The next tick, where an order waits for one; NEVER where there is none."""
        i = max(self.passed, bisect_left(self.at, now_us))
        return i if self.resting and i < len(self.at) else NEVER

    def process(self, i: int) -> tuple[Result, ...]:
        """Let the engine work on a tick."""
        return self.engine.process_tick(self.series[i])


Lane = CandleLane | TickLane
