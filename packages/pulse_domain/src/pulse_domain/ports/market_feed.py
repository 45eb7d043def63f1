"""Prices as they happen: what a broker's socket, a recording or a generator gives."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Protocol

from msgspec import Struct

from pulse_domain.candles import ClosedCandle
from pulse_domain.instruments import Instrument
from pulse_domain.matching import Tick


class FeedGap(Struct, frozen=True, kw_only=True):
    """Nothing came of these instruments from `since` to `until`, by the times of the ticks before and after.

    reason: silent, lost (the connection), refused (by the other side), or unwatched: nobody took prices, as
        before a restart; it begins where the candles of the day end, and ends with the first tick, or when one
        could come, whatever is later.
    """

    instruments: tuple[Instrument, ...]
    since: datetime
    until: datetime
    reason: str


class FeedSink(Protocol):
    """Who takes what a feed gives; its methods return at once and never raise."""

    def ticks(self, ticks: Sequence[Tick]) -> None:
        """Ticks in the order of their arrival."""
        ...

    def gap(self, gap: FeedGap) -> None:
        """There was a hole, and prices come again; told before the ticks that end it."""
        ...

    def backfill(self, candles: Sequence[ClosedCandle]) -> None:
        """Candles of a hole, of one minute each and in their order, as the broker tells them afterwards: of the
        minutes that are torn too. None is a minute without a trade. There may be some of before the hole."""
        ...


class FeedFigures(Struct, frozen=True, kw_only=True):
    """connected: whether prices can come now. bad: packets that could not be read. unknown: ticks of
    instruments that nobody subscribed to. backfilled: candles. unfilled: holes of an instrument that were to be
    filled, and were not."""

    connected: bool
    ticks: int
    bad: int = 0
    unknown: int = 0
    connects: int = 0
    silences: int = 0
    gaps: int = 0
    backfilled: int = 0
    unfilled: int = 0


class MarketFeed(Protocol):
    def subscribe(self, instruments: Iterable[Instrument]) -> None:
        """Have these instruments, and no others, from now on; before or during `run`.

        Raises:
            MarketDataUnavailable: the feed knows already that it has no prices of one of them.
            FeedRefused: they are more than it takes.
        In both cases nothing is changed.
        """
        ...

    async def run(self, sink: FeedSink) -> None:
        """Give what comes until cancelled, through all troubles that may pass.

        Returns where the prices are at an end, as a recording's are.

        Raises:
            FeedRefused: no trying will help: a person has to do something, such as log in. The text says what.
        """
        ...

    def figures(self) -> FeedFigures: ...
