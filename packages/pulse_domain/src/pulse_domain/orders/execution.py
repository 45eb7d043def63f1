"""One order at the broker: the facts we hold of it, what they amount to, and how an event changes them.

Nothing here remembers a label. `phase` (what we know) and `status` (what we report) are read off the
facts, so that facts may arrive late, twice or in any order and still give the same answer. The
behaviours follow the order state change matrices of FIX 4.2 appendix D and FIX 5.0 SP2 appendix D.
"""

from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, get_args

from msgspec import Struct
from msgspec.structs import replace

from pulse_domain.errors import IllegalTransition, StaleAttempt
from pulse_domain.orders import events as ev
from pulse_domain.orders.ids import BrokerOrderId, OrderId, execution_id
from pulse_domain.orders.status import (
    PHASE_TRANSITIONS,
    ExecutionEventKind,
    ExecutionStatus,
    Phase,
    TerminalReason,
    next_state,
)

_IST = timedelta(hours=5, minutes=30)

LATE_FILL = "LATE_FILL"  # a fill after a definite end
OVERFILLED = "OVERFILLED"  # more filled than ordered
UNPLANNED = "UNPLANNED"  # the broker had it although we had not sent it, as far as we knew
FOUND_BY_HAND = "FOUND_BY_HAND"  # a person gave the broker order id
SECOND_ORDER = "SECOND_ORDER"  # a second broker order id for the same tag


class Execution(Struct, frozen=True, kw_only=True):
    """The facts of one order at the broker. `apply` gives a new value; this one never changes."""

    order_id: OrderId
    seq: int
    chunk: int
    tag: str
    planned_quantity: int
    quantity: int  # as amended at the broker
    due_at: datetime
    expires_at: datetime
    attempt: int = 0
    executor: str | None = None  # set while claimed; a release clears it
    lease_until: datetime | None = None
    unanswered: bool = False
    call_ended_at: datetime | None = None
    absences: int = 0
    last_absence_at: datetime | None = None
    broker_order_id: BrokerOrderId | None = None
    trigger_pending: bool = False
    fills: tuple[ev.Fill, ...] = ()
    # Trades that the exchange took back: told again, late or doubled, they do not count.
    busted: tuple[str, ...] = ()
    # The broker's running total, where its trades do not (yet) explain it.
    provisional_quantity: int = 0
    provisional_price: Decimal | None = None
    cancel_requested: bool = False
    pending_replace: ev.Replacement | None = None
    terminal: TerminalReason | None = None
    reason_code: str | None = None
    reason: str | None = None
    flags: tuple[str, ...] = ()

    @property
    def execution_id(self) -> str:
        return execution_id(self.order_id, self.seq, self.chunk)

    @property
    def filled_quantity(self) -> int:
        """Booked trades, or the broker's running total where that is larger: never their sum."""
        if not self.fills:
            return self.provisional_quantity
        return max(sum([fill.quantity for fill in self.fills]), self.provisional_quantity)

    @property
    def filled_value(self) -> Decimal:
        """Rupees paid or received for `filled_quantity`, before charges.

        What no trade explains counts at the broker's average, else at that of the booked trades, else 0.
        """
        booked = sum([fill.quantity for fill in self.fills])
        value = sum((fill.price * fill.quantity for fill in self.fills), Decimal(0))
        if self.provisional_quantity <= booked:
            return value
        if self.provisional_price is not None:
            return self.provisional_price * self.provisional_quantity
        return value * self.provisional_quantity / booked if booked else value

    @property
    def leaves_quantity(self) -> int:
        """What may still fill."""
        return 0 if self.is_final else max(0, self.quantity - self.filled_quantity)

    @property
    def phase(self) -> Phase:
        if self.terminal is not None:
            return Phase.GIVEN_UP if self.terminal in _GIVEN_UP else Phase.ENDED
        if self.broker_order_id is not None:
            return Phase.LIVE
        if self.unanswered:
            return Phase.UNKNOWN
        return Phase.PLANNED if self.executor is None else Phase.CLAIMED

    @property
    def status(self) -> ExecutionStatus:
        """The highest of the states that hold, by the precedence of FIX."""
        phase = self.phase
        for status, holds in REPORTING_PRECEDENCE:
            if holds(self, phase):
                return status
        raise AssertionError("the last row of REPORTING_PRECEDENCE always holds")

    @property
    def is_final(self) -> bool:
        """Whether nothing more is expected. A late fact may still be booked."""
        return self.terminal is not None or (
            self.broker_order_id is not None
            and not self.cancel_requested
            and self.filled_quantity >= self.quantity
        )


_GIVEN_UP = (TerminalReason.FAILED, TerminalReason.UNRESOLVED, TerminalReason.WITHDRAWN, TerminalReason.LAPSED)
_SENT = (Phase.CLAIMED, Phase.UNKNOWN, Phase.LIVE)
_FILLABLE = (None, TerminalReason.CANCELLED)

# Highest first (FIX: pending cancel 12, filled 8, cancelled 5, partially filled 4, new and rejected 2).
# A pending replacement is a fact beside the status: until it is confirmed the old parameters hold.
REPORTING_PRECEDENCE: tuple[tuple[ExecutionStatus, Callable[[Execution, Phase], bool]], ...] = (
    (ExecutionStatus.PENDING_CANCEL, lambda e, phase: e.cancel_requested and phase in _SENT),
    (
        ExecutionStatus.FILLED,
        lambda e, phase: (
            e.terminal is TerminalReason.COMPLETED
            or (e.terminal in _FILLABLE and 0 < e.quantity <= e.filled_quantity)
        ),
    ),
    (
        ExecutionStatus.CANCELLED,
        lambda e, phase: e.terminal in (TerminalReason.CANCELLED, TerminalReason.WITHDRAWN),
    ),
    (ExecutionStatus.EXPIRED, lambda e, phase: e.terminal in (TerminalReason.EXPIRED, TerminalReason.LAPSED)),
    # Proven absent is a definite no, whoever found it out.
    (
        ExecutionStatus.REJECTED,
        lambda e, phase: e.terminal in (TerminalReason.REJECTED, TerminalReason.FAILED),
    ),
    (
        ExecutionStatus.UNKNOWN,
        lambda e, phase: phase is Phase.UNKNOWN or e.terminal is TerminalReason.UNRESOLVED,
    ),
    (ExecutionStatus.PARTIALLY_FILLED, lambda e, phase: e.filled_quantity > 0),
    (ExecutionStatus.TRIGGER_PENDING, lambda e, phase: phase is Phase.LIVE and e.trigger_pending),
    (ExecutionStatus.OPEN, lambda e, phase: phase is Phase.LIVE),
    (ExecutionStatus.CLAIMED, lambda e, phase: phase is Phase.CLAIMED),
    (ExecutionStatus.PLANNED, lambda e, phase: True),
)


def apply(execution: Execution, event: ev.AnyExecutionEvent) -> Execution:
    """Take one event in. The same event twice gives the very same value back.

    Raises:
        IllegalTransition: the table has no cell for it, or the facts refuse it.
        StaleAttempt: the decision belongs to another attempt.
    """
    kind = _KINDS[type(event)]
    attempt = getattr(event, "attempt", None)
    if attempt is not None and not isinstance(event, ev.ExecutionClaimed) and attempt != execution.attempt:
        raise StaleAttempt("Execution", f"attempt {execution.attempt}", f"{kind} of attempt {attempt}")
    phase = execution.phase
    next_state(PHASE_TRANSITIONS, phase, kind)
    changed = _APPLY[type(event)](execution, event)
    if changed is execution:
        return execution
    return _flag(execution, changed, event, phase)


def _claimed(e: Execution, event: ev.ExecutionClaimed) -> Execution:
    if event.attempt != e.attempt + 1:
        raise StaleAttempt("Execution", f"attempt {e.attempt}", f"claim as attempt {event.attempt}")
    if e.cancel_requested:
        raise IllegalTransition("Execution", e.status, ExecutionEventKind.CLAIMED)
    return replace(
        e, attempt=event.attempt, executor=event.executor, lease_until=event.lease_until,
        unanswered=False, call_ended_at=None, absences=0, last_absence_at=None, reason=None,
    )  # fmt: skip


def _released(e: Execution, event: ev.ExecutionReleased) -> Execution:
    return replace(
        e, executor=None, lease_until=None, unanswered=False, call_ended_at=None, absences=0,
        last_absence_at=None, due_at=max(e.due_at, event.not_before), reason=event.reason,
    )  # fmt: skip


def _rescheduled(e: Execution, event: ev.ExecutionRescheduled) -> Execution:
    if e.due_at == event.due_at:
        return e
    if e.due_at != event.was_due_at:
        raise IllegalTransition("Execution", f"due at {e.due_at}", ExecutionEventKind.RESCHEDULED)
    return replace(e, due_at=event.due_at)


def _unanswered(e: Execution, event: ev.ExecutionUnanswered) -> Execution:
    if e.unanswered and (event.call_ended_at is None or e.call_ended_at is not None):
        return e
    return replace(
        e, unanswered=True, call_ended_at=event.call_ended_at or e.call_ended_at, reason=event.reason
    )


def _absence_seen(e: Execution, event: ev.ExecutionAbsenceSeen) -> Execution:
    if e.last_absence_at is not None and event.read_began_at <= e.last_absence_at:
        return e
    return replace(e, absences=e.absences + 1, last_absence_at=event.read_began_at)


def _cancel_requested(e: Execution, event: ev.ExecutionCancelRequested) -> Execution:
    if e.cancel_requested:
        return e
    if e.is_final:
        raise IllegalTransition("Execution", e.status, ExecutionEventKind.CANCEL_REQUESTED)
    return replace(e, cancel_requested=True)


def _cancel_refused(e: Execution, event: ev.ExecutionCancelRefused) -> Execution:
    return replace(e, cancel_requested=False) if e.cancel_requested and e.terminal is None else e


def _replace_requested(e: Execution, event: ev.ExecutionReplaceRequested) -> Execution:
    if e.pending_replace == event.replacement:
        return e
    # The plan bounds the quantity: raising it would sell or buy more than the order says.
    if e.pending_replace is not None or e.is_final or not 0 < event.replacement.quantity <= e.planned_quantity:
        raise IllegalTransition("Execution", e.status, ExecutionEventKind.REPLACE_REQUESTED)
    return replace(e, pending_replace=event.replacement)


def _replaced(e: Execution, event: ev.ExecutionReplaced) -> Execution:
    if e.pending_replace is None:
        return e
    return replace(e, quantity=max(e.pending_replace.quantity, e.filled_quantity), pending_replace=None)


def _replace_refused(e: Execution, event: ev.ExecutionReplaceRefused) -> Execution:
    return e if e.pending_replace is None else replace(e, pending_replace=None)


def _accepted(e: Execution, event: ev.ExecutionAccepted) -> Execution:
    named = _named(e, event.broker_order_id)
    return named if e.broker_order_id is not None else replace(named, terminal=_revived(e))


def _named(e: Execution, broker_order_id: BrokerOrderId) -> Execution:
    if e.broker_order_id is None:
        return replace(e, broker_order_id=broker_order_id)
    flag = f"{SECOND_ORDER}:{broker_order_id}"
    if broker_order_id == e.broker_order_id or flag in e.flags:
        return e
    return replace(e, flags=(*e.flags, flag))


def _resting(e: Execution, event: ev.ExecutionResting) -> Execution:
    if e.phase is Phase.ENDED or e.trigger_pending == event.trigger_pending:
        return e
    return replace(e, trigger_pending=event.trigger_pending)


def _filled(e: Execution, event: ev.ExecutionFilled) -> Execution:
    fill = event.fill
    key = (fill.trade_id, trading_day(fill.at))
    if fill.trade_id in e.busted or any((known.trade_id, trading_day(known.at)) == key for known in e.fills):
        return e
    return replace(
        _named(e, fill.broker_order_id), fills=(*e.fills, fill), terminal=_revived(e), trigger_pending=False
    )


def _fill_busted(e: Execution, event: ev.ExecutionFillBusted) -> Execution:
    left = tuple([fill for fill in e.fills if fill.trade_id != event.trade_id])
    if len(left) == len(e.fills):
        return e
    # An order that was complete stays so: the exchange does not put it back into the book.
    complete = e.terminal is None and e.filled_quantity >= e.quantity
    busted = sum([fill.quantity for fill in e.fills if fill.trade_id == event.trade_id])
    return replace(
        e,
        fills=left,
        busted=(*e.busted, event.trade_id),
        terminal=TerminalReason.COMPLETED if complete else e.terminal,
        cancel_requested=e.cancel_requested and not complete,
        provisional_quantity=max(0, e.provisional_quantity - busted),
    )


def _cumulative_reported(e: Execution, event: ev.ExecutionCumulativeReported) -> Execution:
    if event.quantity <= e.filled_quantity:
        return e
    return replace(
        e,
        provisional_quantity=event.quantity,
        provisional_price=event.average_price,
        terminal=_revived(e),
        trigger_pending=False,
    )


def _terminal(e: Execution, event: Any) -> Execution:
    reason = ev.TERMINAL_KINDS[type(event)]
    if e.phase is Phase.ENDED or e.terminal is reason:
        return e
    given_up = reason in (TerminalReason.FAILED, TerminalReason.UNRESOLVED)
    untold = reason is TerminalReason.COMPLETED and e.filled_quantity < e.quantity
    return replace(
        e,
        terminal=reason,
        cancel_requested=e.cancel_requested and given_up,
        # Complete says that all is filled, though its trades may not have been told yet.
        provisional_quantity=e.quantity if untold else e.provisional_quantity,
        pending_replace=None,
        trigger_pending=False,
        reason_code=getattr(event, "reason_code", None) or e.reason_code,
        reason=getattr(event, "message", None) or getattr(event, "reason", None) or e.reason,
    )


def _resolved_found(e: Execution, event: ev.ExecutionResolvedFound) -> Execution:
    _check_sent(e, ExecutionEventKind.RESOLVED_FOUND)
    flags = e.flags if FOUND_BY_HAND in e.flags else (*e.flags, FOUND_BY_HAND)
    reason = _word_of(event.resolved_by, "found", event.note)
    return replace(_named(e, event.broker_order_id), terminal=_revived(e), flags=flags, reason=reason)


def _resolved_absent(e: Execution, event: ev.ExecutionResolvedAbsent) -> Execution:
    _check_sent(e, ExecutionEventKind.RESOLVED_ABSENT)
    closed = _terminal(e, event)
    if closed is e:
        return e
    return replace(closed, reason=_word_of(event.resolved_by, "absent", event.note))


def _check_sent(e: Execution, kind: ExecutionEventKind) -> None:
    if e.terminal in (TerminalReason.WITHDRAWN, TerminalReason.LAPSED):
        raise IllegalTransition("Execution", e.status, kind)


def _word_of(person: str, word: str, note: str) -> str:
    return f"{word}, says {person}" + (f": {note}" if note else "")


def _revived(e: Execution) -> TerminalReason | None:
    return None if e.phase is Phase.GIVEN_UP else e.terminal


def trading_day(at: datetime) -> date:
    """The day at the exchanges (Indian time), within which trade ids and order ids are unique."""
    return (at + _IST).date()


def trading_day_start(at: datetime) -> datetime:
    """Midnight at the exchanges, at or before an instant."""
    return (at + _IST).replace(hour=0, minute=0, second=0, microsecond=0) - _IST


def trading_day_begins(day: date) -> datetime:
    """Midnight at the exchanges, when a day begins there."""
    return datetime.combine(day, time(), UTC) - _IST


def _flag(before: Execution, after: Execution, event: ev.AnyExecutionEvent, phase: Phase) -> Execution:
    flags = after.flags
    grew = (
        after.fills is not before.fills or after.provisional_quantity != before.provisional_quantity
    ) and after.filled_quantity > before.filled_quantity
    if grew and phase is Phase.ENDED and LATE_FILL not in flags:
        flags = (*flags, LATE_FILL)
    if grew and after.filled_quantity > after.quantity and OVERFILLED not in flags:
        flags = (*flags, OVERFILLED)
    if (
        before.executor is None
        and before.broker_order_id is None
        and after.broker_order_id is not None
        and UNPLANNED not in flags
    ):
        flags = (*flags, UNPLANNED)
    return after if flags is after.flags else replace(after, flags=flags)


_KINDS: dict[type, ExecutionEventKind] = {
    event: ExecutionEventKind(event.__struct_config__.tag) for event in get_args(ev.AnyExecutionEvent)
}
_APPLY: dict[type, Callable[[Execution, Any], Execution]] = {
    ev.ExecutionClaimed: _claimed,
    ev.ExecutionReleased: _released,
    ev.ExecutionRescheduled: _rescheduled,
    ev.ExecutionUnanswered: _unanswered,
    ev.ExecutionAbsenceSeen: _absence_seen,
    ev.ExecutionWithdrawn: _terminal,
    ev.ExecutionLapsed: _terminal,
    ev.ExecutionFailed: _terminal,
    ev.ExecutionUnresolved: _terminal,
    ev.ExecutionResolvedFound: _resolved_found,
    ev.ExecutionResolvedAbsent: _resolved_absent,
    ev.ExecutionCancelRequested: _cancel_requested,
    ev.ExecutionReplaceRequested: _replace_requested,
    ev.ExecutionAccepted: _accepted,
    ev.ExecutionResting: _resting,
    ev.ExecutionFilled: _filled,
    ev.ExecutionFillBusted: _fill_busted,
    ev.ExecutionCumulativeReported: _cumulative_reported,
    ev.ExecutionCompleted: _terminal,
    ev.ExecutionCancelled: _terminal,
    ev.ExecutionRejected: _terminal,
    ev.ExecutionExpired: _terminal,
    ev.ExecutionCancelRefused: _cancel_refused,
    ev.ExecutionReplaced: _replaced,
    ev.ExecutionReplaceRefused: _replace_refused,
}
