"""A trading calendar on the release's own dates."""

from collections.abc import Collection

from pulse_domain.instruments import Instrument
from pulse_domain.market import SegmentSessions, market_sessions, trading_segment


class SegmentCalendar:
    """closing_auction: the shares that take part in it; all others do not."""

    def __init__(self, closing_auction: Collection[Instrument] = ()) -> None:
        self._sessions = market_sessions()
        self._closing_auction = frozenset(closing_auction)

    async def sessions(self, instrument: Instrument) -> SegmentSessions:
        in_auction = instrument in self._closing_auction
        return self._sessions[trading_segment(instrument, closing_auction=in_auction)]
