"""What strategies know, on its way into the store: of each the newest only."""

from collections.abc import Callable

import structlog
from msgspec import Struct

from pulse_background.market.candle_keeper import CandleKeeper
from pulse_background.wakeup import Wakeup
from pulse_domain.errors import StorageRejected, StorageUnavailable
from pulse_domain.ports.clock import Clock
from pulse_domain.ports.strategy_store import Checkpoint, StrategyStore

log = structlog.get_logger(__name__)

_RETRY_S = 0.5


class _Offered(Struct, frozen=True):
    """mark: of the candles that it rests on."""

    checkpoint: Checkpoint
    mark: int
    on_refused: Callable[[str], None]


class CheckpointKeeper:
    """A checkpoint is stored after the candles that it rests on. saved: how many were stored."""

    def __init__(self, store: StrategyStore, candles: CandleKeeper, clock: Clock) -> None:
        self._store = store
        self._candles = candles
        self._clock = clock
        self._wakeup = Wakeup(clock)
        self._waiting: dict[str, _Offered] = {}
        self._stopping = False
        self.saved = 0

    def offer(self, checkpoint: Checkpoint, on_refused: Callable[[str], None]) -> None:
        """Take one in place of the one that waits; never waits itself.

        on_refused: told why, should the store refuse it; then it is given up.
        """
        self._waiting[checkpoint.name] = _Offered(checkpoint, self._candles.taken, on_refused)
        self._wakeup.call()

    async def flush(self, name: str) -> None:
        """Store what waits of a strategy now.

        Raises:
            StorageUnavailable: it is not known to be stored, and still waits.
            StorageRejected: it can never be stored, and is given up.
        """
        waiting = self._waiting.get(name)
        if waiting is None:
            return
        await self._candles.saved_up_to(waiting.mark)
        try:
            await self._store.save_checkpoint(waiting.checkpoint)
        except StorageRejected as error:
            self._forget(waiting)
            log.error("a checkpoint cannot be stored", strategy=name, error=error.message)
            waiting.on_refused(error.message)
            raise
        self.saved += 1
        self._forget(waiting)

    def _forget(self, offered: _Offered) -> None:
        name = offered.checkpoint.name
        if self._waiting.get(name) is offered:
            del self._waiting[name]

    def stop(self) -> None:
        """Let `run` store what waits and return."""
        self._stopping = True
        self._wakeup.call()

    async def run(self) -> None:
        """Store what comes until `stop`."""
        while not self._stopping:
            await self._wakeup.wait()
            await self._store_waiting()
        await self._store_waiting()

    async def _store_waiting(self) -> None:
        while self._waiting:
            for name in list(self._waiting):
                try:
                    await self.flush(name)
                except StorageRejected:
                    continue  # told to whom it concerns
                except StorageUnavailable as error:
                    if self._stopping:
                        log.error("a checkpoint is not stored", strategy=name, error=error.message)
                        return
                    log.warning("checkpoints wait for the store", error=error.message)
                    await self._clock.sleep(_RETRY_S)
