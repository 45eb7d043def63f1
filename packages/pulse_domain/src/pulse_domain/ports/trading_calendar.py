"""When an instrument can be traded."""

from typing import Protocol

from pulse_domain.instruments import Instrument
from pulse_domain.market import SegmentSessions


class TradingCalendar(Protocol):
    async def sessions(self, instrument: Instrument) -> SegmentSessions:
        """The sessions of the segment that an instrument belongs to.

        Where a day is not known, they say so (CalendarUnknown): it counts as closed.

        Raises:
            InvalidInstrument: there is no such instrument, or none of a known kind.
            StorageUnavailable: what decides the segment cannot be read.
        """
        ...
