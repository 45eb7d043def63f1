"""Play candle and tick files once, as ticks that carry the instants at which they were recorded.

Rows come in the order in which they stand in their file; several files are played side by side, by recorded
time. A row whose instant is earlier than one before it in the file comes right after that one and keeps its
instant, as a late packet does; one that is there twice comes twice. A pause longer than a minute lasts a
minute.

A candle is four ticks: the open at its start, the nearer extreme after a third of it, the other one after two
thirds, and the close a second (or a sixtieth, if that is less) before its end. Their volume is the day's
running total: at the open without the candle's own, of which a third more comes with each after it. So a
candle with which nobody knows what was traded before has all of its volume, too.
"""

import asyncio
import heapq
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import chain, groupby, pairwise
from typing import NamedTuple

from pulse_adapters.feeds.errors import FeedFileError
from pulse_adapters.feeds.files import CandleRow, TickRow
from pulse_adapters.feeds.recordings import PAUSE_MAX_S, FeedFile, candle_length, nearer_extreme_first
from pulse_adapters.feeds.replay import check_playing
from pulse_adapters.feeds.replay_clock import ReplayClock, seconds_us
from pulse_domain.errors import MarketDataUnavailable
from pulse_domain.instruments import Instrument
from pulse_domain.matching import Tick
from pulse_domain.ports.clock import Clock
from pulse_domain.ports.market_feed import FeedFigures, FeedSink
from pulse_domain.units import day_number, to_price, to_time, to_us

_BATCH_MAX = 256
_SECOND = timedelta(seconds=1)
_PAUSE_MAX_US = seconds_us(PAUSE_MAX_S)


class _Row(NamedTuple):
    """A row, or one of a candle's four: when it is played, and the tick but for its instrument."""

    us: int
    symbol: str
    at: datetime
    price: int
    bid: int
    ask: int
    volume: int

    def tick(self, instrument: Instrument) -> Tick:
        return Tick(
            instrument, self.at, to_price(self.price), to_price(self.bid) if self.bid else None,
            to_price(self.ask) if self.ask else None, self.volume,
        )  # fmt: skip


class _Due(NamedTuple):
    us: int
    ticks: tuple[Tick, ...]


class ReplayMarketFeed:
    """Implements the `MarketFeed` port.

    files, fallback, start_at: as for `ReplayFeed`.
    speed: 60 plays a recorded minute in a second.

    clock: recorded time, for all that lives with these prices.

    Raises:
        FeedFileError: a file ends before `start_at`, or lacks the symbol of its instrument.
        FeedSpecError: the speed is not above 0, or `start_at` carries no UTC offset.
    """

    def __init__(
        self,
        clock: Clock,
        files: Mapping[Instrument, FeedFile],
        fallback: FeedFile | None = None,
        *,
        speed: float = 1.0,
        start_at: datetime | None = None,
    ) -> None:
        check_playing(speed, start_at)
        for instrument, file in files.items():
            file.symbol_of(instrument)
        self._files = dict(files)
        self._fallback = fallback
        self._begins_us = None if start_at is None else to_us(start_at)
        self._subscribed: tuple[Instrument, ...] = ()
        # Counts what is subscribed to, so that playing notices another set.
        self._changes = 0
        self._is_wanted = asyncio.Event()
        self._ticks = self._runs_begun = 0
        self._is_running = False
        every = [*self._files.values(), *([] if fallback is None else [fallback])]
        first_us = min(self._first_us(file) for file in every)
        self._played_us = first_us - 1
        self.clock = ReplayClock(clock, to_time(first_us), speed)
        self.clock.hold(first_us)

    def subscribe(self, instruments: Iterable[Instrument]) -> None:
        """Raises:
        MarketDataUnavailable: no file plays for one of them; then nothing is changed.
        """
        wanted = tuple(dict.fromkeys(instruments))
        for instrument in wanted:
            if instrument not in self._files and self._fallback is None:
                raise MarketDataUnavailable(f"no file plays for {instrument}", instrument=str(instrument))
        self._subscribed = wanted
        self._changes += 1
        if wanted:
            self._is_wanted.set()
        else:
            self._is_wanted.clear()

    def ticks(self) -> Iterator[Tick]:
        """All that is played for what is subscribed to, in its order."""
        for due in self._due():
            yield from due.ticks

    async def run(self, sink: FeedSink) -> None:
        """Returns after the last row; one that was cancelled before is gone on with. While nothing is
        subscribed to, recorded time stands still."""
        self._runs_begun += 1
        self._is_running = True
        try:
            await self._play(sink)
        except asyncio.CancelledError:
            self.clock.stop()
            raise
        finally:
            self._is_running = False

    def figures(self) -> FeedFigures:
        return FeedFigures(connected=self._is_running, ticks=self._ticks, connects=self._runs_begun)

    async def _play(self, sink: FeedSink) -> None:
        changes, rows, due = -1, self._due(), None
        while True:
            if not self._subscribed:
                self.clock.stop()
                await self._is_wanted.wait()
            self.clock.start()
            if changes != self._changes:
                changes = self._changes
                rows = self._due(max(self._played_us + 1, self.clock.now_us()))
                due = next(rows, None)
            if due is None:
                self.clock.hold(None)
                return
            self.clock.hold(due.us)
            if not self.clock.is_due(due.us):
                await self._wait_for(due.us)
                continue
            batch: list[Tick] = []
            while due is not None and len(batch) < _BATCH_MAX and self.clock.is_due(due.us):
                self._played_us = due.us
                batch += due.ticks
                due = next(rows, None)
            self.clock.hold(None if due is None else due.us)
            self._ticks += len(batch)
            sink.ticks(batch)
            await self.clock.sleep(0)

    async def _wait_for(self, us: int) -> None:
        pause_ends_us = self._played_us + _PAUSE_MAX_US
        if us <= pause_ends_us:
            await self.clock.wait_towards(us)
        elif self.clock.is_due(pause_ends_us):
            self.clock.leap(us)
        else:
            await self.clock.wait_towards(pause_ends_us)

    def _due(self, since_us: int = 0) -> Iterator[_Due]:
        """What is played together, from an instant on."""
        sources = [self._source(file, instruments) for file, instruments in self._playing()]
        for us, together in groupby(heapq.merge(*sources, key=_when), key=_when):
            if us >= since_us:
                yield _Due(us, tuple(chain.from_iterable(due.ticks for due in together)))

    def _source(self, file: FeedFile, instruments: Mapping[str, Sequence[Instrument]]) -> Iterator[_Due]:
        for row in self._rows(file):
            if wanted := instruments.get(row.symbol):
                yield _Due(row.us, tuple(row.tick(instrument) for instrument in wanted))

    def _playing(self) -> list[tuple[FeedFile, dict[str, list[Instrument]]]]:
        """The files, and for whom each of their symbols plays."""
        playing = []
        shared: dict[str, list[Instrument]] = {}
        for instrument in self._subscribed:
            if (file := self._files.get(instrument)) is not None:
                playing.append((file, {file.symbol_of(instrument): [instrument]}))
            elif self._fallback is not None:
                symbols = self._fallback.recordings
                symbol = instrument.symbol if instrument.symbol in symbols else next(iter(symbols))
                shared.setdefault(symbol, []).append(instrument)
        if self._fallback is not None and shared:
            playing.append((self._fallback, shared))
        return playing

    def _rows(self, file: FeedFile) -> Iterator[_Row]:
        rows = _candle_rows(file.candles, self._begins_us) if file.candles else _tick_rows(file.ticks)
        begins_us = self._begins_us
        return rows if begins_us is None else (row for row in rows if row.us >= begins_us)

    def _first_us(self, file: FeedFile) -> int:
        first = next(self._rows(file), None)
        if first is None:
            raise FeedFileError(file.path, f"ends before {to_time(self._begins_us or 0)}")
        return first.us


def _when(due: _Due) -> int:
    return due.us


def _tick_rows(rows: Sequence[TickRow]) -> Iterator[_Row]:
    latest_us = to_us(rows[0].at)
    for row in rows:
        latest_us = max(latest_us, to_us(row.at))
        yield _Row(latest_us, row.symbol, row.at, row.price, row.bid, row.ask, row.volume)


def _candle_rows(rows: Sequence[CandleRow], begins_us: int | None) -> Iterator[_Row]:
    """begins_us: a candle that starts before this is left out whole."""
    usual = candle_length(rows)
    before, day = 0, day_number(to_us(rows[0].start))
    for row, following in pairwise([*rows, None]):
        assert row is not None, "only the last has nothing after it"
        start_us = to_us(row.start)
        if day_number(start_us) != day:
            before, day = 0, day_number(start_us)
        length = usual if following is None else min(usual, following.start - row.start)
        nearer, other = nearer_extreme_first(row)
        steps = (
            (row.open, timedelta(0)),
            (nearer, length / 3),
            (other, length * 2 / 3),
            (row.close, length - min(_SECOND, length / 60)),
        )
        for thirds, (price, offset) in enumerate(steps):
            if begins_us is None or start_us >= begins_us:
                at = row.start + offset
                yield _Row(to_us(at), "", at, price, 0, 0, before + row.volume * thirds // 3)
        before += row.volume
