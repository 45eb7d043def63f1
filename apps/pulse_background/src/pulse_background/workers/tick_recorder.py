"""Ticks on their way into the store: taken without waiting, stored in batches.

Taking a tick never waits for the database. A batch is all that waits when the one before is stored. When more
than `unsaved_max` are not stored, on their way or waiting, the oldest that wait are dropped and counted: that
much, and no more, is what a kill can cost. Numbers are given on arrival, so whatever is lost later shows in the
store as numbers that are missing.
"""

from collections.abc import Sequence
from datetime import timedelta

import structlog
from msgspec import Struct

from pulse_background.wakeup import Wakeup
from pulse_domain.errors import StorageRejected, StorageUnavailable
from pulse_domain.matching import Tick
from pulse_domain.ports.clock import Clock
from pulse_domain.ports.tick_store import TickBatch, TickStore
from service_kit import bound

log = structlog.get_logger(__name__)

_RETRY_S = 1.0
# A feed whose instants are further off than that is broken, and every day it names would get a partition.
_AHEAD_MAX = timedelta(days=1)


class RecorderSettings(Struct, frozen=True, kw_only=True):
    """unsaved_max: ticks that are not stored at any time, and so the most that a kill can cost.
    batch: a batch is sent when so many wait, or `flush_s` after the one before.
    behind_max: older ticks are refused; they would be dropped with their day.
    """

    unsaved_max: int = 20_000
    batch: int = 5_000
    flush_s: float = 1.0
    behind_max: timedelta = timedelta(days=7)


class RecorderFigures(Struct, frozen=True, kw_only=True):
    """received: all that were numbered; of them `stored` and `dropped`, `unsaved` being neither so far.
    refused: ticks of impossible instants or values; the latter were numbered."""

    received: int
    stored: int
    dropped: int
    refused: int
    unsaved: int


class TickRecorder:
    """Records what one source sends; `take` is meant as a handler of the event bus."""

    def __init__(
        self, store: TickStore, clock: Clock, source: str, settings: RecorderSettings | None = None
    ) -> None:
        self._store = store
        self._clock = clock
        self._source = source
        self._settings = settings or RecorderSettings()
        self._wakeup = Wakeup(clock)
        self._recording: int | None = None
        self._waiting: list[Tick] = []
        self._on_its_way = 0
        self._received = self._stored = self._dropped = self._refused = 0
        self._dropped_told = 0
        self._stopping = False
        self._set_limits()

    def _set_limits(self) -> None:
        now = self._clock.now()
        self._from, self._to = now - self._settings.behind_max, now + _AHEAD_MAX

    async def take(self, ticks: Sequence[Tick]) -> None:
        self.append(ticks)

    def append(self, ticks: Sequence[Tick]) -> None:
        """Take ticks; never waits."""
        since, until = self._from, self._to
        good = [tick for tick in ticks if since <= tick.at < until]
        if len(good) < len(ticks):
            self._refused += len(ticks) - len(good)
            self._wakeup.call()
        waiting = self._waiting
        waiting += good
        self._received += len(good)
        beyond = min(len(waiting) + self._on_its_way - self._settings.unsaved_max, len(waiting))
        if beyond > 0:
            del waiting[:beyond]
            self._dropped += beyond
        if len(waiting) >= self._settings.batch:
            self._wakeup.call()

    def figures(self) -> RecorderFigures:
        """From any thread."""
        return RecorderFigures(
            received=self._received,
            stored=self._stored,
            dropped=self._dropped,
            refused=self._refused,
            unsaved=len(self._waiting) + self._on_its_way,
        )

    def stop(self) -> None:
        """Let `run` store what waits, note the end, and return."""
        self._stopping = True
        self._wakeup.call()

    async def run(self) -> None:
        """Store what comes until `stop`."""
        with bound(worker="recorder"):
            refused = 0
            while not self._stopping:
                await self._wakeup.wait(self._settings.flush_s)
                self._set_limits()
                if self._refused > refused:
                    log.error("ticks are refused", refused=self._refused - refused)
                    refused = self._refused
                await self._store_waiting()
            await self._store_waiting()
            if self._recording is not None:
                await self._end(self._recording)

    async def _store_waiting(self) -> None:
        if not self._waiting:
            return
        if self._recording is None:
            self._recording = await self._begin()
        ticks, self._waiting = self._waiting, []
        self._on_its_way = len(ticks)
        await self._save(
            TickBatch(recording=self._recording, first=self._received - len(ticks) + 1, ticks=ticks)
        )
        self._on_its_way = 0
        if self._dropped > self._dropped_told:
            log.error("ticks were dropped: the store was too slow", dropped=self._dropped - self._dropped_told)
            self._dropped_told = self._dropped

    async def _save(self, batch: TickBatch) -> None:
        """Store a batch, however long it takes; of one that is rejected all that can be."""
        count = len(batch.ticks)
        while True:
            try:
                await self._store.save(batch)
            except StorageUnavailable as error:
                log.warning("the store does not answer", error=error.message, unsaved=self.figures().unsaved)
                await self._clock.sleep(_RETRY_S)
            except StorageRejected as error:
                if count == 1:
                    self._refused += 1
                    log.error(
                        "a tick cannot be stored", instrument=str(batch.ticks[0].instrument), error=str(error)
                    )
                    return
                half = count // 2
                for first, ticks in ((0, batch.ticks[:half]), (half, batch.ticks[half:])):
                    await self._save(
                        TickBatch(recording=batch.recording, first=batch.first + first, ticks=ticks)
                    )
                return
            else:
                self._stored += count
                return

    async def _begin(self) -> int:
        while True:
            try:
                return await self._store.begin(self._source)
            except StorageUnavailable as error:
                log.warning("the store does not answer", error=error.message, unsaved=self.figures().unsaved)
                await self._clock.sleep(_RETRY_S)

    async def _end(self, recording: int) -> None:
        try:
            await self._store.end(recording, self._received)
        except StorageUnavailable as error:
            log.warning("the end of a recording is not noted", error=error.message)
