"""The dated calendars of pulse_domain.market, by instrument."""

from collections.abc import Awaitable, Callable
from datetime import date, datetime

from pulse_domain.candles import SessionHours
from pulse_domain.errors import CalendarUnknown, InvalidInstrument
from pulse_domain.instruments import Instrument
from pulse_domain.market import (
    CalendarAdditions,
    SegmentSessions,
    TradingSegment,
    market_sessions,
    trading_segment,
)
from pulse_domain.market.sessions import indian_day


class DatedCalendar:
    """additions: what an operator knows beyond the data of the release.
    closing_auction: whether a share takes part in the closing auction; without it nobody knows, and shares
        keep the hours of those that do.
    """

    def __init__(
        self,
        additions: tuple[CalendarAdditions, ...] = (),
        closing_auction: Callable[[Instrument], Awaitable[bool | None]] | None = None,
    ) -> None:
        self._sessions = market_sessions(additions)
        self._closing_auction = closing_auction
        self._hours: dict[tuple[TradingSegment, date], tuple[SessionHours, ...]] = {}

    async def sessions(self, instrument: Instrument) -> SegmentSessions:
        known = None
        if self._closing_auction is not None and instrument.exchange.is_cash:
            known = await self._closing_auction(instrument)
        return self._sessions[trading_segment(instrument, closing_auction=known)]

    def hours_at(self, instrument: Instrument, at: datetime) -> SessionHours | None:
        """The continuous session at an instant, for candles and feeds; where nobody can tell, there is none.

        Nobody is asked about the closing auction here: shares keep the hours of those that take part in it.
        """
        try:
            segment = trading_segment(instrument)
        except InvalidInstrument:
            return None
        day = indian_day(at)
        hours = self._hours.get((segment, day))
        if hours is None:
            hours = self._hours[segment, day] = self._hours_on(segment, day)
        return next((each for each in hours if each.opens <= at < each.closes), None)

    def _hours_on(self, segment: TradingSegment, day: date) -> tuple[SessionHours, ...]:
        try:
            return tuple(SessionHours(*hours) for hours in self._sessions[segment].intervals(day))
        except CalendarUnknown:
            return ()
