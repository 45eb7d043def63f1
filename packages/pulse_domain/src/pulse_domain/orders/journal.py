"""Fold a journal over an order as it was accepted: the stored state, again."""

from collections.abc import Iterable
from datetime import datetime

from msgspec import Struct
from msgspec.structs import replace

from pulse_domain.errors import StaleAttempt
from pulse_domain.orders import events as ev
from pulse_domain.orders.execution import Execution, apply
from pulse_domain.orders.model import NewOrder, Order
from pulse_domain.orders.slices import Slice
from pulse_domain.orders.status import QUEUE_TRANSITIONS, OrderQueueStatus, QueueEvent, next_state

CANCELLED_BEFORE_SPLIT = "CANCELLED"  # a skip reason
ATTEMPTS_SPENT = "ATTEMPTS_SPENT"  # a failure


class OrderHistory(Struct, frozen=True, kw_only=True):
    """An order with its slices, as some point of its journal left them."""

    order: Order
    slices: tuple[Slice, ...] = ()


def accepted_event(new: NewOrder) -> ev.OrderAccepted:
    """The first row of an order's journal."""
    return ev.OrderAccepted(
        instrument=str(new.request.instrument),
        side=new.request.side,
        total_quantity=new.request.total_quantity,
        source=new.source,
    )


def replay(accepted: Order, journal: Iterable[ev.JournalEntry]) -> OrderHistory:
    """Rebuild the state that the journal led to.

    accepted: the order as it was stored first; its later changes are taken from the journal.
    """
    order, slices = accepted, dict[int, Slice]()
    for entry in journal:
        if isinstance(entry.event, ev.ExecutionEvent):
            slices[entry.event.seq] = apply_to_slice(slices[entry.event.seq], entry.event)
            continue
        order = apply_to_order(order, entry.event, entry.at)
        if isinstance(entry.event, ev.SplitSaved):
            slices = {s.seq: s for s in planned_slices(order, entry.event)}
    return OrderHistory(order=order, slices=tuple(slices[seq] for seq in sorted(slices)))


def apply_to_order(order: Order, event: ev.Event, at: datetime) -> Order:
    """Take an event on the order itself in.

    Raises:
        IllegalTransition: the queue table has no cell for it.
    """
    match event:
        case ev.SplitClaimed():
            return replace(order, queue_status=_queue(order, QueueEvent.CLAIMED), split_attempt=event.attempt)
        case ev.SplitLeaseExpired():
            return replace(order, queue_status=_queue(order, QueueEvent.LEASE_EXPIRED))
        case ev.SplitSaved() if event.attempt != order.split_attempt:
            raise StaleAttempt(
                "OrderQueueStatus", f"attempt {order.split_attempt}", f"plan of attempt {event.attempt}"
            )
        case ev.SplitSaved():
            return replace(order, queue_status=_queue(order, QueueEvent.SPLIT))
        case ev.SplitFailed():
            return replace(order, queue_status=_queue(order, QueueEvent.FAILED), failure=event.reason)
        case ev.OrderSkipped():
            return replace(order, queue_status=_queue(order, QueueEvent.SKIPPED), skip_reason=event.reason)
        case ev.OrderPaused():
            return replace(order, paused_at=order.paused_at or at)
        case ev.OrderResumed():
            return replace(order, paused_at=None)
        case ev.CancelRequested():
            return replace(order, cancel_requested_at=order.cancel_requested_at or at)
        case _:
            return order


def apply_to_slice(slice_: Slice, event: ev.ExecutionEvent) -> Slice:
    """Take an event on one of its executions in; raises as `orders.execution.apply` does."""
    executions = list(slice_.executions)
    executions[event.chunk] = apply(executions[event.chunk], event)  # type: ignore[arg-type]  # every subclass is in the union
    return replace(slice_, executions=tuple(executions))


def planned_slices(order: Order, plan: ev.SplitSaved) -> list[Slice]:
    """The slices as the plan leaves them: nothing claimed, nothing sent."""
    return [
        Slice(
            order_id=order.order_id,
            seq=seq,
            quantity=planned.quantity,
            scheduled_at=planned.scheduled_at,
            executions=tuple(
                Execution(
                    order_id=order.order_id,
                    seq=seq,
                    chunk=chunk,
                    tag=execution.tag,
                    planned_quantity=execution.quantity,
                    quantity=execution.quantity,
                    due_at=planned.scheduled_at,
                    expires_at=plan.expires_at,
                )
                for chunk, execution in enumerate(planned.executions)
            ),
        )
        for seq, planned in enumerate(plan.slices, start=1)
    ]


def _queue(order: Order, event: QueueEvent) -> OrderQueueStatus:
    return next_state(QUEUE_TRANSITIONS, order.queue_status, event)
