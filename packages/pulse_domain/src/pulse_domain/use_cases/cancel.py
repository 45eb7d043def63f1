"""Cancel an order: note the wish, withdraw what was not sent, cancel what is live."""

from pulse_domain.errors import (
    BrokerOutcomeUnknown,
    BrokerRejected,
    BrokerUnavailable,
    NotCancellable,
    NotFound,
)
from pulse_domain.orders import events as ev
from pulse_domain.orders.events import storable
from pulse_domain.orders.execution import Execution
from pulse_domain.orders.ids import ClientId, OrderId
from pulse_domain.orders.status import Phase
from pulse_domain.ports.broker import Broker
from pulse_domain.ports.order_store import Booking, BookResult, OrderStore, OrderView, Selection
from pulse_domain.ports.work_queue import Job, JobKind, WorkQueue


class RequestCancel:
    def __init__(self, store: OrderStore, queue: WorkQueue) -> None:
        self._store = store
        self._queue = queue

    async def __call__(self, order_id: OrderId, client_id: ClientId | None, requested_by: str) -> OrderView:
        """Take the wish; asking twice is asking once. The answer shows the order as it stands then.

        Raises:
            NotFound: there is no such order for this client.
            NotCancellable: the order is done.
        """
        view = await self._store.get(order_id, client_id)
        if view is None:
            raise NotFound(order_id=order_id)
        if view.order.cancel_requested_at is not None:
            return view
        if view.summary.done:
            raise NotCancellable(state=view.summary.state)
        await self._store.request_cancel(order_id, requested_by)
        self._queue.enqueue(Job(JobKind.CANCEL_ORDER, order_id))
        return await self._store.get(order_id, client_id) or view


_PASSES_MAX = 63


class CancelExecutions:
    """Carry requested cancels out; safe to run at any time, by anyone, again and again."""

    def __init__(
        self, store: OrderStore, broker: Broker, *, batch_size: int = 500, call_timeout_s: float = 10.0
    ):
        self._store = store
        self._broker = broker
        self._batch_size = batch_size
        self._call_timeout_s = call_timeout_s
        # Refused cancels: how often, and how many passes to leave out before asking again.
        self._refused: dict[str, tuple[int, int]] = {}

    async def __call__(self) -> int:
        """One pass. Returns how many executions were withdrawn or asked to be cancelled."""
        handled = await self._withdraw()
        tracked = [
            t
            for t in await self._store.select(Selection.TO_CANCEL, limit=self._batch_size)
            if self._is_due(t.execution.execution_id)
        ]
        requests = [
            Booking(
                order_id=t.order.order_id,
                event=ev.ExecutionCancelRequested(seq=t.execution.seq, chunk=t.execution.chunk),
            )
            for t in tracked
        ]
        for booked in await self._store.book(requests) if requests else []:
            execution = booked.execution
            # An execution that is claimed or unknown has no order id yet: whoever learns it comes here again.
            if execution is not None and execution.phase is Phase.LIVE and execution.cancel_requested:
                await self._cancel_at_broker(execution)
                handled += 1
        return handled

    async def _withdraw(self) -> int:
        planned = await self._store.select(Selection.TO_WITHDRAW, limit=self._batch_size)
        if not planned:
            return 0
        booked = await self._store.book(
            [
                Booking(
                    order_id=t.order.order_id,
                    event=ev.ExecutionWithdrawn(seq=t.execution.seq, chunk=t.execution.chunk),
                )
                for t in planned
            ]
        )
        return sum(b.result is BookResult.APPLIED for b in booked)

    def _is_due(self, execution_id: str) -> bool:
        # A broker that refuses is asked after 1, 3, 7, ... passes: each refusal is two rows in the journal.
        times, passes = self._refused.get(execution_id, (0, 0))
        if passes > 0:
            self._refused[execution_id] = (times, passes - 1)
        return passes == 0

    async def _cancel_at_broker(self, execution: Execution) -> None:
        assert execution.broker_order_id is not None, "a live execution has its broker order id"
        try:
            await self._broker.cancel(execution.broker_order_id, timeout_s=self._call_timeout_s)
        except BrokerRejected as refused:
            times = self._refused.get(execution.execution_id, (0, 0))[0] + 1
            self._refused[execution.execution_id] = (times, min(2**times - 1, _PASSES_MAX))
            event = ev.ExecutionCancelRefused(
                seq=execution.seq, chunk=execution.chunk, reason=storable(refused.reason_code)
            )
            await self._store.book([Booking(order_id=execution.order_id, event=event)])
        except (BrokerUnavailable, BrokerOutcomeUnknown):
            # The next pass asks again; asking twice for a cancel is harmless.
            return
