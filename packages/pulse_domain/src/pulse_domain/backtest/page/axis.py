"""The axis of time: Indian time, without the nights and days that have no prices."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from datetime import timedelta

from pulse_domain.backtest.series import CandleSeries, TickSeries
from pulse_domain.units import INDIA, day_end_us, day_number, to_time

LINE_POINTS_MAX = 4_000
# So many charts still draw at once; beyond it the nights are too narrow to be seen.
BREAKS_MAX = 1_500

_INDIA_MS = INDIA.utcoffset(None) // timedelta(milliseconds=1)
_SHORTEST_US = 3_600_000_000
_SEAM_US = 1_000

Span = tuple[int, int]  # from, to, in us


class TimeAxis:
    """Where instants stand. Charts read time as that of Greenwich, so they are given what clocks in India show.

    breaks: what is left out: between the last price of a day and the first of the next
        day with prices, of whichever instrument, where that is more than an hour. A break begins just after
        the last price, so that this is shown.
    """

    def __init__(self, series: Iterable[CandleSeries | TickSeries]) -> None:
        days = _days(series)
        self.first_us, self.last_us = days[0][0], max(last_us for _, last_us in days)
        breaks = _breaks(days)
        self.breaks = breaks if len(breaks) <= BREAKS_MAX else []
        self._from = [first for first, _ in self.breaks]

    def place(self, us: int) -> float:
        """An instant without prices stands where they begin again, or at their end."""
        us = min(max(us, self.first_us), self.last_us)
        i = bisect_right(self._from, us) - 1
        if i >= 0 and us < self.breaks[i][1]:
            us = self.breaks[i][1]
        milliseconds, rest = divmod(us, 1_000)
        return milliseconds + _INDIA_MS + rest / 1_000 if rest else milliseconds + _INDIA_MS

    def range(self) -> list[float]:
        """All of it, and a little air for markers at the ends."""
        shown_us = self.last_us - self.first_us - sum(last - first for first, last in self.breaks)
        air = max(1, shown_us // 100_000)
        return [self.place(self.first_us) - air, self.place(self.last_us) + air]

    def range_breaks(self) -> list[dict[str, list[str]]]:
        return [{"bounds": [_written(first), _written(last)]} for first, last in self.breaks]


def lowest_and_highest(values: Sequence[float], most: int = LINE_POINTS_MAX) -> Sequence[int]:
    """Which points of a line to draw: of each stretch the lowest and the highest, and both ends."""
    n = len(values)
    if n <= most:
        return range(n)
    stretches = most // 2 - 1
    kept = {0, n - 1}
    for i in range(stretches):
        stretch = range(i * n // stretches, (i + 1) * n // stretches)
        kept.add(min(stretch, key=values.__getitem__))
        kept.add(max(stretch, key=values.__getitem__))
    return sorted(kept)


def evenly(n: int, most: int) -> Sequence[int]:
    """Which of n to draw, where each is as good as the others."""
    return range(n) if n <= most else [i * n // most for i in range(most)]


def _days(series: Iterable[CandleSeries | TickSeries]) -> list[Span]:
    """The first and last instant of every day that has prices."""
    days: dict[int, Span] = {}
    for each in series:
        times = each.start_us if isinstance(each, CandleSeries) else each.at_us
        first = 0
        while first < len(times):
            after = bisect_left(times, day_end_us(times[first]), first)
            last_us = each.end_us(after - 1) if isinstance(each, CandleSeries) else times[after - 1]
            day = day_number(times[first])
            known = days.get(day, (times[first], last_us))
            days[day] = min(known[0], times[first]), max(known[1], last_us)
            first = after
    return [days[day] for day in sorted(days)]


def _breaks(days: Sequence[Span]) -> list[Span]:
    breaks, open_until = [], days[0][1]
    for first_us, last_us in days[1:]:
        if first_us - open_until > _SHORTEST_US:
            breaks.append((open_until + _SEAM_US, first_us))
        open_until = max(open_until, last_us)
    return breaks


def _written(us: int) -> str:
    return to_time(us).replace(tzinfo=None).isoformat(" ", "milliseconds")
