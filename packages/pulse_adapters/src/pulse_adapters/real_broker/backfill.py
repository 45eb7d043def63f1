"""Candles for the holes of a feed, read from the broker afterwards, one request at a time."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta

import structlog

from pulse_domain.candles import ClosedCandle
from pulse_domain.instruments import Instrument
from pulse_domain.matching import Candle
from pulse_domain.ports.clock import Clock
from pulse_domain.ports.market_feed import FeedGap, FeedSink

log = structlog.get_logger(__name__)

# The candles of one minute that start from one instant up to but without another; it may raise what it likes.
History = Callable[[Instrument, datetime, datetime], Awaitable[Sequence[Candle]]]

_MINUTE = timedelta(minutes=1)
_LONGEST = timedelta(days=1)
# A broker's candle is complete a little after its end.
_SETTLE = timedelta(seconds=5)
_HOLES_MAX = 500
_TRIES = 3
_TRY_AGAIN_S = 2.0
_TIMEOUT_S = 15.0


class Backfill:
    """history: None where the broker has none, and nothing is filled then.

    candles, unfilled: how many were given, and how many holes of an instrument were not filled.
    """

    def __init__(self, clock: Clock, history: History | None, *, broker: str) -> None:
        self._clock = clock
        self._history = history
        self._broker = broker
        self._sink: FeedSink | None = None
        self._filling = set[asyncio.Task[None]]()
        self._one_at_a_time = asyncio.Semaphore()
        self.candles = 0
        self.unfilled = 0

    @asynccontextmanager
    async def running(self, sink: FeedSink) -> AsyncIterator[None]:
        """While it runs, what is asked for is read and given; what is left at the end is not."""
        self._sink = sink
        try:
            yield
        finally:
            self._sink = None
            filling = tuple(self._filling)
            for task in filling:
                task.cancel()
            await asyncio.gather(*filling, return_exceptions=True)

    def ask(self, gap: FeedGap) -> None:
        """Begin to fill a gap; never waits."""
        if self._history is None or self._sink is None:
            return
        for instrument in gap.instruments:
            if len(self._filling) >= _HOLES_MAX:
                self._tell(instrument, "there are too many")
                continue
            task = asyncio.create_task(self._fill(self._history, self._sink, instrument, gap.since, gap.until))
            self._filling.add(task)
            task.add_done_callback(self._filling.discard)

    async def _fill(
        self, history: History, sink: FeedSink, instrument: Instrument, since: datetime, until: datetime
    ) -> None:
        first, last = _minute(max(since, until - _LONGEST)), _minute(until)
        try:
            if first < last:
                await self._read(history, sink, instrument, first, last)
            # The minute in which prices came again is torn too, and has yet to end.
            ends = last + _MINUTE
            wait = ends + _SETTLE - self._clock.now()
            await self._clock.sleep(min(wait, _MINUTE + _SETTLE).total_seconds())
            await self._read(history, sink, instrument, last, ends)
        except Exception as error:  # whatever a broker's client raises, prices go on
            self._tell(instrument, type(error).__name__)

    async def _read(
        self, history: History, sink: FeedSink, instrument: Instrument, first: datetime, last: datetime
    ) -> None:
        for attempt in range(1, _TRIES + 1):
            try:
                async with self._one_at_a_time, asyncio.timeout(_TIMEOUT_S):
                    candles = await history(instrument, first, last)
                break
            except Exception:  # whatever it is, it is tried again, and told after the last try
                if attempt == _TRIES:
                    raise
                await self._clock.sleep(_TRY_AGAIN_S * attempt)
        told = [
            ClosedCandle(instrument, 1, candle.start, candle)
            for candle in candles
            if first <= candle.start < last
        ]
        if told:
            self.candles += len(told)
            sink.backfill(told)

    def _tell(self, instrument: Instrument, reason: str) -> None:
        self.unfilled += 1
        log.warning("a hole is not filled", broker=self._broker, instrument=str(instrument), reason=reason)


def _minute(at: datetime) -> datetime:
    return at.replace(second=0, microsecond=0)
