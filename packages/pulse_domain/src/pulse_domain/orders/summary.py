"""What a client is told of an order: its state and where its quantity is, always recomputed."""

from collections.abc import Iterable
from decimal import Decimal

from msgspec import Struct

from pulse_domain.orders.execution import Execution
from pulse_domain.orders.journal import CANCELLED_BEFORE_SPLIT, OrderHistory
from pulse_domain.orders.model import Order
from pulse_domain.orders.status import ExecutionStatus, OrderQueueStatus, OrderState, Phase, TerminalReason


class Quantities(Struct, frozen=True, kw_only=True):
    """Where an order's units are: `filled + working + unknown + unsent + cancelled + failed =
    total + overfilled` holds at every step of its journal. Expired units count as cancelled."""

    total: int
    filled: int = 0
    working: int = 0
    unknown: int = 0
    unsent: int = 0
    cancelled: int = 0
    failed: int = 0
    overfilled: int = 0

    @property
    def balanced(self) -> bool:
        parts = self.filled + self.working + self.unknown + self.unsent + self.cancelled + self.failed
        return parts == self.total + self.overfilled


class Tally(Struct, frozen=True, kw_only=True):
    """Executions that stand alike, counted together, so that a store can group them by itself.

    planned_quantity, quantity, filled_quantity, leaves_quantity, overfilled_quantity: sums over the group.
    """

    phase: Phase
    status: ExecutionStatus
    terminal: TerminalReason | None
    count: int
    planned_quantity: int
    quantity: int
    filled_quantity: int
    filled_value: Decimal
    leaves_quantity: int
    overfilled_quantity: int
    final: bool


class OrderSummary(Struct, frozen=True, kw_only=True):
    """`average_price` is in rupees over what is filled; None while no price is known."""

    state: OrderState
    done: bool
    quantities: Quantities
    average_price: Decimal | None = None


def tally(execution: Execution) -> Tally:
    filled = execution.filled_quantity
    return Tally(
        phase=execution.phase,
        status=execution.status,
        terminal=execution.terminal,
        count=1,
        planned_quantity=execution.planned_quantity,
        quantity=execution.quantity,
        filled_quantity=filled,
        filled_value=execution.filled_value,
        leaves_quantity=max(0, execution.quantity - filled) if execution.terminal is None else 0,
        overfilled_quantity=max(0, filled - execution.planned_quantity),
        final=execution.is_final,
    )


def summarise_history(history: OrderHistory) -> OrderSummary:
    return summarise(history.order, [tally(e) for s in history.slices for e in s.executions])


def summarise(order: Order, tallies: Iterable[Tally]) -> OrderSummary:
    """Compute an order's state from its queue status and its executions."""
    tallies = list(tallies)
    if order.queue_status is not OrderQueueStatus.DONE:
        return _before_split(order)
    sums = dict.fromkeys(("working", "unknown", "unsent", "cancelled", "failed"), 0)
    filled, overfilled, value = 0, 0, Decimal(0)
    for group in tallies:
        filled += group.filled_quantity
        value += group.filled_value
        overfilled += group.overfilled_quantity
        # What a replacement took off at the broker will not come: it counts as cancelled.
        rest = group.planned_quantity - group.filled_quantity + group.overfilled_quantity
        open_rest = rest if group.terminal is not None else group.leaves_quantity
        sums["cancelled"] += rest - open_rest
        sums[_bucket(group)] += open_rest
    quantities = Quantities(total=order.request.total_quantity, filled=filled, overfilled=overfilled, **sums)
    done = all(group.final for group in tallies)
    return OrderSummary(
        state=_final_state(quantities, tallies) if done else _open_state(tallies),
        done=done,
        quantities=quantities,
        average_price=(value / filled).quantize(Decimal("0.0001")) if filled and value else None,
    )


def _before_split(order: Order) -> OrderSummary:
    total = order.request.total_quantity
    if order.queue_status is OrderQueueStatus.FAILED:
        return OrderSummary(
            state=OrderState.FAILED, done=True, quantities=Quantities(total=total, failed=total)
        )
    if order.queue_status is OrderQueueStatus.SKIPPED:
        cancelled = order.skip_reason == CANCELLED_BEFORE_SPLIT
        return OrderSummary(
            state=OrderState.CANCELLED if cancelled else OrderState.SKIPPED,
            done=True,
            quantities=Quantities(total=total, cancelled=total),
        )
    return OrderSummary(state=OrderState.ACCEPTED, done=False, quantities=Quantities(total=total, unsent=total))


_BUCKETS = {
    Phase.PLANNED: "unsent",
    Phase.CLAIMED: "unknown",  # may be at the broker at this moment
    Phase.UNKNOWN: "unknown",
    Phase.LIVE: "working",
}


def _bucket(group: Tally) -> str:
    if group.terminal is TerminalReason.UNRESOLVED:
        return "unknown"
    if group.terminal in (TerminalReason.REJECTED, TerminalReason.FAILED):
        return "failed"
    if group.terminal is not None:
        return "cancelled"
    return _BUCKETS[group.phase]


def _open_state(tallies: list[Tally]) -> OrderState:
    untouched = all(group.phase is Phase.PLANNED for group in tallies)
    return OrderState.SCHEDULED if untouched else OrderState.WORKING


# Where nothing was filled, the gravest end names the order.
_UNFILLED = (
    (TerminalReason.FAILED, OrderState.FAILED),
    (TerminalReason.REJECTED, OrderState.REJECTED),
    (TerminalReason.EXPIRED, OrderState.EXPIRED),
    (TerminalReason.LAPSED, OrderState.EXPIRED),
)


def _final_state(quantities: Quantities, tallies: list[Tally]) -> OrderState:
    reasons = {group.terminal for group in tallies}
    if quantities.filled - quantities.overfilled >= quantities.total:
        return OrderState.FILLED
    if TerminalReason.UNRESOLVED in reasons:
        return OrderState.UNRESOLVED
    if quantities.filled:
        return OrderState.PARTIALLY_FILLED
    for reason, state in _UNFILLED:
        if reason in reasons:
            return state
    return OrderState.CANCELLED
