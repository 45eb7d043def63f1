"""Recover from workers that have gone silent, and close what can no longer be sent."""

from collections.abc import Callable
from enum import StrEnum

from msgspec import Struct

from pulse_domain.orders import events as ev
from pulse_domain.orders.execution import Execution
from pulse_domain.ports.order_store import Booking, BookResult, OrderStore, Selection
from pulse_domain.use_cases.cancel import CancelExecutions

LEASE_EXPIRED = "LEASE_EXPIRED"
# Longer than any replay window, so that a sighting is never forgotten while it counts.
SIGHTINGS_KEPT_S = 24 * 3600.0


class MonitorReport(Struct, frozen=True, kw_only=True):
    splits_recovered: int = 0
    lapsed: int = 0
    unanswered: int = 0
    cancelled: int = 0


class OnWindowEnd(StrEnum):
    """What becomes of the rest of a split order that is still at the broker when its window ends."""

    LEAVE = "leave"
    CANCEL = "cancel"


class MonitorTimeouts:
    def __init__(
        self,
        store: OrderStore,
        cancel: CancelExecutions,
        *,
        split_attempts_max: int = 3,
        batch_size: int = 500,
        on_window_end: OnWindowEnd = OnWindowEnd.LEAVE,
    ) -> None:
        self._store = store
        self._cancel = cancel
        self._split_attempts_max = split_attempts_max
        self._batch_size = batch_size
        self._on_window_end = on_window_end

    async def __call__(self) -> MonitorReport:
        """One pass over everything that time alone can change."""
        recovered = await self._store.recover_splits(self._split_attempts_max)
        if self._on_window_end is OnWindowEnd.CANCEL:
            await self._book_all(
                Selection.PAST_WINDOW, lambda e: ev.ExecutionCancelRequested(seq=e.seq, chunk=e.chunk)
            )
        cancelled = await self._cancel()
        lapsed = await self._book_all(Selection.OVERDUE, lambda e: ev.ExecutionLapsed(seq=e.seq, chunk=e.chunk))
        unanswered = await self._book_all(
            Selection.LEASE_EXPIRED,
            lambda e: ev.ExecutionUnanswered(seq=e.seq, chunk=e.chunk, attempt=e.attempt, reason=LEASE_EXPIRED),
        )
        await self._store.forget_sightings(SIGHTINGS_KEPT_S)
        return MonitorReport(
            splits_recovered=len(recovered), lapsed=lapsed, unanswered=unanswered, cancelled=cancelled
        )

    async def _book_all(self, selection: Selection, event: Callable[[Execution], ev.AnyExecutionEvent]) -> int:
        applied = 0
        while tracked := await self._store.select(selection, limit=self._batch_size):
            booked = await self._store.book(
                [Booking(order_id=t.order.order_id, event=event(t.execution)) for t in tracked]
            )
            now_applied = sum(b.result is BookResult.APPLIED for b in booked)
            applied += now_applied
            if len(tracked) < self._batch_size or not now_applied:
                break
        return applied
