"""Record what came of sent executions, and have those cancelled that are to be."""

from collections.abc import Callable, Sequence

from pulse_domain.ports.order_store import Booked, Booking, BookResult, OrderStore


class RecordOutcomes:
    """on_to_cancel: told that an execution is live that was asked to be cancelled meanwhile."""

    def __init__(self, store: OrderStore, on_to_cancel: Callable[[], object]) -> None:
        self._store = store
        self._on_to_cancel = on_to_cancel

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
            # Not here: other outcomes must not wait for the broker's answers to cancels.
            self._on_to_cancel()
        return booked
