"""The state tables. What is written here decides; nothing else does.

Three machines, each a table from state to event to next state. Every state has a row, a state that
nothing leaves has an empty one, and a missing cell is an `IllegalTransition` that changes nothing.

- **Queue** (`order_queue_status`): is the order split yet?
- **Phase** of an execution: what do we *know* about the one order at the broker? It is read off facts
  that are kept apart (attempt, broker order id, fills, terminal reason, ...), so no label has to be
  remembered, and a fact may arrive in any order. What is *reported* (`ExecutionStatus`) follows from
  the same facts by the precedence of the FIX protocol.
- **Stage** of a slice (`stage`): how far is its placement? Derived from its executions.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import TypeVar

from pulse_domain.errors import IllegalTransition


class OrderQueueStatus(StrEnum):
    PENDING = "PENDING"
    IN_PROGRESS = "IN_PROGRESS"
    DONE = "DONE"
    FAILED = "FAILED"
    SKIPPED = "SKIPPED"


class QueueEvent(StrEnum):
    CLAIMED = "CLAIMED"  # a worker took the order to split it
    SPLIT = "SPLIT"  # the plan is stored
    LEASE_EXPIRED = "LEASE_EXPIRED"  # the worker went away, attempts are left
    FAILED = "FAILED"  # attempts are spent, or no plan is possible
    SKIPPED = "SKIPPED"  # cancelled, or refused by a rule


_Q, _QE = OrderQueueStatus, QueueEvent
QUEUE_TRANSITIONS: Mapping[OrderQueueStatus, Mapping[QueueEvent, OrderQueueStatus]] = {
    _Q.PENDING: {_QE.CLAIMED: _Q.IN_PROGRESS, _QE.SKIPPED: _Q.SKIPPED},
    _Q.IN_PROGRESS: {
        _QE.SPLIT: _Q.DONE,
        _QE.LEASE_EXPIRED: _Q.PENDING,
        _QE.FAILED: _Q.FAILED,
        _QE.SKIPPED: _Q.SKIPPED,  # cancelled while it was being split
    },
    _Q.DONE: {},
    _Q.FAILED: {},
    _Q.SKIPPED: {},
}


class SliceStage(StrEnum):
    SCHEDULED = "SCHEDULED"
    IN_PROGRESS = "IN_PROGRESS"
    PROCESSED = "PROCESSED"


class StageEvent(StrEnum):
    STARTED = "STARTED"  # an execution was claimed
    NOT_SENT = "NOT_SENT"  # certainly nothing is at the broker
    SETTLED = "SETTLED"  # every execution has a broker order id or a definite no


_S, _SE = SliceStage, StageEvent
STAGE_TRANSITIONS: Mapping[SliceStage, Mapping[StageEvent, SliceStage]] = {
    _S.SCHEDULED: {
        _SE.STARTED: _S.IN_PROGRESS,
        _SE.SETTLED: _S.PROCESSED,  # cancelled or expired before it was sent
    },
    _S.IN_PROGRESS: {_SE.NOT_SENT: _S.SCHEDULED, _SE.SETTLED: _S.PROCESSED},
    _S.PROCESSED: {},
}


class SliceOutcome(StrEnum):
    FILLED = "FILLED"
    PARTIALLY_FILLED = "PARTIALLY_FILLED"
    REJECTED = "REJECTED"
    CANCELLED = "CANCELLED"
    EXPIRED = "EXPIRED"
    FAILED = "FAILED"
    UNRESOLVED = "UNRESOLVED"  # nobody knows; shown apart so that nobody sends it again


class ExecutionStatus(StrEnum):
    """What is reported of an execution."""

    PLANNED = "PLANNED"
    CLAIMED = "CLAIMED"
    UNKNOWN = "UNKNOWN"  # sent, or possibly sent, and no answer
    OPEN = "OPEN"
    TRIGGER_PENDING = "TRIGGER_PENDING"
    PARTIALLY_FILLED = "PARTIALLY_FILLED"
    PENDING_CANCEL = "PENDING_CANCEL"
    FILLED = "FILLED"
    CANCELLED = "CANCELLED"
    REJECTED = "REJECTED"
    EXPIRED = "EXPIRED"


class LedgerStatus(StrEnum):
    """The ledger's coarse words for what is reported of an execution; `LEDGER_STATUS` translates."""

    OPEN = "OPEN"
    TRADED = "TRADED"
    REJECTED = "REJECTED"
    CANCELLED = "CANCELLED"


_LEDGER_ENDS = {
    ExecutionStatus.FILLED: LedgerStatus.TRADED,
    ExecutionStatus.REJECTED: LedgerStatus.REJECTED,
    ExecutionStatus.CANCELLED: LedgerStatus.CANCELLED,
    ExecutionStatus.EXPIRED: LedgerStatus.CANCELLED,
}
LEDGER_STATUS = {status: _LEDGER_ENDS.get(status, LedgerStatus.OPEN) for status in ExecutionStatus}


class TerminalReason(StrEnum):
    """Why nothing more is expected of an execution."""

    COMPLETED = "COMPLETED"  # the broker calls it complete
    CANCELLED = "CANCELLED"
    REJECTED = "REJECTED"
    EXPIRED = "EXPIRED"
    FAILED = "FAILED"  # proven absent at the broker and not to be sent again
    UNRESOLVED = "UNRESOLVED"  # the broker cannot tell
    WITHDRAWN = "WITHDRAWN"  # cancelled before it was sent
    LAPSED = "LAPSED"  # not sent in time


class Phase(StrEnum):
    """What we know of an execution's order at the broker."""

    PLANNED = "PLANNED"  # nothing was sent
    CLAIMED = "CLAIMED"  # may be sent at this moment
    UNKNOWN = "UNKNOWN"  # may be live
    LIVE = "LIVE"  # the broker has it
    ENDED = "ENDED"  # a definite end
    GIVEN_UP = "GIVEN_UP"  # closed by us; a word of the broker opens it again


class ExecutionEventKind(StrEnum):
    # Decisions of ours: fenced by the attempt, or possible only where nothing was sent.
    CLAIMED = "execution_claimed"
    RELEASED = "execution_released"
    UNANSWERED = "execution_unanswered"
    ABSENCE_SEEN = "execution_absence_seen"
    WITHDRAWN = "execution_withdrawn"
    RESCHEDULED = "execution_rescheduled"
    LAPSED = "execution_lapsed"
    FAILED = "execution_failed"
    UNRESOLVED = "execution_unresolved"
    # The word of a person who has looked at the broker, where nobody else can tell.
    RESOLVED_FOUND = "execution_resolved_found"
    RESOLVED_ABSENT = "execution_resolved_absent"
    # Wishes, each confirmed or refused by the broker.
    CANCEL_REQUESTED = "execution_cancel_requested"
    REPLACE_REQUESTED = "execution_replace_requested"
    # Facts from the broker, from anyone, at any time. Those about a resting order need its id first.
    ACCEPTED = "execution_accepted"
    RESTING = "execution_resting"
    FILLED = "execution_filled"
    FILL_BUSTED = "execution_fill_busted"
    CUMULATIVE_REPORTED = "execution_cumulative_reported"
    COMPLETED = "execution_completed"
    CANCELLED = "execution_cancelled"
    REJECTED = "execution_rejected"
    EXPIRED = "execution_expired"
    CANCEL_REFUSED = "execution_cancel_refused"
    REPLACED = "execution_replaced"
    REPLACE_REFUSED = "execution_replace_refused"


_P, _E = Phase, ExecutionEventKind
PHASE_TRANSITIONS: Mapping[Phase, Mapping[ExecutionEventKind, Phase]] = {
    _P.PLANNED: {
        _E.CLAIMED: _P.CLAIMED,
        _E.WITHDRAWN: _P.GIVEN_UP,  # cancelled before it was sent
        _E.RESCHEDULED: _P.PLANNED,  # late, and not to go out together with all else that is late
        _E.LAPSED: _P.GIVEN_UP,  # its time has passed
        # The broker knows what we do not: a restored backup, or a release that was wrong.
        _E.ACCEPTED: _P.LIVE,
        _E.FILLED: _P.LIVE,
        _E.COMPLETED: _P.ENDED,
        _E.CANCELLED: _P.ENDED,
        _E.REJECTED: _P.ENDED,
        _E.EXPIRED: _P.ENDED,
    },
    _P.CLAIMED: {
        _E.RELEASED: _P.PLANNED,
        _E.UNANSWERED: _P.UNKNOWN,
        _E.CANCEL_REQUESTED: _P.CLAIMED,
        _E.ACCEPTED: _P.LIVE,
        _E.FILLED: _P.LIVE,  # the fill was pushed before the answer came
        _E.COMPLETED: _P.ENDED,
        _E.CANCELLED: _P.ENDED,
        _E.REJECTED: _P.ENDED,
        _E.EXPIRED: _P.ENDED,
    },
    _P.UNKNOWN: {
        _E.RELEASED: _P.PLANNED,  # proven absent, and no call can be in the air
        _E.UNANSWERED: _P.UNKNOWN,  # the call's end became known
        _E.ABSENCE_SEEN: _P.UNKNOWN,
        _E.FAILED: _P.GIVEN_UP,
        _E.UNRESOLVED: _P.GIVEN_UP,
        _E.RESOLVED_FOUND: _P.LIVE,
        _E.RESOLVED_ABSENT: _P.GIVEN_UP,
        _E.CANCEL_REQUESTED: _P.UNKNOWN,  # waits for adoption
        _E.ACCEPTED: _P.LIVE,  # adopted by its tag
        _E.FILLED: _P.LIVE,
        _E.COMPLETED: _P.ENDED,
        _E.CANCELLED: _P.ENDED,
        _E.REJECTED: _P.ENDED,
        _E.EXPIRED: _P.ENDED,
    },
    _P.LIVE: {
        _E.CANCEL_REQUESTED: _P.LIVE,
        _E.REPLACE_REQUESTED: _P.LIVE,
        _E.ACCEPTED: _P.LIVE,  # stale or repeated
        _E.RESTING: _P.LIVE,
        _E.FILLED: _P.LIVE,
        _E.FILL_BUSTED: _P.LIVE,
        _E.CUMULATIVE_REPORTED: _P.LIVE,
        _E.CANCEL_REFUSED: _P.LIVE,
        _E.REPLACED: _P.LIVE,
        _E.REPLACE_REFUSED: _P.LIVE,
        _E.UNRESOLVED: _P.GIVEN_UP,  # the broker's day is over, and it never told the end
        _E.COMPLETED: _P.ENDED,
        _E.CANCELLED: _P.ENDED,
        _E.REJECTED: _P.ENDED,
        _E.EXPIRED: _P.ENDED,
    },
    _P.ENDED: {
        _E.ACCEPTED: _P.ENDED,  # stale, or the id of an order that ended before its answer came
        _E.RESTING: _P.ENDED,  # stale
        _E.FILLED: _P.ENDED,  # crossed on the wire: booked, and it does not reopen
        _E.FILL_BUSTED: _P.ENDED,
        _E.CUMULATIVE_REPORTED: _P.ENDED,
        _E.CANCEL_REFUSED: _P.ENDED,
        _E.REPLACED: _P.ENDED,  # stale
        _E.REPLACE_REFUSED: _P.ENDED,
        _E.COMPLETED: _P.ENDED,
        _E.CANCELLED: _P.ENDED,
        _E.REJECTED: _P.ENDED,
        _E.EXPIRED: _P.ENDED,
    },
    _P.GIVEN_UP: {
        # A late fact corrects what we closed on our own.
        _E.ACCEPTED: _P.LIVE,
        _E.FILLED: _P.LIVE,
        _E.COMPLETED: _P.ENDED,
        _E.CANCELLED: _P.ENDED,
        _E.REJECTED: _P.ENDED,
        _E.EXPIRED: _P.ENDED,
        _E.FAILED: _P.GIVEN_UP,  # absent after all
        # Only where it was sent: what was withdrawn or has lapsed is no riddle.
        _E.RESOLVED_FOUND: _P.LIVE,
        _E.RESOLVED_ABSENT: _P.GIVEN_UP,
    },
}

StateT = TypeVar("StateT", bound=StrEnum)
EventT = TypeVar("EventT", bound=StrEnum)


def next_state(table: Mapping[StateT, Mapping[EventT, StateT]], state: StateT, event: EventT) -> StateT:
    """Look the next state up.

    Raises:
        IllegalTransition: the table has no such cell.
    """
    try:
        return table[state][event]
    except KeyError:
        raise IllegalTransition(type(state).__name__, state, event) from None


class OrderState(StrEnum):
    """What a client is told of an order; always recomputed, never stored."""

    ACCEPTED = "ACCEPTED"
    SCHEDULED = "SCHEDULED"
    WORKING = "WORKING"
    FILLED = "FILLED"
    PARTIALLY_FILLED = "PARTIALLY_FILLED"  # final: the rest will not come
    CANCELLED = "CANCELLED"
    REJECTED = "REJECTED"
    EXPIRED = "EXPIRED"
    FAILED = "FAILED"
    SKIPPED = "SKIPPED"
    UNRESOLVED = "UNRESOLVED"
