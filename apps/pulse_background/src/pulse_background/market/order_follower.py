"""What becomes of orders, read from their journals: one look a moment for all, and at once when woken.

A new order is looked at in its turn: at its beginning it is on its way to the broker, and whoever sends it is
not to be held up.

A journal is folded by the domain's own functions, row by row, so that what a row has changed is told exactly
once, whoever has followed the order before: a fill, a total that is explained later, a trade that was busted.
"""

import asyncio
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal

import structlog
from msgspec import Struct
from msgspec.structs import replace

from pulse_background.wakeup import Wakeup
from pulse_domain.errors import StorageUnavailable
from pulse_domain.orders import events as ev
from pulse_domain.orders.ids import OrderId
from pulse_domain.orders.journal import OrderHistory, apply_to_order, apply_to_slice, planned_slices
from pulse_domain.orders.model import Order
from pulse_domain.orders.status import OrderQueueStatus
from pulse_domain.orders.summary import OrderSummary, summarise_history
from pulse_domain.ports.clock import Clock
from pulse_domain.ports.order_store import OrderStore

log = structlog.get_logger(__name__)

_ROWS = 500
# The exchange may tell of a fill after the end; what comes later still is found at the next start.
_LINGER_S = 60.0


class OrderChange(Struct, frozen=True, kw_only=True):
    """What a row of the journal has changed.

    quantity, value: by how much what is filled has grown; below zero where a trade was taken back.
    reason_code: where it tells why something was refused or ended.
    """

    seq: int
    at: datetime
    summary: OrderSummary
    quantity: int
    value: Decimal
    reason_code: str | None


class FollowedOrder:
    """The state of one order after the rows that were taken in."""

    def __init__(self, order: Order) -> None:
        self.order = order
        # As it was when it was accepted: its journal tells the rest.
        accepted = replace(
            order,
            queue_status=OrderQueueStatus.PENDING,
            skip_reason=None,
            failure=None,
            split_attempt=0,
            cancel_requested_at=None,
            paused_at=None,
        )
        self._history = OrderHistory(order=accepted)
        self.seq = 0
        self.quantity, self.value = 0, Decimal(0)
        self.summary = summarise_history(self._history)

    def take(self, entry: ev.JournalEntry) -> OrderChange:
        """Fold one row in; rows come in order."""
        event, order, slices = entry.event, self._history.order, self._history.slices
        if isinstance(event, ev.ExecutionEvent):
            slices = tuple(apply_to_slice(each, event) if each.seq == event.seq else each for each in slices)
        else:
            order = apply_to_order(order, event, entry.at)
            if isinstance(event, ev.SplitSaved):
                slices = tuple(planned_slices(order, event))
        self._history = OrderHistory(order=order, slices=slices)
        executions = [execution for each in slices for execution in each.executions]
        quantity = sum(execution.filled_quantity for execution in executions)
        value = sum((execution.filled_value for execution in executions), Decimal(0))
        change = OrderChange(
            seq=entry.seq,
            at=entry.at,
            summary=summarise_history(self._history),
            quantity=quantity - self.quantity,
            value=value - self.value,
            reason_code=_reason(event),
        )
        self.seq, self.quantity, self.value, self.summary = entry.seq, quantity, value, change.summary
        return change


def _reason(event: ev.Event) -> str | None:
    match event:
        case ev.ExecutionRejected(reason_code=code):
            return code
        case ev.ExecutionCancelled() | ev.ExecutionWithdrawn():
            return "CANCELLED"
        case ev.ExecutionExpired() | ev.ExecutionLapsed():
            return "EXPIRED"
        case ev.ExecutionFailed(reason=reason) | ev.SplitFailed(reason=reason) | ev.OrderSkipped(reason=reason):
            return reason
        case _:
            return None


OnChange = Callable[[FollowedOrder, OrderChange], None]


class _Watched:
    def __init__(self, order_id: OrderId, on_change: OnChange) -> None:
        self.order_id = order_id
        self.on_change = on_change
        self.followed: FollowedOrder | None = None
        self.ended_at: float | None = None


class OrderFollower:
    def __init__(self, store: OrderStore, clock: Clock, *, poll_s: float = 0.2) -> None:
        self._store = store
        self._clock = clock
        self._poll_s = poll_s
        self._wakeup = Wakeup(clock)
        self._watched: dict[OrderId, _Watched] = {}
        self._any = asyncio.Event()

    def follow(self, order_id: OrderId, on_change: OnChange, known: FollowedOrder | None = None) -> None:
        """Tell of every row from now on; known: what was read of it already."""
        watched = self._watched[order_id] = _Watched(order_id, on_change)
        watched.followed = known
        self._any.set()

    def forget(self, order_id: OrderId) -> None:
        self._watched.pop(order_id, None)

    def wake(self) -> None:
        """Something may have changed: look at once."""
        self._wakeup.call()

    async def read(self, order_id: OrderId, on_change: Callable[[OrderChange], None]) -> FollowedOrder | None:
        """An order as it stands now, and all that has changed it so far; None where there is none.

        Raises:
            StorageUnavailable.
        """
        view = await self._store.get(order_id)
        if view is None:
            return None
        followed = FollowedOrder(view.order)
        while entries := await self._store.journal(order_id, after_seq=followed.seq, limit=_ROWS):
            for entry in entries:
                on_change(followed.take(entry))
        return followed

    async def run(self) -> None:
        """Look until cancelled; nothing is asked while there is nothing to follow."""
        while True:
            if not self._watched:
                self._any.clear()
                await self._any.wait()
            await self._wakeup.wait(self._poll_s)
            try:
                await self._look()
            except StorageUnavailable:
                await self._clock.sleep(self._poll_s)

    async def _look(self) -> None:
        watched = list(self._watched.values())
        if not watched:
            return
        heads = await self._store.journal_heads([each.order_id for each in watched])
        for each in watched:
            head = heads.get(each.order_id)
            if head is None:
                log.error("an order that was followed is not in the store any more", order_id=each.order_id)
                self.forget(each.order_id)
            elif head > (each.followed.seq if each.followed else 0):
                await self._try_read_on(each)
            elif each.ended_at is not None and self._clock.monotonic() - each.ended_at > _LINGER_S:
                self.forget(each.order_id)

    async def _try_read_on(self, watched: _Watched) -> None:
        try:
            await self._read_on(watched)
        except StorageUnavailable:
            raise
        except Exception as error:
            # One journal that cannot be read keeps no other from being followed.
            log.error("an order cannot be followed", order_id=watched.order_id, exc_info=error)
            self.forget(watched.order_id)

    async def _read_on(self, watched: _Watched) -> None:
        followed = watched.followed
        if followed is None:
            view = await self._store.get(watched.order_id)
            if view is None:
                return
            followed = watched.followed = FollowedOrder(view.order)
        while entries := await self._store.journal(watched.order_id, after_seq=followed.seq, limit=_ROWS):
            for entry in entries:
                watched.on_change(followed, followed.take(entry))
        if followed.summary.done:
            watched.ended_at = watched.ended_at or self._clock.monotonic()
        else:
            watched.ended_at = None
