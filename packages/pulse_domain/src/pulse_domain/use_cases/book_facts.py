"""Take in what the broker says of its orders, pushed or read: both end here.

A fact is true whoever learns it and however often. Rows are matched by tag, else by the broker order id: pushes
of some brokers carry no tag, nor does an order that a person found. A row with our prefix that matches nothing
is a stranger, and is reported.
"""

from collections.abc import Callable, Iterable
from typing import Any

from msgspec import Struct

from pulse_domain.errors import BrokerError
from pulse_domain.orders import events as ev
from pulse_domain.orders.events import storable
from pulse_domain.orders.execution import Execution
from pulse_domain.orders.model import Order
from pulse_domain.orders.status import Phase
from pulse_domain.ports.broker import Broker, BrokerOrder, BrokerOrderStatus
from pulse_domain.ports.order_store import Booked, Booking, BookResult, OrderStore, Tracked


class FactsReport(Struct, frozen=True, kw_only=True):
    """flagged: executions whose facts contradict what we thought, with their flags.
    unexplained: broker order ids whose total is booked provisionally, as their trades do not add up to it.
    nameless: a row carries no tag, and its broker order id is not known, or not yet."""

    applied: int = 0
    nameless: bool = False
    unexplained: frozenset[str] = frozenset()
    strangers: tuple[BrokerOrder, ...] = ()
    flagged: tuple[Tracked, ...] = ()


class BookFacts:
    """on_to_cancel: told that an execution is live that was asked to be cancelled meanwhile.
    on_booked: told of each fact that was stored and was new."""

    def __init__(
        self,
        store: OrderStore,
        broker: Broker,
        tag_prefix: str,
        on_to_cancel: Callable[[], object] = lambda: None,
        on_booked: Callable[[Order, ev.AnyExecutionEvent], object] = lambda order, event: None,
    ) -> None:
        self._on_booked = on_booked
        self._on_to_cancel = on_to_cancel
        self._store = store
        self._broker = broker
        self._tag_prefix = tag_prefix

    async def __call__(self, rows: Iterable[BrokerOrder]) -> FactsReport:
        """Book what the rows say of our executions.

        Raises:
            StorageUnavailable: some rows may not be booked; booking them again is safe.
        """
        rows = list(rows)
        if not rows:
            return FactsReport()
        ours = [(tag, row) for row in rows for tag in row.tags if self.is_ours(tag)]
        found = await self._store.find_by_tags([tag for tag, _ in ours]) if ours else []
        tags = {t.execution.tag for t in found}
        unmatched = [row for row in rows if not tags.intersection(row.tags)]
        nameless = False
        if unmatched:
            named = await self._store.find_by_broker_order_ids([row.broker_order_id for row in unmatched])
            by_name = {t.execution.broker_order_id: t for t in named}
            by_id = [(by_name[row.broker_order_id], row) for row in unmatched if row.broker_order_id in by_name]
            answered = {row.broker_order_id for _, row in by_id}
            ours = [(tag, row) for tag, row in ours if row.broker_order_id not in answered]
            ours += [(t.execution.tag, row) for t, row in by_id]
            found += [t for t, _ in by_id if t.execution.tag not in tags]
            nameless = any(not row.tags and row.broker_order_id not in answered for row in unmatched)
        if not ours:
            return FactsReport(nameless=nameless)
        tracked = {t.execution.tag: t.execution for t in found}
        orders = {t.execution.tag: t.order for t in found}
        of_id = {t.order.order_id: t.order for t in found}
        bookings: list[Booking] = []
        unexplained = set[str]()
        # With two orders under one tag, which should never be, the first one known is the execution's.
        names = {tag: execution.broker_order_id for tag, execution in tracked.items()}
        for tag, row in ours:
            if tag not in tracked:
                continue
            first = names[tag] in (None, row.broker_order_id)
            names[tag] = names[tag] or row.broker_order_id
            fills = await self._fills(tracked[tag], row)
            if sum(fill.quantity for fill in fills) < row.filled_quantity:
                unexplained.add(row.broker_order_id)
            facts = (
                facts_of(tracked[tag], row, fills) if first else second_order_facts(tracked[tag], row, fills)
            )
            bookings += [
                Booking(order_id=tracked[tag].order_id, event=event, answer=answer_of(row)) for event in facts
            ]
        booked = await self._store.book(bookings) if bookings else []
        for booking, b in zip(bookings, booked, strict=True):
            if b.result is BookResult.APPLIED:
                self._on_booked(of_id[booking.order_id], booking.event)
        if any(
            isinstance(booking.event, ev.ExecutionAccepted)
            and b.result is BookResult.APPLIED
            and b.execution is not None
            and b.execution.cancel_requested
            for booking, b in zip(bookings, booked, strict=True)
        ):
            self._on_to_cancel()
        return FactsReport(
            applied=sum(b.result is BookResult.APPLIED for b in booked),
            nameless=nameless,
            unexplained=frozenset(unexplained),
            strangers=tuple(row for tag, row in ours if tag not in tracked),
            flagged=_flagged(booked, tracked, orders),
        )

    def is_ours(self, tag: str) -> bool:
        return len(tag) == 20 and tag.startswith(self._tag_prefix)

    async def _fills(self, execution: Execution, row: BrokerOrder) -> tuple[ev.Fill, ...]:
        """The trades of a row: those it carries or we know, or the broker's own list."""
        known = tuple(fill for fill in execution.fills if fill.broker_order_id == row.broker_order_id)
        for fills in (row.fills, known):
            if sum(fill.quantity for fill in fills) >= row.filled_quantity:
                return fills
        try:
            return await self._broker.trades(row.broker_order_id)
        except BrokerError:
            # The running total is booked provisionally; the trades replace it when they come.
            return row.fills


def facts_of(execution: Execution, row: BrokerOrder, fills: tuple[ev.Fill, ...]) -> list[ev.AnyExecutionEvent]:
    """What a row says that we do not know yet, in an order that the state table takes."""
    place = {"seq": execution.seq, "chunk": execution.chunk}
    events: list[ev.AnyExecutionEvent] = []
    if execution.broker_order_id != row.broker_order_id:
        events.append(ev.ExecutionAccepted(**place, broker_order_id=row.broker_order_id))
    booked = {fill.trade_id for fill in execution.fills}
    events += [ev.ExecutionFilled(**place, fill=fill) for fill in fills if fill.trade_id not in booked]
    explained = max(execution.filled_quantity, sum(fill.quantity for fill in fills))
    if row.filled_quantity > explained:
        events.append(
            ev.ExecutionCumulativeReported(
                **place, quantity=row.filled_quantity, average_price=row.average_price
            )
        )
    if execution.phase is Phase.ENDED:
        return events
    match row.status:
        case BrokerOrderStatus.OPEN | BrokerOrderStatus.TRIGGER_PENDING:
            pending = row.status is BrokerOrderStatus.TRIGGER_PENDING
            if pending != execution.trigger_pending:
                events.append(ev.ExecutionResting(**place, trigger_pending=pending))
        case BrokerOrderStatus.COMPLETE:
            events.append(ev.ExecutionCompleted(**place))
        case BrokerOrderStatus.CANCELLED:
            events.append(ev.ExecutionCancelled(**place, reason=storable(row.reason or "")))
        case BrokerOrderStatus.REJECTED:
            events.append(
                ev.ExecutionRejected(
                    **place,
                    reason_code=storable(row.reason_code or "REJECTED"),
                    message=storable(row.reason or ""),
                )
            )
        case BrokerOrderStatus.EXPIRED:
            events.append(ev.ExecutionExpired(**place))
        case BrokerOrderStatus.PENDING:
            pass
    return events


def second_order_facts(
    execution: Execution, row: BrokerOrder, fills: tuple[ev.Fill, ...]
) -> list[ev.AnyExecutionEvent]:
    """What a second order under the same tag adds: its id, which flags the execution, and its trades.

    Its end is not the execution's.
    """
    place = {"seq": execution.seq, "chunk": execution.chunk}
    events: list[ev.AnyExecutionEvent] = [ev.ExecutionAccepted(**place, broker_order_id=row.broker_order_id)]
    return events + [ev.ExecutionFilled(**place, fill=fill) for fill in fills]


def answer_of(row: BrokerOrder) -> dict[str, Any]:
    """The broker's row for the ledger's metadata: as we understood it, and as the broker wrote it."""
    answer: dict[str, Any] = {
        "broker_order_id": row.broker_order_id,
        "status": row.status,
        "quantity": row.quantity,
        "filled_quantity": row.filled_quantity,
        "average_price": str(row.average_price),
    }
    if row.reason_code or row.reason:
        answer["reason"] = storable(f"{row.reason_code or ''} {row.reason or ''}".strip())
    if row.words is not None:
        answer["order"] = dict(row.words)
    return answer


def _flagged(
    booked: list[Booked], before: dict[str, Execution], orders: dict[str, Order]
) -> tuple[Tracked, ...]:
    latest = {
        b.execution.tag: b.execution
        for b in booked
        if b.execution is not None and b.execution.flags != before[b.execution.tag].flags
    }
    return tuple(Tracked(order=orders[tag], execution=execution) for tag, execution in latest.items())
