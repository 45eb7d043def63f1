"""Record what came of sent executions, and see to cancels that were asked for meanwhile."""

from collections.abc import Sequence

from pulse_domain.ports.order_store import Booked, Booking, BookResult, OrderStore
from pulse_domain.use_cases.cancel import CancelExecutions


class RecordOutcomes:
    def __init__(self, store: OrderStore, cancel: CancelExecutions) -> None:
        self._store = store
        self._cancel = cancel

    async def __call__(self, bookings: Sequence[Booking]) -> list[Booked]:
        """Book a batch of outcomes in one step.

        Raises:
            StorageUnavailable: nothing is known to be booked; booking the same again is safe.
        """
        booked = await self._store.book(bookings)
        if any(
            b.result is BookResult.APPLIED and b.execution is not None and b.execution.cancel_requested
            for b in booked
        ):
            # Whoever learns that an execution is live cancels it where that was asked for.
            await self._cancel()
        return booked
