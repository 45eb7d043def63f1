"""Candles for the holes of a feed, read from the broker afterwards, one request at a time."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta

import structlog

from pulse_adapters.real_broker.holes import UNWATCHED
from pulse_domain.candles import TIMEFRAMES, ClosedCandle, HoursAt
from pulse_domain.instruments import Instrument
from pulse_domain.matching import Candle
from pulse_domain.ports.clock import Clock
from pulse_domain.ports.market_feed import FeedGap, FeedSink

log = structlog.get_logger(__name__)

# The candles of one minute that start from one instant up to but without another; it may raise what it likes.
History = Callable[[Instrument, datetime, datetime], Awaitable[Sequence[Candle]]]

_MINUTE = timedelta(minutes=1)
_LONGEST = timedelta(days=1)
_LONGEST_CANDLE = max(TIMEFRAMES) * _MINUTE
# A broker's candle is complete a little after its end.
_SETTLE = timedelta(seconds=5)
_HOLES_MAX = 500
_TRIES = 3
_TRY_AGAIN_S = 2.0
_TIMEOUT_S = 15.0


class Backfill:
    """history: None where the broker has none, and nothing is filled then.
    hours_at: what candles are aligned to.

    candles, unfilled: how many were given, and how many holes of an instrument were not filled.
    """

    def __init__(self, clock: Clock, history: History | None, hours_at: HoursAt, *, broker: str) -> None:
        self._clock = clock
        self._hours_at = hours_at
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
            since = self._torn_since(instrument, gap.since) if gap.reason == UNWATCHED else gap.since
            task = asyncio.create_task(self._fill(self._history, self._sink, instrument, since, gap.until))
            self._filling.add(task)
            task.add_done_callback(self._filling.discard)

    def _torn_since(self, instrument: Instrument, since: datetime) -> datetime:
        """When the longest candle that is not whole begins: nobody has kept its minutes apart."""
        hours = self._hours_at(instrument, since)
        return since if hours is None else since - (since - hours.opens) % _LONGEST_CANDLE

    async def _fill(
        self, history: History, sink: FeedSink, instrument: Instrument, since: datetime, until: datetime
    ) -> None:
        first, last = _minute(max(since, until - _LONGEST)), _minute(until)
        has_candles = False
        try:
            if first < last:
                await self._until(last)
                has_candles = await self._read(history, sink, instrument, first, last, has_candles=False)
            # The minute in which prices came again is torn too, and has yet to end.
            ends = last + _MINUTE
            await self._until(ends)
            await self._read(history, sink, instrument, last, ends, has_candles=has_candles)
        except Exception as error:  # whatever a broker's client raises, prices go on
            self._tell(instrument, type(error).__name__)

    async def _until(self, ends: datetime) -> None:
        """Until candles that end then are complete."""
        wait = min(ends + _SETTLE - self._clock.now(), _MINUTE + _SETTLE)
        if wait > timedelta():
            await self._clock.sleep(wait.total_seconds())

    async def _read(
        self,
        history: History,
        sink: FeedSink,
        instrument: Instrument,
        first: datetime,
        last: datetime,
        *,
        has_candles: bool,
    ) -> bool:
        """Returns whether the broker has candles of the instrument; if it has, a minute without one had no
        trade."""
        for attempt in range(1, _TRIES + 1):
            try:
                async with self._one_at_a_time, asyncio.timeout(_TIMEOUT_S):
                    candles = await history(instrument, first, last)
                break
            except Exception:  # whatever it is, it is tried again, and told after the last try
                if attempt == _TRIES:
                    raise
                await self._clock.sleep(_TRY_AGAIN_S * attempt)
        told = {
            it.start: ClosedCandle(instrument, 1, it.start, it) for it in candles if first <= it.start < last
        }
        self.candles += len(told)
        has_candles = has_candles or bool(told)
        if has_candles:
            for number in range((last - first) // _MINUTE):
                start = first + number * _MINUTE
                told.setdefault(start, ClosedCandle(instrument, 1, start, None))
            sink.backfill(sorted(told.values(), key=lambda it: it.start))
        return has_candles

    def _tell(self, instrument: Instrument, reason: str) -> None:
        self.unfilled += 1
        log.warning("a hole is not filled", broker=self._broker, instrument=str(instrument), reason=reason)


def _minute(at: datetime) -> datetime:
    return at.replace(second=0, microsecond=0)
