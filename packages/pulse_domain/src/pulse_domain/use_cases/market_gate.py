"""The market's rules at acceptance: what the broker takes, and whether the market is open for it.

Without rules nothing is checked: a virtual exchange trades at any hour. With them, an order outside the session
is refused, or moved to where it can be sent, as the rules say.
"""

from datetime import datetime, timedelta
from enum import StrEnum

from msgspec import Struct

from pulse_domain.errors import CalendarUnknown, MarketClosed, NotOffered
from pulse_domain.instruments import Exchange
from pulse_domain.market import (
    Action,
    BrokerCapabilities,
    MisCutoffs,
    PhaseKind,
    SegmentSessions,
    Session,
    mis_cutoff,
)
from pulse_domain.market.capabilities import DELIVERY_ONLY_SERIES
from pulse_domain.market.rules import DEFAULT_MIS_CUTOFFS
from pulse_domain.market.sessions import indian_day
from pulse_domain.orders.model import OrderRequest, Product, window
from pulse_domain.ports.trading_calendar import TradingCalendar

# A schedule is cut at the session's end only where this much of what the next session has room for is left of
# it; else it would be sent in a rush.
_CUT_TO_MIN = 0.5
# What is opened in them could not be squared off on the day.
_NOT_FOR_INTRADAY = frozenset({PhaseKind.CLOSING_AUCTION, PhaseKind.POST_CLOSE})


class OutsideSession(StrEnum):
    """What becomes of an order, or a part of its window, that lies outside the session."""

    ACCEPT = "accept"  # nothing is checked
    REJECT = "reject"
    QUEUE = "queue"  # it waits for the next opening; a window that ends too late is cut


class MarketRules(Struct, frozen=True, kw_only=True):
    """capabilities: what the broker takes; None checks nothing.
    phases: those that an order without a split may be sent in; schedules keep to the continuous session.
    unconfirmed: exchanges that take no orders until a person has confirmed how the broker counts their units.
    close_margin: how long before the end of a session the last order is sent.
    """

    outside_session: OutsideSession = OutsideSession.ACCEPT
    phases: frozenset[PhaseKind] = frozenset({PhaseKind.CONTINUOUS})
    capabilities: BrokerCapabilities | None = None
    delivery_only_series: frozenset[str] = DELIVERY_ONLY_SERIES
    mis_cutoffs: tuple[MisCutoffs, ...] = DEFAULT_MIS_CUTOFFS
    unconfirmed: frozenset[Exchange] = frozenset()
    close_margin: timedelta = timedelta(seconds=10)


class MarketGate:
    def __init__(self, rules: MarketRules | None = None, calendar: TradingCalendar | None = None) -> None:
        self._rules = rules or MarketRules()
        self._calendar = calendar

    def check_offered(self, request: OrderRequest, now: datetime) -> None:
        """Check a normalised request against what the broker takes.

        Raises:
            NotOffered: it takes no such order, or nobody has confirmed the exchange's units.
        """
        rules, exchange = self._rules, request.instrument.exchange
        if exchange in rules.unconfirmed:
            raise NotOffered(
                f"{exchange} is off until an operator has confirmed how the broker counts its units",
                field="instrument", exchange=exchange, setting="UNITS_CONFIRMED",
            )  # fmt: skip
        if rules.capabilities is not None:
            day = indian_day(request.start_at or now)
            rules.capabilities.check(request, day, delivery_only_series=rules.delivery_only_series)

    async def fit(self, request: OrderRequest, now: datetime) -> tuple[datetime, datetime] | None:
        """When the order is to be sent, where that is not simply what it asks for.

        Raises:
            MarketClosed: no session takes it; `details` carry `reason` and, where it is known, `next_open`.
        """
        rules = self._rules
        if rules.outside_session is OutsideSession.ACCEPT or self._calendar is None:
            return None
        sessions = await self._calendar.sessions(request.instrument)
        fitting = _Fitting(rules, sessions, request)
        asked = window(request, now)
        if rules.outside_session is OutsideSession.REJECT:
            fitting.check(max(asked[0], now), *asked)
            return None
        fitted = fitting.move(max(asked[0], now), asked[1] - asked[0])
        return None if fitted[0] <= max(asked[0], now) and fitted[1] >= asked[1] else fitted


def seconds_of(window: tuple[datetime, datetime] | None) -> float | None:
    return None if window is None else (window[1] - window[0]).total_seconds()


class _Fitting:
    """One request and the sessions that it may be sent in."""

    def __init__(self, rules: MarketRules, sessions: SegmentSessions, request: OrderRequest) -> None:
        self._rules = rules
        self._sessions = sessions
        self._request = request
        # A schedule keeps to the continuous session, whatever single orders may do.
        self._kinds = frozenset({PhaseKind.CONTINUOUS}) if request.split_config else rules.phases
        self._is_intraday = request.product is Product.MIS
        if self._is_intraday:
            self._kinds -= _NOT_FOR_INTRADAY

    def check(self, now: datetime, starts_at: datetime, ends_at: datetime) -> None:
        try:
            session = self._session_at(now)
        except CalendarUnknown as error:
            raise CalendarUnknown(
                error.message, **error.details, reason="unknown", **self._next_open(now)
            ) from error
        if session is None:
            raise MarketClosed(self._why(now), reason=self._reason(now), **self._next_open(now))
        last = self._last(session)
        if ends_at > last:
            minutes = max(0, int((last - starts_at).total_seconds() // 60))
            raise MarketClosed(
                f"the window ends after the session, whose last order is sent at {last.isoformat()}",
                reason="window", field="split_config.duration_minutes", session_ends_at=last.isoformat(),
                feasible_minutes=minutes, **self._next_open(now),
            )  # fmt: skip

    def move(self, begins: datetime, duration: timedelta) -> tuple[datetime, datetime]:
        """Begin where it can be sent and end with the session.

        Raises:
            CalendarUnknown: the calendar ends before a session that takes it.
        """
        try:
            session = self._session_at(begins)
        except CalendarUnknown:
            session = None
        if session is None:
            begins, session = self._next_session(begins)
            return begins, min(begins + duration, self._last(session))
        last = self._last(session)
        if begins + duration > last:
            try:
                opens, following = self._next_session(begins)
            except CalendarUnknown:
                return begins, last
            later = min(duration, self._last(following) - opens)
            if last - begins < later * _CUT_TO_MIN:
                return opens, opens + later
        return begins, min(begins + duration, last)

    def _session_at(self, instant: datetime) -> Session | None:
        """The session that takes the order at an instant."""
        session = self._sessions.session_at(instant)
        return (
            session if session is not None and self._takes(session) and instant <= self._last(session) else None
        )

    def _takes(self, session: Session) -> bool:
        return session.kind in self._kinds and session.allows(
            Action.PLACE, order_type=self._request.order_type, validity=self._request.validity
        )

    def _last(self, session: Session) -> datetime:
        """The last instant at which an order is sent in a session."""
        end = session.certain_until
        if self._is_intraday and session.kind is PhaseKind.CONTINUOUS:
            end = min(end, mis_cutoff(self._sessions.segment, session.ends_at, self._rules.mis_cutoffs))
        return end - self._rules.close_margin

    def _next_session(self, after: datetime) -> tuple[datetime, Session]:
        while True:
            after = self._sessions.next_open(after, self._kinds)
            session = self._session_at(after)
            if session is not None:
                return after, session

    def _next_open(self, after: datetime) -> dict[str, str]:
        try:
            return {"next_open": self._next_session(after)[0].isoformat()}
        except CalendarUnknown:
            return {}

    def _reason(self, instant: datetime) -> str:
        session = self._sessions.session_at(instant)
        if session is None or session.kind not in self._kinds:
            return "closed"
        return "too_late" if self._takes(session) else "order_type"

    def _why(self, instant: datetime) -> str:
        segment, request = self._sessions.segment, self._request
        match self._reason(instant):
            case "too_late" if self._is_intraday:
                return f"MIS orders in {segment} are no longer taken in this session"
            case "too_late":
                return f"the session of {segment} is about to end"
            case "order_type":
                return (
                    f"{request.order_type} {request.validity} orders are not taken in this phase of {segment}"
                )
            case _:
                return f"the market is closed for {segment}"
