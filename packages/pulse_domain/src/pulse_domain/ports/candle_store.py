"""Candles that are closed, kept."""

from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Protocol

from pulse_domain.candles import ClosedCandle
from pulse_domain.instruments import Instrument
from pulse_domain.matching import Candle


class CandleStore(Protocol):
    async def save(self, candles: Sequence[ClosedCandle]) -> None:
        """Store candles; one of the same instrument, minutes and start replaces what is stored. Gaps are not
        stored: they are what is missing.

        Raises:
            StorageUnavailable: perhaps they are stored: hand the same over again.
            StorageRejected: none is stored: a value is impossible.
        """
        ...

    def candles(
        self, instrument: Instrument, minutes: int, since: datetime, until: datetime
    ) -> AsyncGenerator[Sequence[Candle], None]:
        """The candles that start from `since` up to but without `until`, in runs, ascending.

        Raises:
            StorageUnavailable.
        """
        ...

    async def last_starts(
        self, instruments: Iterable[Instrument], minutes: int, since: datetime
    ) -> Mapping[Instrument, datetime]:
        """When the last candle of each begins; instruments that have none from `since` on are not there.

        Raises:
            StorageUnavailable.
        """
        ...
