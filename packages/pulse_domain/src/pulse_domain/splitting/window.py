"""The window of a schedule and its open time.

Open time is counted in whole microseconds as a row of instants, each of which is in a session and in the
window. A schedule is laid out over that row as if there were no breaks; the instants then say when. So
nothing can be due in a break, and a break moves what follows it instead of piling it up.
"""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta

from msgspec import Struct

from pulse_domain.errors import CannotSplit

_MICROSECOND = timedelta(microseconds=1)
_Span = tuple[int, int]


class OpenTime:
    """A row of instants: spans of offsets in microseconds, both ends included, ascending, apart."""

    def __init__(self, spans: Iterable[_Span]) -> None:
        self.spans = tuple(spans)
        self.firsts = [0]
        for first, last in self.spans:
            self.firsts.append(self.firsts[-1] + last - first + 1)

    def __len__(self) -> int:
        return self.firsts[-1]

    def span_of(self, instant: int) -> int:
        """Which span the n-th instant is in."""
        return bisect_right(self.firsts, instant) - 1

    def offset_us(self, instant: int) -> int:
        span = self.span_of(instant)
        return self.spans[span][0] + instant - self.firsts[span]


class Window(Struct, frozen=True):
    """When a schedule may send: from `start` to `end`, both included, and only while a session is open.

    sessions: (start, end) of each, the end not included; in any order, and what overlaps counts once.
        None where the market never closes.

    Raises:
        CannotSplit: a time without an offset from UTC, or an end before its start.
    """

    start: datetime
    end: datetime
    sessions: Sequence[tuple[datetime, datetime]] | None = None

    def __post_init__(self) -> None:
        if self.start.utcoffset() is None or self.end.utcoffset() is None:
            raise CannotSplit("start and end of a window need an offset from UTC")
        if self.duration_us < 0:
            raise CannotSplit("a window must not end before it starts", start=self.start, end=self.end)
        for row, (start, end) in enumerate(self.sessions or (), start=1):
            if start.utcoffset() is None or end.utcoffset() is None:
                raise CannotSplit(f"start and end of session {row} need an offset from UTC", row=row)
            if microseconds(start, end) <= 0:
                raise CannotSplit(f"session {row} must end after it starts", row=row)

    @property
    def duration_us(self) -> int:
        return microseconds(self.start, self.end)

    def at(self, offset_us: int) -> datetime:
        """Give the instant of an offset, with the offset from UTC that `start` has."""
        return (self.start.astimezone(UTC) + offset_us * _MICROSECOND).astimezone(self.start.tzinfo)

    def open_time(self) -> OpenTime:
        """Give the instants at which something may be due.

        Raises:
            CannotSplit: there is none.
        """
        if self.sessions is None:
            return OpenTime([(0, self.duration_us)])
        spans, last = [], -1
        for start, end in sorted(
            (microseconds(self.start, start), microseconds(self.start, end)) for start, end in self.sessions
        ):
            first = max(start, last + 1)
            last = max(last, min(end - 1, self.duration_us))
            if first <= last:
                spans.append((first, last))
        if not spans:
            raise CannotSplit("no session is open in the window", start=self.start, end=self.end)
        return OpenTime(spans)


def microseconds(start: datetime, end: datetime) -> int:
    # By UTC: between two times of one zone Python counts what the clock on the wall shows.
    return (end.astimezone(UTC) - start.astimezone(UTC)) // _MICROSECOND
