"""The phases of a trading day, per segment and day: intervals with the actions that each allows.

Hours are dated tables in Indian time; what they are is in `hours.py`. A phase holds from its start up to
but without its end. Where the exchange ends a phase at a random moment, `certain_until` is the last one
that can be counted on.
"""

from collections.abc import Iterable, Mapping
from datetime import date, datetime, time, timedelta
from enum import StrEnum

from msgspec import Struct

from pulse_domain.errors import CalendarUnknown
from pulse_domain.market.calendar import DayStatus, TradingDays
from pulse_domain.market.segments import TradingSegment
from pulse_domain.orders.model import OrderType, Validity
from pulse_domain.units import INDIA

_DAY = timedelta(days=1)


class Action(StrEnum):
    PLACE = "PLACE"
    MODIFY = "MODIFY"
    CANCEL = "CANCEL"
    MATCH = "MATCH"

    __hash__ = str.__hash__


ENTRY = frozenset({Action.PLACE, Action.MODIFY, Action.CANCEL})
EVERYTHING = frozenset(Action)
MATCHING = frozenset({Action.MATCH})
NOTHING: frozenset[Action] = frozenset()


class PhaseKind(StrEnum):
    PRE_OPEN = "PRE_OPEN"
    PRE_OPEN_MATCHING = "PRE_OPEN_MATCHING"
    BUFFER = "BUFFER"
    CONTINUOUS = "CONTINUOUS"
    REFERENCE_PRICE = "REFERENCE_PRICE"  # the closing auction's, being computed: orders rest, none is taken
    CLOSING_AUCTION = "CLOSING_AUCTION"
    CLOSING_MATCHING = "CLOSING_MATCHING"
    POST_CLOSE = "POST_CLOSE"  # at the closing price


class Phase(Struct, frozen=True, kw_only=True):
    """A phase of every day that a table is in force.

    random_close_from: entry may end at any moment from here on.
    order_types, validities: what may be entered; None where everything may.
    """

    kind: PhaseKind
    opens: time
    closes: time
    actions: frozenset[Action]
    random_close_from: time | None = None
    order_types: frozenset[OrderType] | None = None
    validities: frozenset[Validity] | None = None


class HoursTable(Struct, frozen=True, kw_only=True):
    """The phases from a day on, until a later table takes over.

    us_winter: the phases while the United States have winter time, where they differ.
    """

    effective_from: date
    phases: tuple[Phase, ...]
    us_winter: tuple[Phase, ...] | None = None

    def phases_on(self, day: date) -> tuple[Phase, ...]:
        if self.us_winter is not None and not is_us_summer_time(day):
            return self.us_winter
        return self.phases


class Session(Struct, frozen=True, kw_only=True):
    """A phase of one day, as instants: from `starts_at` up to but without `ends_at`."""

    kind: PhaseKind
    starts_at: datetime
    ends_at: datetime
    certain_until: datetime
    actions: frozenset[Action]
    order_types: frozenset[OrderType] | None = None
    validities: frozenset[Validity] | None = None

    def allows(
        self, action: Action, *, order_type: OrderType | None = None, validity: Validity | None = None
    ) -> bool:
        return (
            action in self.actions
            and (order_type is None or self.order_types is None or order_type in self.order_types)
            and (validity is None or self.validities is None or validity in self.validities)
        )


class SegmentSessions(Struct, frozen=True, kw_only=True):
    """When a segment trades.

    Raises, wherever a day is asked for that the calendar cannot tell:
        CalendarUnknown.
    """

    segment: TradingSegment
    calendar: TradingDays
    tables: tuple[HoursTable, ...]

    def status(self, day: date) -> DayStatus:
        if not any(table.effective_from <= day for table in self.tables):
            return DayStatus.UNKNOWN
        return self.calendar.status(day)

    def sessions(self, day: date) -> tuple[Session, ...]:
        """Every phase of a day, ascending; none where it is closed."""
        status = self.status(day)
        if status is DayStatus.UNKNOWN:
            raise CalendarUnknown(
                f"whether {self.segment} trades on {day} is not known: {self.calendar.reason(day)}",
                day=day.isoformat(), market=self.calendar.market,
            )  # fmt: skip
        if status is DayStatus.CLOSED:
            return ()
        special = self.calendar.special.get(day)
        if special is not None and special.hours is not None:
            return tuple(
                _dated(Phase(kind=PhaseKind.CONTINUOUS, opens=opens, closes=closes, actions=EVERYTHING), day)
                for opens, closes in special.hours
            )
        return tuple(_dated(phase, day) for phase in self._table(day).phases_on(day))

    def intervals(self, day: date) -> tuple[tuple[datetime, datetime], ...]:
        """The continuous sessions of a day, as `splitting.Window` takes them."""
        return tuple(
            (session.starts_at, session.ends_at)
            for session in self.sessions(day)
            if session.kind is PhaseKind.CONTINUOUS
        )

    def session_at(self, instant: datetime) -> Session | None:
        """The phase at an instant; None between them."""
        for session in self.sessions(indian_day(instant)):
            if session.starts_at <= instant < session.ends_at:
                return session
        return None

    def next_open(
        self, instant: datetime, kinds: frozenset[PhaseKind] = frozenset({PhaseKind.CONTINUOUS})
    ) -> datetime:
        """The start of the next session after an instant.

        Days that are unknown inside the calendar are passed over: this is the next opening that is certain.

        Raises:
            CalendarUnknown: the calendar ends before one.
        """
        day = indian_day(instant)
        while True:
            if self.status(day) is not DayStatus.UNKNOWN or not self.calendar.covers(day):
                for session in self.sessions(day):
                    if session.kind in kinds and session.starts_at > instant:
                        return session.starts_at
            day += _DAY

    def _table(self, day: date) -> HoursTable:
        in_force = [table for table in self.tables if table.effective_from <= day]
        return max(in_force, key=lambda table: table.effective_from)


def sessions_by_segment(
    calendars: Iterable[TradingDays],
    hours: Mapping[TradingSegment, tuple[HoursTable, ...]],
    markets: Mapping[TradingSegment, str],
) -> dict[TradingSegment, SegmentSessions]:
    """Join each segment's hours with the calendar of its market."""
    by_market = {calendar.market: calendar for calendar in calendars}
    return {
        segment: SegmentSessions(segment=segment, calendar=by_market[markets[segment]], tables=tables)
        for segment, tables in hours.items()
    }


def indian_day(instant: datetime) -> date:
    return instant.astimezone(INDIA).date()


def is_us_summer_time(day: date) -> bool:
    """Whether New York has daylight saving: from the second Sunday of March to the first of November."""
    return _sunday(day.year, 3, 2) <= day < _sunday(day.year, 11, 1)


def _sunday(year: int, month: int, number: int) -> date:
    first = date(year, month, 1)
    return first + timedelta(days=(6 - first.weekday()) % 7 + 7 * (number - 1))


def _dated(phase: Phase, day: date) -> Session:
    ends_at = datetime.combine(day, phase.closes, INDIA)
    certain = phase.random_close_from
    return Session(
        kind=phase.kind,
        starts_at=datetime.combine(day, phase.opens, INDIA),
        ends_at=ends_at,
        certain_until=ends_at if certain is None else datetime.combine(day, certain, INDIA),
        actions=phase.actions,
        order_types=phase.order_types,
        validities=phase.validities,
    )
