"""Take a person's word on an execution that nobody knows the fate of."""

from msgspec import Struct

from pulse_domain.errors import NotFound, NotResolvable
from pulse_domain.orders import events as ev
from pulse_domain.orders.events import storable
from pulse_domain.orders.execution import FOUND_BY_HAND, Execution, trading_day_start
from pulse_domain.orders.ids import BrokerOrderId, OrderId, place_of
from pulse_domain.orders.status import Phase, TerminalReason
from pulse_domain.ports.order_store import NAMED_MAX, Booking, BookResult, OrderStore, Selection
from pulse_domain.ports.work_queue import Job, JobKind, WorkQueue


class Word(Struct, frozen=True, kw_only=True):
    """What a person says: the broker's id of the order; or None, that the broker has no such order."""

    broker_order_id: BrokerOrderId | None
    resolved_by: str
    note: str = ""


class ResolveExecution:
    def __init__(self, store: OrderStore, queue: WorkQueue) -> None:
        self._store = store
        self._queue = queue

    async def __call__(self, target: str, word: Word) -> Execution:
        """Settle one execution by a person's word; the same word again changes nothing.

        Found, it is live under that id, and what the broker says of the id is booked. Absent, it is closed as
        failed and never sent again. A later fact from the broker corrects both.

        target: the id of the execution; or of a slice or an order in which exactly one is in doubt.

        Raises:
            NotFound: there is no such execution.
            NotResolvable: its fate is known; the target holds none or several in doubt; or the broker order id
                is another execution's.
        """
        place = place_of(target)
        if place is None:
            raise NotFound("there is no such execution", id=target)
        execution = await self._find(*place)
        if _has_been_said(execution, word):
            return execution
        # What was closed as absent may have been so by mistake: of one that is named a person may know better.
        if not (_in_doubt(execution) or execution.terminal is TerminalReason.FAILED):
            raise _known(execution)
        if word.broker_order_id is not None:
            await self._check_free(execution, word.broker_order_id)
        [booked] = await self._store.book([Booking(order_id=execution.order_id, event=_event(execution, word))])
        if booked.execution is None or booked.result is BookResult.REFUSED:
            raise _known(booked.execution or execution)
        self._queue.enqueue(Job(JobKind.RECONCILE, execution.order_id))
        if word.broker_order_id is not None and booked.execution.cancel_requested:
            self._queue.enqueue(Job(JobKind.CANCEL_ORDER, execution.order_id))
        return booked.execution

    async def _find(self, order_id: OrderId, seq: int | None, chunk: int | None) -> Execution:
        if await self._store.get(order_id) is None:
            raise NotFound(order_id=order_id)
        inside = [
            execution
            for part in await self._store.slices(order_id)
            if seq in (None, part.seq)
            for execution in part.executions
            if chunk in (None, execution.chunk)
        ]
        if seq is not None and not inside:
            raise NotFound("there is no such execution", order_id=order_id)
        # One that is named needs no search.
        found = inside if chunk is not None else [execution for execution in inside if _in_doubt(execution)]
        if len(found) != 1:
            raise NotResolvable(
                f"{len(found)} executions are in doubt: name one" if found else "no execution is in doubt",
                order_id=order_id,
                executions=[execution.execution_id for execution in found],
            )
        return found[0]

    async def _check_free(self, execution: Execution, broker_order_id: BrokerOrderId) -> None:
        taken = await self._store.broker_order_ids(trading_day_start(execution.due_at))
        named = await self._store.select(Selection.FOUND_BY_HAND, limit=NAMED_MAX)
        taken |= {t.execution.broker_order_id for t in named if t.execution.broker_order_id is not None}
        if broker_order_id in taken and broker_order_id != execution.broker_order_id:
            raise NotResolvable("another execution has this broker order id", broker_order_id=broker_order_id)


def _in_doubt(execution: Execution) -> bool:
    return execution.phase is Phase.UNKNOWN or execution.terminal is TerminalReason.UNRESOLVED


def _has_been_said(execution: Execution, word: Word) -> bool:
    if word.broker_order_id is None:
        return execution.terminal is TerminalReason.FAILED
    return FOUND_BY_HAND in execution.flags and execution.broker_order_id == word.broker_order_id


def _known(execution: Execution) -> NotResolvable:
    return NotResolvable(
        f"the execution is {execution.status}: only one whose fate nobody knows can be resolved",
        execution_id=execution.execution_id,
        status=execution.status,
    )


def _event(execution: Execution, word: Word) -> ev.ExecutionResolvedFound | ev.ExecutionResolvedAbsent:
    place = {"seq": execution.seq, "chunk": execution.chunk}
    note = storable(word.note)
    if word.broker_order_id is None:
        return ev.ExecutionResolvedAbsent(
            **place, attempt=execution.attempt, resolved_by=word.resolved_by, note=note
        )
    return ev.ExecutionResolvedFound(
        **place, broker_order_id=word.broker_order_id, resolved_by=word.resolved_by, note=note
    )
