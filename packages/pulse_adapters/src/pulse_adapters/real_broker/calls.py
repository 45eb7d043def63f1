"""How a call to a broker can end, and what follows for the order that it is about.

What an answer means is each broker's own: its `outcomes` gives the verdict, and `error_of` makes of it what
the domain knows.
"""

from enum import StrEnum

from msgspec import Struct

from pulse_domain.errors import BrokerError, BrokerOutcomeUnknown, BrokerRejected, BrokerUnavailable


class Operation(StrEnum):
    PLACE = "PLACE"
    CANCEL = "CANCEL"
    MODIFY = "MODIFY"
    READ = "READ"
    LOOK_UP = "LOOK_UP"  # a read of one order, which there may not be


class NotSent(Struct, frozen=True):
    """Not a byte of the request has left."""

    reason_code: str
    message: str = ""


class Unanswered(Struct, frozen=True, kw_only=True):
    """At least a part of the request has left, and no whole answer has come.

    ended: the connection is closed, with what it had not sent yet thrown away.
    """

    reason_code: str
    ended: bool


class Verdict(StrEnum):
    REJECTED = "a definite no"
    UNAVAILABLE = "certainly not taken"
    UNKNOWN = "may have been taken"


CLOSED = "CLOSED"
DEADLINE_PASSED = "DEADLINE_PASSED"
SESSION_EXPIRED = "SESSION_EXPIRED"
SESSION_ELSEWHERE = "SESSION_ELSEWHERE"  # it was opened from another address than this one
RATE_LIMITED = "RATE_LIMITED"
INVALID_INPUT = "INVALID_INPUT"
ORDER_IN_PROCESS = "ORDER_IN_PROCESS"
ORDER_NOT_FOUND = "ORDER_NOT_FOUND"
ORDER_NOT_OPEN = "ORDER_NOT_OPEN"
TIMED_OUT_AT_BROKER = "TIMED_OUT_AT_BROKER"
UNREADABLE_ANSWER = "UNREADABLE_ANSWER"
REJECTED = "REJECTED"


def error_of(
    operation: Operation, verdict: Verdict, reason_code: str, message: str, *, call_ended: bool
) -> BrokerError:
    """A verdict as the domain's error. Reads are never in doubt: they are answered or not."""
    if verdict is Verdict.REJECTED and operation is not Operation.READ:
        return BrokerRejected(reason_code, message)
    if verdict is Verdict.UNAVAILABLE or operation in (Operation.READ, Operation.LOOK_UP):
        return BrokerUnavailable(reason_code, message)
    return BrokerOutcomeUnknown(reason_code, message, call_ended=call_ended)
