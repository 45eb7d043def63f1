"""The dated calendars of pulse_domain.market, by instrument."""

from collections.abc import Awaitable, Callable

from pulse_domain.instruments import Instrument
from pulse_domain.market import CalendarAdditions, SegmentSessions, market_sessions, trading_segment


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

    async def sessions(self, instrument: Instrument) -> SegmentSessions:
        known = None
        if self._closing_auction is not None and instrument.exchange.is_cash:
            known = await self._closing_auction(instrument)
        return self._sessions[trading_segment(instrument, closing_auction=known)]
