"""Which days a market trades: dated data with a first and a last day that it speaks for.

Outside of those, and where it is known that something happens but not when, the answer is UNKNOWN. Nothing
here ever guesses that a weekday is open.
"""

from collections.abc import Iterable, Mapping
from datetime import date, time
from enum import StrEnum
from itertools import pairwise

from msgspec import Struct
from msgspec.structs import replace

from pulse_domain.errors import InvalidSettings

Hours = tuple[tuple[time, time], ...]

_SATURDAY = 5


class DayStatus(StrEnum):
    OPEN = "OPEN"
    CLOSED = "CLOSED"
    UNKNOWN = "UNKNOWN"


class SpecialDay(Struct, frozen=True, kw_only=True):
    """A day with hours of its own, in Indian time: a weekend session, a half day, an hour in the evening.

    hours: (open, close) of each session, ascending; None where they are not known here.
    usual_hours: the day trades as any other, though a weekday's rule would say closed.
    """

    note: str
    hours: Hours | None = None
    usual_hours: bool = False

    def __post_init__(self) -> None:
        edges = [edge for session in self.hours or () for edge in session]
        if any(edge.tzinfo is not None for edge in edges):
            raise InvalidSettings("the hours of a special day are Indian times, without an offset")
        if any(later <= earlier for earlier, later in pairwise(edges)):
            raise InvalidSettings("the sessions of a special day must ascend and not touch", field="sessions")
        if self.usual_hours and self.hours is not None:
            raise InvalidSettings("a special day has the usual hours or its own, not both", field="sessions")

    @property
    def status(self) -> DayStatus:
        if self.usual_hours or self.hours:
            return DayStatus.OPEN
        return DayStatus.UNKNOWN if self.hours is None else DayStatus.CLOSED


class CalendarAdditions(Struct, frozen=True, kw_only=True):
    """What an operator knows beyond the data in this package: next year's list, hours announced late.

    sessions: the hours of a day, in place of what was known of it; an empty list closes it.
    covered_from: only for a market whose own data speak for no day at all.
    """

    market: str
    covered_from: date | None = None
    covered_to: date | None = None
    holidays: frozenset[date] = frozenset()
    sessions: Mapping[date, Hours] = {}


class TradingDays(Struct, frozen=True, kw_only=True):
    """The days of one market. `covered_from` and `covered_to` are both included.

    holidays: weekdays without trading, and why.
    uncertain: days of which the sources do not say enough, and why.
    """

    market: str
    covered_from: date
    covered_to: date
    holidays: Mapping[date, str] = {}
    special: Mapping[date, SpecialDay] = {}
    uncertain: Mapping[date, str] = {}

    def covers(self, day: date) -> bool:
        return self.covered_from <= day <= self.covered_to

    def status(self, day: date) -> DayStatus:
        """Whether there is trading on a day. UNKNOWN must be treated as closed by whoever sends orders."""
        if not self.covers(day):
            return DayStatus.UNKNOWN
        special = self.special.get(day)
        if special is not None:
            return special.status
        if day in self.uncertain:
            return DayStatus.UNKNOWN
        closed = day in self.holidays or day.weekday() >= _SATURDAY
        return DayStatus.CLOSED if closed else DayStatus.OPEN

    def reason(self, day: date) -> str:
        """Why a day is not like others; empty for one that is."""
        if day > self.covered_to:
            return f"the {self.market} calendar ends on {self.covered_to}"
        if day < self.covered_from:
            return f"the {self.market} calendar begins on {self.covered_from}"
        if day in self.special:
            return self.special[day].note
        if day in self.uncertain:
            return self.uncertain[day]
        if day in self.holidays:
            return self.holidays[day]
        return "weekend" if day.weekday() >= _SATURDAY else ""

    def with_additions(self, additions: Iterable[CalendarAdditions]) -> "TradingDays":
        """The calendar with what an operator added for its market; the later of two additions holds.

        Raises:
            InvalidSettings: they would shorten the calendar, leave a gap, or name days that it does not cover.
        """
        calendar = self
        for added in additions:
            if added.market == self.market:
                calendar = calendar._with(added)
        return calendar

    def _with(self, added: CalendarAdditions) -> "TradingDays":
        first, last = self.covered_from, added.covered_to or self.covered_to
        if last < self.covered_to:
            raise InvalidSettings(f"the {self.market} calendar already covers {self.covered_to}")
        if self.covered_to < self.covered_from:
            first = added.covered_from or first
        elif added.covered_from is not None:
            raise InvalidSettings(f"the {self.market} calendar has its own covered_from, {self.covered_from}")
        named = [*added.holidays, *added.sessions]
        if any(not first <= day <= last for day in named):
            raise InvalidSettings(
                f"days named for the {self.market} calendar must be within {first} and {last}: set covered_to"
            )
        if last > self.covered_to and not added.holidays:
            # A year without a holiday is a list that was forgotten.
            raise InvalidSettings(f"covered_to of the {self.market} calendar needs the holidays up to it")
        return replace(
            self,
            covered_from=first,
            covered_to=last,
            holidays={**self.holidays, **dict.fromkeys(added.holidays, "holiday (configured)")},
            special={day: special for day, special in self.special.items() if day not in added.holidays}
            | {day: SpecialDay(note="configured", hours=hours) for day, hours in added.sessions.items()},
            uncertain={day: why for day, why in self.uncertain.items() if day not in added.holidays},
        )
