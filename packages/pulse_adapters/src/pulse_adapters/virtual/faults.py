"""Misbehaviour on demand: what real brokers do on bad days, call by call."""

from collections import defaultdict, deque
from enum import StrEnum

from msgspec import Struct


class Call(StrEnum):
    PLACE = "place"
    CANCEL = "cancel"
    MODIFY = "modify"
    ORDER_BOOK = "order_book"
    TRADES = "trades"


class Refuse(Struct, frozen=True):
    """A definite no. The order does not appear in the book."""

    reason_code: str
    message: str = ""


class Unavailable(Struct, frozen=True):
    """Certainly not sent, as with a refused connection, a 429 or a dead session."""

    reason_code: str = "CONNECTION_REFUSED"


class LoseRequest(Struct, frozen=True):
    """The request never arrives; the caller waits in vain."""


class LoseAnswer(Struct, frozen=True):
    """The request takes effect; the caller waits in vain."""


class Truncate(Struct, frozen=True):
    """An order book that lacks its newest row, and says that it is incomplete."""


Fault = Refuse | Unavailable | LoseRequest | LoseAnswer | Truncate


class Faults:
    """The script of what goes wrong; without one, everything goes well.

    hidden_reads: how many order books lack the next accepted order. They claim to be complete.
    doubled_updates: how many of the next updates are pushed twice.
    lost_updates: how many of the next updates are not pushed at all.
    """

    def __init__(self) -> None:
        self.hidden_reads = 0
        self.doubled_updates = 0
        self.lost_updates = 0
        self._scripts: defaultdict[Call, deque[Fault | None]] = defaultdict(deque)

    def on(self, call: Call, *faults: Fault | None) -> None:
        """Script the next calls of a kind, one fault each; None is a call that goes well."""
        self._scripts[call].extend(faults)

    def next(self, call: Call) -> Fault | None:
        """The fault of the call that begins now."""
        script = self._scripts[call]
        return script.popleft() if script else None

    def copies_of_update(self) -> int:
        """How often the update that is pushed now arrives."""
        if self.lost_updates:
            self.lost_updates -= 1
            return 0
        if self.doubled_updates:
            self.doubled_updates -= 1
            return 2
        return 1
