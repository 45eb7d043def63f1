"""What the journal holds: one past-tense value per thing that happened to an order.

Events on executions carry the slice's `seq` and the execution's `chunk`. Decisions of ours carry the
`attempt` they belong to; facts from the broker carry none, as they are true whoever learns them.
Folding a journal over the order as it was accepted gives the stored state (`orders.journal`).
"""

from datetime import datetime
from decimal import Decimal

from msgspec import Struct

from pulse_domain.orders.ids import BrokerOrderId
from pulse_domain.orders.status import ExecutionEventKind as Kind
from pulse_domain.orders.status import TerminalReason

_TEXT_MAX = 500


def storable(text: str) -> str:
    """A broker's text as any store can keep it: valid Unicode, no zero bytes, not endless."""
    return text.replace("\0", "").encode("utf-8", "replace").decode()[:_TEXT_MAX]


class _Event(Struct, frozen=True, kw_only=True, tag_field="kind", omit_defaults=True):
    pass


# --- the order ---------------------------------------------------------------------------------


class OrderAccepted(_Event, frozen=True, kw_only=True, tag="order_accepted"):
    instrument: str
    side: str
    total_quantity: int
    source: str


class SplitClaimed(_Event, frozen=True, kw_only=True, tag="split_claimed"):
    attempt: int
    executor: str


class SplitLeaseExpired(_Event, frozen=True, kw_only=True, tag="split_lease_expired"):
    attempt: int


class PlannedExecution(Struct, frozen=True, array_like=True):
    quantity: int
    tag: str


class PlannedSlice(Struct, frozen=True, array_like=True):
    """A slice of a plan; the position in the plan is its `seq`, counted from 1."""

    quantity: int
    scheduled_at: datetime
    executions: tuple[PlannedExecution, ...]


class SplitSaved(_Event, frozen=True, kw_only=True, tag="split_saved"):
    """The whole plan in one row: it is never recomputed.

    expires_at: an execution not sent by then never is.
    """

    attempt: int
    expires_at: datetime
    slices: tuple[PlannedSlice, ...]


class SplitFailed(_Event, frozen=True, kw_only=True, tag="split_failed"):
    attempt: int
    reason: str


class OrderSkipped(_Event, frozen=True, kw_only=True, tag="order_skipped"):
    reason: str


class CancelRequested(_Event, frozen=True, kw_only=True, tag="cancel_requested"):
    requested_by: str


class OrderPaused(_Event, frozen=True, kw_only=True, tag="order_paused"):
    """Nothing of the order is sent until it is resumed; what its window leaves behind lapses."""

    paused_by: str


class OrderResumed(_Event, frozen=True, kw_only=True, tag="order_resumed"):
    resumed_by: str


# --- its executions ----------------------------------------------------------------------------


class Fill(Struct, frozen=True, kw_only=True):
    """One trade at the exchange. Known by exchange, broker order id, trade id and trading day."""

    trade_id: str
    broker_order_id: BrokerOrderId
    quantity: int
    price: Decimal
    at: datetime


class Replacement(Struct, frozen=True, kw_only=True, omit_defaults=True):
    quantity: int
    limit_price: Decimal | None = None


class ExecutionEvent(_Event, frozen=True, kw_only=True):
    seq: int
    chunk: int


class ExecutionClaimed(ExecutionEvent, frozen=True, kw_only=True, tag=Kind.CLAIMED.value):
    attempt: int
    executor: str
    lease_until: datetime


class ExecutionReleased(ExecutionEvent, frozen=True, kw_only=True, tag=Kind.RELEASED.value):
    """Certainly nothing is at the broker: it may be claimed again from `not_before` on."""

    attempt: int
    reason: str
    not_before: datetime


class ExecutionRescheduled(ExecutionEvent, frozen=True, kw_only=True, tag=Kind.RESCHEDULED.value):
    """Late, and given another instant; it holds for an execution that is still due at `was_due_at`."""

    was_due_at: datetime
    due_at: datetime


class ExecutionUnanswered(ExecutionEvent, frozen=True, kw_only=True, tag=Kind.UNANSWERED.value):
    """No answer. `call_ended_at` is known where the call's socket is closed: it sends no more."""

    attempt: int
    reason: str
    call_ended_at: datetime | None = None


class ExecutionAbsenceSeen(ExecutionEvent, frozen=True, kw_only=True, tag=Kind.ABSENCE_SEEN.value):
    """A complete order-book read, begun after the settle time, did not hold the tag."""

    attempt: int
    read_began_at: datetime


class ExecutionWithdrawn(ExecutionEvent, frozen=True, kw_only=True, tag=Kind.WITHDRAWN.value):
    """Cancelled before it was sent."""


class ExecutionLapsed(ExecutionEvent, frozen=True, kw_only=True, tag=Kind.LAPSED.value):
    """Not sent within its window and grace: never sent."""


class ExecutionFailed(ExecutionEvent, frozen=True, kw_only=True, tag=Kind.FAILED.value):
    attempt: int
    reason: str


class ExecutionUnresolved(ExecutionEvent, frozen=True, kw_only=True, tag=Kind.UNRESOLVED.value):
    attempt: int
    reason: str


class ExecutionResolvedFound(ExecutionEvent, frozen=True, kw_only=True, tag=Kind.RESOLVED_FOUND.value):
    """A person found the order at the broker: what the broker says of this id is said of the execution."""

    broker_order_id: BrokerOrderId
    resolved_by: str
    note: str = ""


class ExecutionResolvedAbsent(ExecutionEvent, frozen=True, kw_only=True, tag=Kind.RESOLVED_ABSENT.value):
    """A person made sure that the broker has no such order: closed, and never sent again."""

    attempt: int
    resolved_by: str
    note: str = ""


class ExecutionCancelRequested(ExecutionEvent, frozen=True, kw_only=True, tag=Kind.CANCEL_REQUESTED.value):
    pass


class ExecutionReplaceRequested(ExecutionEvent, frozen=True, kw_only=True, tag=Kind.REPLACE_REQUESTED.value):
    replacement: Replacement


class ExecutionAccepted(ExecutionEvent, frozen=True, kw_only=True, tag=Kind.ACCEPTED.value):
    broker_order_id: BrokerOrderId


class ExecutionResting(ExecutionEvent, frozen=True, kw_only=True, tag=Kind.RESTING.value):
    trigger_pending: bool


class ExecutionFilled(ExecutionEvent, frozen=True, kw_only=True, tag=Kind.FILLED.value):
    fill: Fill


class ExecutionFillBusted(ExecutionEvent, frozen=True, kw_only=True, tag=Kind.FILL_BUSTED.value):
    trade_id: str


class ExecutionCumulativeReported(
    ExecutionEvent, frozen=True, kw_only=True, tag=Kind.CUMULATIVE_REPORTED.value
):
    """The broker's running total, where its trades do not explain it: booked until they do."""

    quantity: int
    average_price: Decimal


class ExecutionCompleted(ExecutionEvent, frozen=True, kw_only=True, tag=Kind.COMPLETED.value):
    pass


class ExecutionCancelled(ExecutionEvent, frozen=True, kw_only=True, tag=Kind.CANCELLED.value):
    reason: str = ""


class ExecutionRejected(ExecutionEvent, frozen=True, kw_only=True, tag=Kind.REJECTED.value):
    reason_code: str
    message: str = ""


class ExecutionExpired(ExecutionEvent, frozen=True, kw_only=True, tag=Kind.EXPIRED.value):
    pass


class ExecutionCancelRefused(ExecutionEvent, frozen=True, kw_only=True, tag=Kind.CANCEL_REFUSED.value):
    reason: str = ""


class ExecutionReplaced(ExecutionEvent, frozen=True, kw_only=True, tag=Kind.REPLACED.value):
    pass


class ExecutionReplaceRefused(ExecutionEvent, frozen=True, kw_only=True, tag=Kind.REPLACE_REFUSED.value):
    reason: str = ""


AnyExecutionEvent = (
    ExecutionClaimed
    | ExecutionReleased
    | ExecutionRescheduled
    | ExecutionUnanswered
    | ExecutionAbsenceSeen
    | ExecutionWithdrawn
    | ExecutionLapsed
    | ExecutionFailed
    | ExecutionUnresolved
    | ExecutionResolvedFound
    | ExecutionResolvedAbsent
    | ExecutionCancelRequested
    | ExecutionReplaceRequested
    | ExecutionAccepted
    | ExecutionResting
    | ExecutionFilled
    | ExecutionFillBusted
    | ExecutionCumulativeReported
    | ExecutionCompleted
    | ExecutionCancelled
    | ExecutionRejected
    | ExecutionExpired
    | ExecutionCancelRefused
    | ExecutionReplaced
    | ExecutionReplaceRefused
)
AnyOrderEvent = (
    OrderAccepted
    | SplitClaimed
    | SplitLeaseExpired
    | SplitSaved
    | SplitFailed
    | OrderSkipped
    | CancelRequested
    | OrderPaused
    | OrderResumed
)
Event = AnyOrderEvent | AnyExecutionEvent


class JournalEntry(Struct, frozen=True, kw_only=True):
    """A row of an order's journal; `seq` counts from 1 without gaps."""

    seq: int
    at: datetime
    event: Event


TERMINAL_KINDS: dict[type, TerminalReason] = {
    ExecutionCompleted: TerminalReason.COMPLETED,
    ExecutionCancelled: TerminalReason.CANCELLED,
    ExecutionRejected: TerminalReason.REJECTED,
    ExecutionExpired: TerminalReason.EXPIRED,
    ExecutionWithdrawn: TerminalReason.WITHDRAWN,
    ExecutionLapsed: TerminalReason.LAPSED,
    ExecutionFailed: TerminalReason.FAILED,
    ExecutionUnresolved: TerminalReason.UNRESOLVED,
    ExecutionResolvedAbsent: TerminalReason.FAILED,
}
