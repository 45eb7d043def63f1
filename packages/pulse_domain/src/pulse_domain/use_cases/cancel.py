"""Cancel an order: note the wish, withdraw what was not sent, cancel what is live."""

from pulse_domain.errors import (
    BrokerError,
    BrokerOutcomeUnknown,
    BrokerRejected,
    BrokerUnavailable,
    NotCancellable,
    NotFound,
    StorageUnavailable,
)
from pulse_domain.orders import events as ev
from pulse_domain.orders.events import storable
from pulse_domain.orders.execution import Execution
from pulse_domain.orders.ids import ClientId, OrderId
from pulse_domain.orders.status import Phase
from pulse_domain.ports.broker import Broker
from pulse_domain.ports.clock import Clock
from pulse_domain.ports.order_store import (
    Booking,
    BookResult,
    BrokerCall,
    OrderStore,
    OrderView,
    Selection,
    Tracked,
)
from pulse_domain.ports.rate_limiter import RateLimiter
from pulse_domain.ports.work_queue import Job, JobKind, WorkQueue
from pulse_domain.traffic import CallKind, Refused, Unlimited


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
    """Carry requested cancels out; safe to run at any time, by anyone, again and again.

    Cancels take their turn at the limiter, where they go before all else. Those that get none within the
    deadline of a call are left to the next pass.
    """

    def __init__(
        self,
        store: OrderStore,
        broker: Broker,
        clock: Clock,
        *,
        batch_size: int = 500,
        call_timeout_s: float = 10.0,
        limiter: RateLimiter | None = None,
    ):
        self._store = store
        self._broker = broker
        self._clock = clock
        self._batch_size = batch_size
        self._call_timeout_s = call_timeout_s
        self._limiter = limiter or Unlimited()
        # Refused cancels: how often, and how many passes to leave out before asking again.
        self._refused: dict[str, tuple[int, int]] = {}
        # Calls that are not on record yet.
        self._told: list[Booking] = []

    async def __call__(self) -> int:
        """One pass. Returns how many executions were withdrawn or asked to be cancelled."""
        handled = await self._withdraw()
        tracked = await self._due()
        requests = [
            Booking(
                order_id=t.order.order_id,
                event=ev.ExecutionCancelRequested(seq=t.execution.seq, chunk=t.execution.chunk),
            )
            for t in tracked
        ]
        booked = await self._store.book(requests) if requests else []
        # An execution that is claimed or unknown has no order id yet: whoever learns it comes here again.
        live = [
            b.execution
            for b in booked
            if b.execution is not None and b.execution.phase is Phase.LIVE and b.execution.cancel_requested
        ]
        try:
            handled += await self._cancel_all(live)
        finally:
            await self._record()
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

    async def _due(self) -> list[Tracked]:
        """A batch of those to ask for now: what backs off takes no place in it."""
        known = set(self._refused)
        limit = self._batch_size + sum(passes > 0 for _, passes in self._refused.values())
        found = await self._store.select(Selection.TO_CANCEL, limit=limit)
        if len(found) < limit:
            # All that there is: the others have ended.
            for ended in known - {t.execution.execution_id for t in found}:
                self._refused.pop(ended, None)
        due = [t for t in found if self._is_due(t.execution.execution_id)]
        return due[: self._batch_size]

    def _is_due(self, execution_id: str) -> bool:
        # A broker that refuses is asked after 1, 3, 7, ... passes: each refusal is two rows in the journal.
        times, passes = self._refused.get(execution_id, (0, 0))
        if passes > 0:
            self._refused[execution_id] = (times, passes - 1)
        return passes == 0

    async def _cancel_all(self, live: list[Execution]) -> int:
        """Cancel in order, asking for leave for all that is left: so placements see how many are to come."""
        tokens: list[str] = []
        fresh_until = 0.0
        try:
            for done, execution in enumerate(live):
                if tokens and self._clock.monotonic() > fresh_until:
                    await self._limiter.give_back(tokens)
                    tokens = []
                if not tokens:
                    leave = await self._limiter.acquire(
                        CallKind.CANCEL, count=len(live) - done, timeout_s=self._call_timeout_s
                    )
                    if isinstance(leave, Refused):
                        return done
                    tokens, fresh_until = list(leave.tokens), leave.fresh_until
                tokens.pop(0)
                await self._cancel_at_broker(execution)
        finally:
            if tokens:
                await self._limiter.give_back(tokens)
        return len(live)

    async def _cancel_at_broker(self, execution: Execution) -> None:
        assert execution.broker_order_id is not None, "a live execution has its broker order id"
        began_at, began = self._clock.now(), self._clock.monotonic()
        place = {"seq": execution.seq, "chunk": execution.chunk}
        # Known already: it only carries the record of the call.
        event: ev.AnyExecutionEvent = ev.ExecutionCancelRequested(**place)
        error: BrokerError | None = None
        try:
            await self._broker.cancel(execution.broker_order_id, timeout_s=self._call_timeout_s)
        except BrokerRejected as refused:
            error = refused
            times = self._refused.get(execution.execution_id, (0, 0))[0] + 1
            self._refused[execution.execution_id] = (times, min(2**times - 1, _PASSES_MAX))
            event = ev.ExecutionCancelRefused(**place, reason=storable(refused.reason_code))
        except (BrokerUnavailable, BrokerOutcomeUnknown) as unanswered:
            # The next pass asks again; asking twice for a cancel is harmless.
            error = unanswered
        call = BrokerCall(
            broker=self._broker.name,
            operation="cancel",
            began_at=began_at,
            duration_ms=round((self._clock.monotonic() - began) * 1000),
            request={"broker_order_id": execution.broker_order_id},
            error=storable(f"{error.reason_code}: {error.message}") if error else None,
        )
        self._told.append(Booking(order_id=execution.order_id, event=event, call=call))

    async def _record(self) -> None:
        if not self._told:
            return
        told, self._told = self._told, []
        try:
            await self._store.book(told)
        except StorageUnavailable:
            self._told = told + self._told
            raise
