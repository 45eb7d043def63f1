"""From the rows of a run to the journal of an order, and by the state machine to where it stands."""

import hashlib
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from random import Random

from pulse_domain.backtest.tracking import Fact, FillRow, Row, TrackedOrder
from pulse_domain.orders import events as ev
from pulse_domain.orders.ids import BrokerOrderId, ClientId, OrderId, execution_id, order_id_from_int, tags
from pulse_domain.orders.journal import accepted_event
from pulse_domain.orders.model import NewOrder, Order, Source
from pulse_domain.units import to_price, to_time

EXECUTOR = "backtest"
ATTEMPT = 1
_CLIENT = ClientId("backtest")
_TAG_PREFIX = "BT"
_LEASE = timedelta(seconds=60)
_GRACE = timedelta(seconds=60)


def order_id_of(seed: int, arrived_us: int, number: int) -> OrderId:
    """The id of the n-th order of a run: a UUIDv7 of its arrival whose random part comes from the seed."""
    digest = hashlib.blake2b(f"{seed}:{number}".encode(), digest_size=10).digest()
    chance = int.from_bytes(digest, "big")
    high, low = chance >> 62 & 0xFFF, chance & (1 << 62) - 1
    milliseconds = arrived_us // 1000 & (1 << 48) - 1
    return order_id_from_int(milliseconds << 80 | 7 << 76 | high << 64 | 2 << 62 | low)


def plan_source(order_id: OrderId) -> Random:
    """The random source of an order's plan, the same that plans it live."""
    return Random(order_id)  # noqa: S311 (unforeseeable to others in the market, not to cryptographers)


def trade_id(fill: int) -> str:
    """The name of the n-th fill of a run, from 0."""
    return f"T{fill + 1}"


def accepted_order(tracked: TrackedOrder, order_id: OrderId) -> Order:
    """The order as a store keeps it at first."""
    return Order(
        order_id=order_id,
        client_id=_CLIENT,
        order_unique_key=tracked.key,
        request=tracked.request,
        terms=tracked.terms,
        source=Source.BACKTEST,
        request_id="",
        trace_id="",
        created_at=to_time(tracked.arrived_us),
        starts_at=to_time(tracked.starts_us),
        ends_at=to_time(tracked.ends_us),
    )


def journal_of(
    tracked: TrackedOrder, order_id: OrderId, fills: Sequence[FillRow]
) -> tuple[ev.JournalEntry, ...]:
    """All that happened to an order, in the words of its journal; times are those at which it was known."""
    arrived = to_time(tracked.arrived_us)
    told: list[tuple[datetime, ev.Event]] = [
        (arrived, _accepted(tracked, order_id)),
        (arrived, ev.SplitClaimed(attempt=ATTEMPT, executor=EXECUTOR)),
        (arrived, _plan(tracked, order_id)),
    ]
    numbers = {
        (execution.seq, execution.chunk): BrokerOrderId(f"V{execution.number}")
        for execution in tracked.executions
    }
    for row in tracked.rows:
        at = to_time(row[0])
        broker_order_id = numbers.get((row[2], row[3]), BrokerOrderId(""))
        told += [(at, event) for event in _EVENTS[row[1]](row, at, broker_order_id, fills)]
    return tuple(
        [ev.JournalEntry(seq=number, at=at, event=event) for number, (at, event) in enumerate(told, start=1)]
    )


def _accepted(tracked: TrackedOrder, order_id: OrderId) -> ev.OrderAccepted:
    return accepted_event(
        NewOrder(
            order_id=order_id,
            client_id=_CLIENT,
            order_unique_key=tracked.key,
            request=tracked.request,
            terms=tracked.terms,
            source=Source.BACKTEST,
            fingerprint="",
        )
    )


def _plan(tracked: TrackedOrder, order_id: OrderId) -> ev.SplitSaved:
    executions = tracked.executions
    names = tags(_TAG_PREFIX, [execution_id(order_id, each.seq, each.chunk) for each in executions])
    slices: list[ev.PlannedSlice] = []
    for execution, tag in zip(executions, names, strict=True):
        planned = ev.PlannedExecution(execution.quantity, tag)
        if execution.chunk == 0:
            slices.append(ev.PlannedSlice(execution.quantity, to_time(execution.due_us), (planned,)))
        else:
            last = slices[-1]
            slices[-1] = ev.PlannedSlice(
                last.quantity + execution.quantity, last.scheduled_at, (*last.executions, planned)
            )
    return ev.SplitSaved(attempt=ATTEMPT, expires_at=to_time(tracked.ends_us) + _GRACE, slices=tuple(slices))


_Told = Callable[[Row, datetime, BrokerOrderId, Sequence[FillRow]], list[ev.Event]]


def _claimed(row: Row, at: datetime) -> ev.ExecutionClaimed:
    return ev.ExecutionClaimed(
        seq=row[2], chunk=row[3], attempt=ATTEMPT, executor=EXECUTOR, lease_until=at + _LEASE
    )


def _fill(row: Row, broker_order_id: BrokerOrderId, fills: Sequence[FillRow]) -> ev.ExecutionFilled:
    filled = fills[row[4]]
    fill = ev.Fill(
        trade_id=trade_id(row[4]),
        broker_order_id=broker_order_id,
        quantity=abs(filled.quantity),
        price=to_price(filled.price),
        at=to_time(filled.at_us),
    )
    return ev.ExecutionFilled(seq=row[2], chunk=row[3], fill=fill)


_EVENTS: dict[int, _Told] = {
    Fact.SENT: lambda row, at, name, fills: [
        _claimed(row, at),
        ev.ExecutionAccepted(seq=row[2], chunk=row[3], broker_order_id=name),
    ],
    Fact.REFUSED: lambda row, at, name, fills: [
        _claimed(row, at),
        ev.ExecutionRejected(seq=row[2], chunk=row[3], reason_code=row[4], message=row[5]),
    ],
    Fact.TRIGGER_PENDING: lambda row, at, name, fills: [
        ev.ExecutionResting(seq=row[2], chunk=row[3], trigger_pending=True)
    ],
    Fact.TRIGGERED: lambda row, at, name, fills: [
        ev.ExecutionResting(seq=row[2], chunk=row[3], trigger_pending=False)
    ],
    Fact.FILLED: lambda row, at, name, fills: [_fill(row, name, fills)],
    Fact.CANCEL_REQUESTED: lambda row, at, name, fills: [ev.ExecutionCancelRequested(seq=row[2], chunk=row[3])],
    Fact.CANCELLED: lambda row, at, name, fills: [
        ev.ExecutionCancelled(seq=row[2], chunk=row[3], reason=row[4])
    ],
    Fact.EXPIRED: lambda row, at, name, fills: [ev.ExecutionExpired(seq=row[2], chunk=row[3])],
    Fact.WITHDRAWN: lambda row, at, name, fills: [ev.ExecutionWithdrawn(seq=row[2], chunk=row[3])],
    Fact.LAPSED: lambda row, at, name, fills: [ev.ExecutionLapsed(seq=row[2], chunk=row[3])],
    Fact.ORDER_CANCEL_REQUESTED: lambda row, at, name, fills: [ev.CancelRequested(requested_by=EXECUTOR)],
}
