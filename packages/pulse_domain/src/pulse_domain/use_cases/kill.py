"""Stop everything: halt, and cancel every order that is not done.

Where positions are to be squared off too, the halt says so; `SquareOff` does it once nothing works any more.
"""

from msgspec import Struct

from pulse_domain.ports.order_store import CancelResult, OrderStore, TradingState
from pulse_domain.ports.work_queue import Job, JobKind, WorkQueue
from pulse_domain.use_cases.halt import HaltReport, HaltTrading

_BATCH = 500


class KillReport(Struct, frozen=True, kw_only=True):
    """cancelled: orders whose cancel this call asked for; what is at the broker is cancelled by the workers."""

    halt: HaltReport
    cancelled: int


class KillTrading:
    def __init__(
        self, store: OrderStore, queue: WorkQueue, halt: HaltTrading, *, squares_off: bool = False
    ) -> None:
        self._store = store
        self._queue = queue
        self._halt = halt
        self._squares_off = squares_off

    async def __call__(self, killed_by: str, reason: str) -> KillReport:
        """Halt first, so that no order can come while the others are cancelled; asking twice is harmless.

        Calls that are in the air are waited for last: their orders are cancelled by whoever learns of them.

        Raises:
            StorageUnavailable: trading may be halted and some orders may be asked to be cancelled; ask again.
        """
        state = await self.stop(killed_by, reason)
        cancelled = await self.cancel(killed_by)
        return KillReport(
            halt=HaltReport(state=state, in_flight=await self._halt.settle()), cancelled=cancelled
        )

    async def stop(self, killed_by: str, reason: str) -> TradingState:
        """The first half: the halt."""
        return await self._halt.stop(killed_by, reason, squares_off=self._squares_off)

    async def cancel(self, killed_by: str) -> int:
        """The second half, once trading is halted; how many orders it has asked to cancel."""
        cancelled = 0
        while order_ids := await self._store.open_orders(_BATCH):
            for order_id in order_ids:
                # One that is asked twice, or has ended meanwhile, is no open order at the next look.
                if await self._store.request_cancel(order_id, killed_by) is CancelResult.REQUESTED:
                    self._queue.enqueue(Job(JobKind.CANCEL_ORDER, order_id))
                    cancelled += 1
        return cancelled
