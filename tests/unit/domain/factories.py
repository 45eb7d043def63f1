"""Orders, executions and events with defaults, so that a test shows only what matters to it."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import reduce
from typing import Any, TypeVar
from uuid import UUID

from msgspec.structs import replace

from pulse_domain.instruments import Exchange, Instrument, InstrumentTerms
from pulse_domain.orders import events as ev
from pulse_domain.orders.execution import Execution, apply
from pulse_domain.orders.ids import BrokerOrderId, ClientId, OrderId, order_id_from_uuid
from pulse_domain.orders.journal import OrderHistory, replay
from pulse_domain.orders.model import Order, OrderRequest, Side, Source, window

MARKET_OPEN = datetime(2026, 1, 20, 3, 45, tzinfo=UTC)  # 9:15 in Mumbai
ORDER_ID = order_id_from_uuid(UUID("019bd9c4-5a20-7b6e-8f3a-2c1d4e5f6071"))

EventT = TypeVar("EventT", bound=ev.ExecutionEvent)


def at(seconds: float = 0) -> datetime:
    """An instant, counted from the market's opening."""
    return MARKET_OPEN + timedelta(seconds=seconds)


# --- orders ------------------------------------------------------------------------------------


def request(**changes: Any) -> OrderRequest:
    asked = OrderRequest(instrument=Instrument(Exchange.NSE, "RELIANCE"), side=Side.BUY, total_quantity=100)
    return replace(asked, **changes)


def order(asked: OrderRequest | None = None, **changes: Any) -> Order:
    asked = asked or request()
    starts_at, ends_at = window(asked, MARKET_OPEN)
    accepted = Order(
        order_id=ORDER_ID,
        client_id=ClientId("desk"),
        order_unique_key="key-1",
        request=asked,
        terms=InstrumentTerms(),
        source=Source.API,
        request_id="req_1",
        trace_id="trace_1",
        created_at=MARKET_OPEN,
        starts_at=starts_at,
        ends_at=ends_at,
    )
    return replace(accepted, **changes)


def journal(events: Iterable[Any]) -> list[ev.JournalEntry]:
    return [ev.JournalEntry(seq=seq, at=at(seq), event=event) for seq, event in enumerate(events, start=1)]


def plan(*slices: tuple[int, ...], attempt: int = 1) -> ev.SplitSaved:
    """A plan from the quantities of each slice's executions, a minute apart."""
    return ev.SplitSaved(
        attempt=attempt,
        expires_at=at(3600),
        slices=tuple(
            ev.PlannedSlice(
                sum(quantities),
                at(60 * seq),
                tuple(
                    ev.PlannedExecution(quantity, f"PL{seq:09}{chunk:09}")
                    for chunk, quantity in enumerate(quantities)
                ),
            )
            for seq, quantities in enumerate(slices)
        ),
    )


def history(*slices: tuple[int, ...], after: Iterable[ev.ExecutionEvent] = ()) -> OrderHistory:
    """A split order whose executions have the given quantities, with events taken in after the split."""
    accepted = order(request(total_quantity=sum(sum(quantities) for quantities in slices)))
    return replay(accepted, journal([split_claimed(), plan(*slices), *after]))


def split_claimed(attempt: int = 1) -> ev.SplitClaimed:
    return ev.SplitClaimed(attempt=attempt, executor="worker-1")


# --- executions --------------------------------------------------------------------------------


def execution(*events: ev.ExecutionEvent, quantity: int = 100) -> Execution:
    """A planned execution, with events taken in."""
    planned = Execution(
        order_id=OrderId(ORDER_ID),
        seq=1,
        chunk=0,
        tag="PL" + "A" * 18,
        planned_quantity=quantity,
        quantity=quantity,
        due_at=at(),
        expires_at=at(3600),
    )
    return after(planned, *events)


def live(*events: ev.ExecutionEvent, quantity: int = 100) -> Execution:
    """An execution that the broker has, with events taken in."""
    return execution(claimed(), accepted(), *events, quantity=quantity)


def after(before: Execution, *events: Any) -> Execution:
    return reduce(apply, events, before)


def on(seq: int, event: EventT, chunk: int = 0) -> EventT:
    """The same event on another execution."""
    return replace(event, seq=seq, chunk=chunk)


# --- what happens to them ----------------------------------------------------------------------


def claimed(attempt: int = 1) -> ev.ExecutionClaimed:
    return ev.ExecutionClaimed(seq=1, chunk=0, attempt=attempt, executor="worker-1", lease_until=at(30))


def released(attempt: int = 1, not_before: datetime = MARKET_OPEN) -> ev.ExecutionReleased:
    return ev.ExecutionReleased(seq=1, chunk=0, attempt=attempt, reason="NOT_SENT", not_before=not_before)


def rescheduled(was_due_at: datetime = MARKET_OPEN, due_at: datetime | None = None) -> ev.ExecutionRescheduled:
    return ev.ExecutionRescheduled(seq=1, chunk=0, was_due_at=was_due_at, due_at=due_at or at(30))


def unanswered(attempt: int = 1, call_ended_at: datetime | None = None) -> ev.ExecutionUnanswered:
    return ev.ExecutionUnanswered(
        seq=1, chunk=0, attempt=attempt, reason="TIMEOUT", call_ended_at=call_ended_at
    )


def absence_seen(attempt: int = 1, read_began_at: datetime = MARKET_OPEN) -> ev.ExecutionAbsenceSeen:
    return ev.ExecutionAbsenceSeen(seq=1, chunk=0, attempt=attempt, read_began_at=read_began_at)


def withdrawn() -> ev.ExecutionWithdrawn:
    return ev.ExecutionWithdrawn(seq=1, chunk=0)


def lapsed() -> ev.ExecutionLapsed:
    return ev.ExecutionLapsed(seq=1, chunk=0)


def failed(attempt: int = 1) -> ev.ExecutionFailed:
    return ev.ExecutionFailed(seq=1, chunk=0, attempt=attempt, reason="ABSENT")


def unresolved(attempt: int = 1) -> ev.ExecutionUnresolved:
    return ev.ExecutionUnresolved(seq=1, chunk=0, attempt=attempt, reason="NOT_PROVABLE")


def resolved_found(broker_order_id: str = "B1") -> ev.ExecutionResolvedFound:
    named = BrokerOrderId(broker_order_id)
    return ev.ExecutionResolvedFound(seq=1, chunk=0, broker_order_id=named, resolved_by="asha", note="seen")


def resolved_absent(attempt: int = 1) -> ev.ExecutionResolvedAbsent:
    return ev.ExecutionResolvedAbsent(seq=1, chunk=0, attempt=attempt, resolved_by="asha", note="not there")


def cancel_requested() -> ev.ExecutionCancelRequested:
    return ev.ExecutionCancelRequested(seq=1, chunk=0)


def replace_requested(quantity: int = 50, limit_price: str | None = None) -> ev.ExecutionReplaceRequested:
    price = None if limit_price is None else Decimal(limit_price)
    return ev.ExecutionReplaceRequested(
        seq=1, chunk=0, replacement=ev.Replacement(quantity=quantity, limit_price=price)
    )


def accepted(broker_order_id: str = "B1") -> ev.ExecutionAccepted:
    return ev.ExecutionAccepted(seq=1, chunk=0, broker_order_id=BrokerOrderId(broker_order_id))


def resting(*, trigger_pending: bool = False) -> ev.ExecutionResting:
    return ev.ExecutionResting(seq=1, chunk=0, trigger_pending=trigger_pending)


def filled(
    quantity: int, trade_id: str = "t1", *, price: str = "100", broker_order_id: str = "B1"
) -> ev.ExecutionFilled:
    fill = ev.Fill(
        trade_id=trade_id,
        broker_order_id=BrokerOrderId(broker_order_id),
        quantity=quantity,
        price=Decimal(price),
        at=at(1),
    )
    return ev.ExecutionFilled(seq=1, chunk=0, fill=fill)


def busted(trade_id: str = "t1") -> ev.ExecutionFillBusted:
    return ev.ExecutionFillBusted(seq=1, chunk=0, trade_id=trade_id)


def cumulative(quantity: int, average_price: str = "100") -> ev.ExecutionCumulativeReported:
    return ev.ExecutionCumulativeReported(
        seq=1, chunk=0, quantity=quantity, average_price=Decimal(average_price)
    )


def completed() -> ev.ExecutionCompleted:
    return ev.ExecutionCompleted(seq=1, chunk=0)


def cancelled(reason: str = "") -> ev.ExecutionCancelled:
    return ev.ExecutionCancelled(seq=1, chunk=0, reason=reason)


def rejected(reason_code: str = "INSUFFICIENT_FUNDS") -> ev.ExecutionRejected:
    return ev.ExecutionRejected(seq=1, chunk=0, reason_code=reason_code, message="the broker said no")


def expired() -> ev.ExecutionExpired:
    return ev.ExecutionExpired(seq=1, chunk=0)


def cancel_refused() -> ev.ExecutionCancelRefused:
    return ev.ExecutionCancelRefused(seq=1, chunk=0, reason="too late")


def replaced() -> ev.ExecutionReplaced:
    return ev.ExecutionReplaced(seq=1, chunk=0)


def replace_refused() -> ev.ExecutionReplaceRefused:
    return ev.ExecutionReplaceRefused(seq=1, chunk=0, reason="too late")
