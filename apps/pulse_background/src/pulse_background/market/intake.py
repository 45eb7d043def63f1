"""Prices on their way in: ticks and candles onto the bus, without waiting for anybody.

Live prices are taken as they come. Recorded ones are taken in step: a candle that closes is worked on, with
all that strategies order by it, before the next tick is looked at. So a replay gives the same orders at any
speed, and on any machine; a feed that plays faster than that only fills a line.
"""

from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from itertools import groupby

import structlog

from pulse_background.market.candle_keeper import CandleKeeper
from pulse_background.wakeup import Wakeup
from pulse_domain.candles import CandleBuilder, ClosedCandle
from pulse_domain.instruments import Instrument
from pulse_domain.matching import Tick
from pulse_domain.ports.clock import Clock
from pulse_domain.ports.event_bus import CANDLES, TICKS, EventBus
from pulse_domain.ports.market_feed import FeedGap

log = structlog.get_logger(__name__)

# How often the clock closes what no tick does.
_LOOK_S = 0.25

OnGap = Callable[[FeedGap], None]


class LiveIntake:
    """Implements `FeedSink`. latest: filled with the last tick of each instrument.

    on_ticks: told of ticks at once, before anybody on the bus.
    on_backfill: told of candles of holes at once, before anybody on the bus.
    is_fed: whether prices can come now; while they cannot, candles wait.
    """

    def __init__(
        self,
        bus: EventBus,
        builder: CandleBuilder,
        keeper: CandleKeeper,
        clock: Clock,
        on_ticks: Callable[[Sequence[Tick]], None],
        on_gap: OnGap,
        latest: dict[Instrument, Tick],
        on_backfill: Callable[[Sequence[ClosedCandle]], object] = lambda candles: None,
        is_fed: Callable[[], bool] = lambda: True,
    ) -> None:
        self._bus = bus
        self._builder = builder
        self._keeper = keeper
        self._clock = clock
        self._on_ticks = on_ticks
        self._on_gap = on_gap
        self._on_backfill = on_backfill
        self._is_fed = is_fed
        self._latest = latest

    def now(self) -> datetime:
        return self._clock.now()

    def ticks(self, ticks: Sequence[Tick]) -> None:
        closed = [each for tick in ticks for each in self._builder.on_tick(tick)]
        self._close(closed)
        self._latest.update({tick.instrument: tick for tick in ticks})
        self._on_ticks(ticks)
        self._bus.publish(TICKS, *ticks)

    def gap(self, gap: FeedGap) -> None:
        self._builder.on_gap(gap.instruments, gap.since, gap.until)
        self._on_gap(gap)

    def backfill(self, candles: Sequence[ClosedCandle]) -> None:
        self._on_backfill(candles)
        self._close(self._builder.fill(candles))

    async def run(self) -> None:
        try:
            while True:
                await self._clock.sleep(_LOOK_S)
                self._close(self._builder.on_time(self._clock.now(), is_fed=self._is_fed()))
        finally:
            # Whoever goes on after a restart finds at least what was seen.
            self._keeper.append(self._builder.release())

    def _close(self, closed: Sequence[ClosedCandle]) -> None:
        if closed:
            self._keeper.append(closed)
            self._bus.publish(CANDLES, *closed)


class RecordedIntake:
    """Implements `FeedSink` for a recording, whose time is `recorded`.

    settled: waits until what was told is worked on: closed candles, or a tick.
    """

    def __init__(
        self,
        bus: EventBus,
        builder: CandleBuilder,
        keeper: CandleKeeper,
        clock: Clock,
        recorded: Clock,
        on_ticks: Callable[[Sequence[Tick]], None],
        settled: Callable[[Sequence[ClosedCandle], Tick | None], Awaitable[None]],
        latest: dict[Instrument, Tick],
    ) -> None:
        self._bus = bus
        self._builder = builder
        self._keeper = keeper
        self._recorded = recorded
        self._on_ticks = on_ticks
        self._settled = settled
        self._arrived: deque[Tick] = deque()
        self._wakeup = Wakeup(clock)
        self._now = datetime.min.replace(tzinfo=UTC)
        self._latest = latest

    def now(self) -> datetime:
        """The instant up to which prices are worked on."""
        return self._now if self._now.year > 1 else self._recorded.now()

    def ticks(self, ticks: Sequence[Tick]) -> None:
        self._arrived += ticks
        self._wakeup.call()

    def gap(self, gap: FeedGap) -> None:
        pass  # of the recording: its candles show it

    def backfill(self, candles: Sequence[ClosedCandle]) -> None:
        pass

    async def run(self) -> None:
        while True:
            await self._wakeup.wait(_LOOK_S)
            while self._arrived:
                await self._take(self._arrived.popleft())
            # The recorded clock is never ahead of a tick that has not arrived.
            await self._close(self._builder.on_time(self._recorded.now()))

    async def _take(self, tick: Tick) -> None:
        # What it completes comes before it, and is worked on at the end of the candle.
        await self._close(self._builder.on_tick(tick))
        self._now = max(self._now, tick.at)
        self._latest[tick.instrument] = tick
        self._on_ticks((tick,))
        self._bus.publish(TICKS, tick)
        await self._settled((), tick)

    async def _close(self, closed: Sequence[ClosedCandle]) -> None:
        # Those that end together are told together.
        for ends_at, group in groupby(sorted(closed, key=_end), key=_end):
            together = list(group)
            self._now = max(self._now, ends_at)
            self._keeper.append(together)
            self._bus.publish(CANDLES, *together)
            await self._settled(together, None)


class RunningTotals:
    """Made-up prices begin their count anew several times a day; candles want one that only grows."""

    def __init__(self) -> None:
        self._before: dict[Instrument, tuple[int, int]] = {}

    def __call__(self, tick: Tick) -> Tick:
        last, added = self._before.get(tick.instrument, (0, 0))
        if tick.volume < last:
            added += last
        self._before[tick.instrument] = (tick.volume, added)
        return Tick(tick.instrument, tick.at, tick.price, tick.bid, tick.ask, tick.volume + added)


def _end(closed: ClosedCandle) -> datetime:
    return closed.start + timedelta(minutes=closed.minutes)
