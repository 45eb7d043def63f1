"""Give slices that missed their instants new ones: an outage must not end in one big order.

The late slices of an order go out at least the smaller of two intervals apart: that of its plan, and what is
left of the window for each of them. What would come after the window and its grace lapses, as ever.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta
from itertools import groupby

from pulse_domain.orders import events as ev
from pulse_domain.orders.execution import Execution
from pulse_domain.orders.model import Order
from pulse_domain.ports.order_store import LATE_S, Booking, BookResult, OrderStore, Selection, Tracked

# The first of an order's late slices keeps its place before what falls due now, and can be claimed at once.
_HEAD_START = timedelta(seconds=LATE_S / 2)


class CatchUp:
    """Safe to run by anyone, at any time, by many at once: an instant is moved once."""

    def __init__(self, store: OrderStore, *, batch_size: int = 2000) -> None:
        self._store = store
        # An order has up to 100 slices, each of a few executions: a batch holds whole orders, all but the last.
        self._batch_size = batch_size

    async def __call__(self) -> int:
        """Move late executions; returns how many were moved."""
        late = await self._store.select(Selection.LATE, limit=self._batch_size)
        if not late:
            return 0
        now = await self._store.now()
        orders = _by_order(late)
        if len(late) == self._batch_size and len(orders) > 1:
            # Of this one there may be more: it comes with the next batch.
            orders.pop()
        bookings = [
            Booking(order_id=order.order_id, event=event)
            for order, executions in orders
            for event in spaced(order, executions, now)
        ]
        booked = await self._store.book(bookings)
        return sum(b.result is BookResult.APPLIED for b in booked)


def spaced(order: Order, late: Iterable[Execution], now: datetime) -> list[ev.ExecutionRescheduled]:
    """New instants for an order's late executions; those of one slice keep together.

    now: by the store's clock.
    """
    slices = [list(group) for _, group in groupby(sorted(late, key=_place), key=lambda e: e.seq)]
    events: list[ev.ExecutionRescheduled] = []
    if not slices:
        return events
    interval = _interval(order, slices, now)
    for nth, executions in enumerate(slices):
        due_at = now + nth * interval if nth else now - _HEAD_START
        events += [
            ev.ExecutionRescheduled(seq=e.seq, chunk=e.chunk, was_due_at=e.due_at, due_at=due_at)
            for e in executions
            if e.due_at < due_at
        ]
    return events


def _interval(order: Order, late: list[list[Execution]], now: datetime) -> timedelta:
    # Past the window there is its grace, for slices that were late at its end.
    end = order.ends_at if order.ends_at > now else max(e.expires_at for slice_ in late for e in slice_)
    left = (end - now) / len(late)
    split = order.request.split_config
    if split is None:
        return left
    return min(left, (order.ends_at - order.starts_at) / (split.num_splits - 1))


def _place(execution: Execution) -> tuple[int, int]:
    return execution.seq, execution.chunk


def _by_order(late: list[Tracked]) -> list[tuple[Order, list[Execution]]]:
    found: dict[str, tuple[Order, list[Execution]]] = {}
    for tracked in late:
        found.setdefault(tracked.order.order_id, (tracked.order, []))[1].append(tracked.execution)
    return list(found.values())
