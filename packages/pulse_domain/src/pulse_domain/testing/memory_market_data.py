"""Ticks and candles in memory, as the stores keep them."""

from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from datetime import datetime

from pulse_domain.candles import ClosedCandle
from pulse_domain.errors import StorageRejected
from pulse_domain.instruments import Instrument
from pulse_domain.matching import Candle, Tick
from pulse_domain.ports.clock import Clock
from pulse_domain.ports.tick_store import Recording, TickBatch

_RUN = 1000
_VOLUME_MAX = 2**63


class _Kept:
    def __init__(self, source: str, started_at: datetime) -> None:
        self.source = source
        self.started_at = started_at
        self.ended_at: datetime | None = None
        self.told = 0
        # Batches by the number of their first tick.
        self.batches: dict[int, Sequence[Tick]] = {}

    def as_recording(self, number: int) -> Recording:
        return Recording(
            recording=number,
            source=self.source,
            started_at=self.started_at,
            ended_at=self.ended_at,
            received=max([self.told, *(first + len(ticks) - 1 for first, ticks in self.batches.items())]),
            stored=sum(map(len, self.batches.values())),
        )


class InMemoryTickStore:
    """Implements the port `TickStore`."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._recordings: list[_Kept] = []

    async def begin(self, source: str) -> int:
        self._recordings.append(_Kept(source, self._clock.now()))
        return len(self._recordings)

    async def save(self, batch: TickBatch) -> None:
        if any(not -_VOLUME_MAX <= tick.volume < _VOLUME_MAX for tick in batch.ticks):
            raise StorageRejected("a volume is out of range")
        self._recordings[batch.recording - 1].batches.setdefault(batch.first, tuple(batch.ticks))

    async def end(self, recording: int, received: int) -> None:
        kept = self._recordings[recording - 1]
        kept.ended_at, kept.told = self._clock.now(), received

    async def ticks(
        self, instrument: Instrument, since: datetime, until: datetime
    ) -> AsyncGenerator[Sequence[Tick], None]:
        found = [
            tick
            for kept in self._recordings
            for _, ticks in sorted(kept.batches.items())
            for tick in ticks
            if tick.instrument == instrument and since <= tick.at < until
        ]
        found.sort(key=lambda tick: tick.at)
        for at in range(0, len(found), _RUN):
            yield found[at : at + _RUN]

    async def recordings(self, since: datetime) -> Sequence[Recording]:
        numbered = enumerate(self._recordings, start=1)
        return [kept.as_recording(number) for number, kept in numbered if kept.started_at >= since]


class InMemoryCandleStore:
    """Implements the port `CandleStore`."""

    def __init__(self) -> None:
        self._candles: dict[tuple[Instrument, int, datetime], Candle] = {}

    async def save(self, candles: Sequence[ClosedCandle]) -> None:
        told = [(each, each.candle) for each in candles if each.candle is not None]
        if any(not 0 <= candle.volume < _VOLUME_MAX for _, candle in told):
            raise StorageRejected("a volume is out of range")
        for each, candle in told:
            self._candles[each.instrument, each.minutes, each.start] = candle

    async def candles(
        self, instrument: Instrument, minutes: int, since: datetime, until: datetime
    ) -> AsyncGenerator[Sequence[Candle], None]:
        found = [
            candle
            for (of, length, start), candle in self._candles.items()
            if of == instrument and length == minutes and since <= start < until
        ]
        found.sort(key=lambda candle: candle.start)
        for at in range(0, len(found), _RUN):
            yield found[at : at + _RUN]

    async def last_starts(
        self, instruments: Iterable[Instrument], minutes: int, since: datetime
    ) -> Mapping[Instrument, datetime]:
        asked, last = frozenset(instruments), dict[Instrument, datetime]()
        for of, length, start in self._candles:
            if of in asked and length == minutes and start >= since:
                last[of] = max(start, last.get(of, start))
        return last
