"""Prices of a test: it gives what it is told to give."""

import asyncio
from collections.abc import Iterable

from pulse_domain.candles import ClosedCandle
from pulse_domain.errors import FeedRefused
from pulse_domain.instruments import Instrument
from pulse_domain.matching import Tick
from pulse_domain.ports.market_feed import FeedFigures, FeedGap, FeedSink


class InMemoryFeed:
    """Implements the port `MarketFeed`. What is given while nobody runs it is not kept.

    is_lost: it says of itself that no prices can come.
    """

    def __init__(self) -> None:
        self.subscribed: frozenset[Instrument] = frozenset()
        self.is_lost = False
        self._sink: FeedSink | None = None
        # Set when `run` has to end: None at the end of prices, else why a person is needed.
        self._ending: asyncio.Future[str | None] | None = None
        self._ticks = self._unknown = self._runs_begun = self._gaps = self._backfilled = 0

    def subscribe(self, instruments: Iterable[Instrument]) -> None:
        self.subscribed = frozenset(instruments)

    async def run(self, sink: FeedSink) -> None:
        self._sink = sink
        self._ending = asyncio.get_running_loop().create_future()
        self._runs_begun += 1
        try:
            if (reason := await self._ending) is not None:
                raise FeedRefused(reason)
        finally:
            self._sink = self._ending = None

    def figures(self) -> FeedFigures:
        return FeedFigures(
            connected=self._sink is not None and not self.is_lost,
            ticks=self._ticks,
            unknown=self._unknown,
            connects=self._runs_begun,
            gaps=self._gaps,
            backfilled=self._backfilled,
        )

    # --- for the test

    def give(self, *ticks: Tick) -> None:
        """Ticks in one batch; those that nobody subscribed to are counted only."""
        if self._sink is None:
            return
        wanted = [tick for tick in ticks if tick.instrument in self.subscribed]
        self._unknown += len(ticks) - len(wanted)
        self._ticks += len(wanted)
        if wanted:
            self._sink.ticks(wanted)

    def tell_gap(self, gap: FeedGap) -> None:
        if self._sink is not None:
            self._gaps += 1
            self._sink.gap(gap)

    def backfill(self, *candles: ClosedCandle) -> None:
        if self._sink is not None:
            self._backfilled += len(candles)
            self._sink.backfill(candles)

    def end(self) -> None:
        """Let `run` return."""
        self._finish(None)

    def refuse(self, reason: str) -> None:
        """Let `run` raise FeedRefused."""
        self._finish(reason)

    def _finish(self, reason: str | None) -> None:
        if self._ending is not None and not self._ending.done():
            self._ending.set_result(reason)


class KeptFeed:
    """A sink that keeps what it is given."""

    def __init__(self) -> None:
        self.taken: list[Tick] = []
        self.gaps: list[FeedGap] = []
        self.candles: list[ClosedCandle] = []

    def ticks(self, ticks: Iterable[Tick]) -> None:
        self.taken += ticks

    def gap(self, gap: FeedGap) -> None:
        self.gaps.append(gap)

    def backfill(self, candles: Iterable[ClosedCandle]) -> None:
        self.candles += candles
