"""Closed candles on their way into the store: taken without waiting, stored in the order in which they came.

Who remembers something that follows from a candle first waits until the candle is stored (`saved_up_to`), so a
memory is never ahead of the candles that a restart goes through.
"""

import asyncio
from collections.abc import Sequence

import structlog

from pulse_background.wakeup import Wakeup
from pulse_domain.candles import ClosedCandle
from pulse_domain.errors import StorageRejected, StorageUnavailable
from pulse_domain.ports.candle_store import CandleStore
from pulse_domain.ports.clock import Clock

log = structlog.get_logger(__name__)

_RETRY_S = 1.0
_BATCH = 5_000
# A store that is away for a day at most: 200 instruments close some 280 candles a minute.
_WAITING_MAX = 500_000


class CandleKeeper:
    """taken: how many candles have come; also the mark of the latest.
    dropped: too many while the store was away."""

    def __init__(self, store: CandleStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._wakeup = Wakeup(clock)
        self._waiting: list[ClosedCandle] = []
        self._saved = 0
        self._grown = asyncio.Condition()
        self._stopping = False
        self.taken = 0
        self.dropped = 0

    def append(self, closed: Sequence[ClosedCandle]) -> None:
        """Take candles; never waits."""
        self._waiting += closed
        self.taken += len(closed)
        beyond = len(self._waiting) - _WAITING_MAX
        if beyond > 0:
            del self._waiting[:beyond]
            self.dropped += beyond
        self._wakeup.call()

    async def saved_up_to(self, mark: int) -> None:
        """Wait until the candles up to a mark are stored."""
        async with self._grown:
            await self._grown.wait_for(lambda: self._saved >= mark)

    def stop(self) -> None:
        """Let `run` store what waits and return."""
        self._stopping = True
        self._wakeup.call()

    async def run(self) -> None:
        """Store what comes until `stop`."""
        while not self._stopping:
            await self._wakeup.wait()
            await self._save_waiting()
        await self._save_waiting()

    async def _save_waiting(self) -> None:
        while self._waiting:
            batch, up_to = self._waiting[:_BATCH], self.taken - len(self._waiting[_BATCH:])
            del self._waiting[:_BATCH]
            await self._save(batch)
            async with self._grown:
                self._saved = up_to
                self._grown.notify_all()

    async def _save(self, batch: Sequence[ClosedCandle]) -> None:
        while True:
            try:
                await self._store.save(batch)
                return
            except StorageUnavailable as error:
                log.warning("candles wait for the store", error=error.message, waiting=len(self._waiting))
                await self._clock.sleep(_RETRY_S)
            except StorageRejected as error:
                if len(batch) == 1:
                    log.error(
                        "a candle cannot be stored", instrument=str(batch[0].instrument), error=str(error)
                    )
                    return
                half = len(batch) // 2
                await self._save(batch[:half])
                await self._save(batch[half:])
                return
