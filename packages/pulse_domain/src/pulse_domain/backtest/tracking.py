"""What a run remembers of its orders: facts in rows, as small as they come.

Nothing is derived while the run is on. `history` turns rows into the journal of the order, and the state
machine that trades live turns that into states.
"""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Final

from msgspec import Struct

from pulse_domain.account import Book, Tab
from pulse_domain.instruments import InstrumentTerms
from pulse_domain.orders.model import OrderRequest


class Fact:
    """The kinds of rows: (time in us, kind, seq, chunk) and what is named here.

    Plain numbers: rows of nothing else are left alone by the garbage collector.
    """

    SENT: Final = 1  # and accepted
    REFUSED: Final = 2  # sent and rejected: reason code, message
    TRIGGER_PENDING: Final = 3
    TRIGGERED: Final = 4
    FILLED: Final = 5  # number of the fill
    CANCEL_REQUESTED: Final = 6
    CANCELLED: Final = 7  # reason
    EXPIRED: Final = 8
    WITHDRAWN: Final = 9
    LAPSED: Final = 10
    ORDER_CANCEL_REQUESTED: Final = 11  # of the whole order: seq and chunk say nothing


Row = tuple[Any, ...]


class FillRow(Struct, frozen=True, gc=False):
    """A trade, at the exchange's time and known to the run later: that of a candle when it ends.

    quantity: negative for a sale.
    realised, charged: in units of money.
    closed: whether it closed a position, or a part of one.
    """

    at_us: int
    known_us: int
    lane: int
    quantity: int
    price: int
    order: int
    seq: int
    chunk: int
    realised: int
    charged: int | Decimal
    closed: bool


class TrackedExecution(Struct, gc=False):
    """One order at the venue, or to be sent there. Prices in units; `number` is 0 until it is sent."""

    order: int
    seq: int
    chunk: int
    quantity: int
    due_us: int
    number: int = 0
    filled: int = 0
    blocked_price: int = 0
    done: bool = False
    tab: Tab | None = None


Sent = tuple[int, TrackedExecution]  # when it was sent, in us


class TrackedOrder(Struct, gc=False):
    """One order of the client.

    lane, sign, book, price: where it trades, 1 for a buy and -1 for a sale, and the price that blocks money,
        in units, where the order names one.
    arrival_price: the last one known when it arrived, in units.
    open: how many executions are not done.
    is_whole: whether each slice is one execution.
    at_open: whether it takes what the next candle's open offers, or nothing.
    """

    number: int
    key: str
    request: OrderRequest
    terms: InstrumentTerms
    lane: int
    sign: int
    book: Book
    price: int
    arrival_price: int
    at_open: bool
    is_whole: bool
    arrived_us: int
    starts_us: int
    ends_us: int
    executions: tuple[TrackedExecution, ...]
    rows: list[Row]
    open: int
    # The gravest end of its executions.
    ended: int = 0
    reason_code: str | None = None
    cancelled: bool = False

    @property
    def filled(self) -> int:
        return sum([execution.filled for execution in self.executions])

    @property
    def is_sent(self) -> bool:
        return any(execution.number for execution in self.executions)


def value_of(order: TrackedOrder, fills: Sequence[FillRow]) -> int:
    """Of what is filled, in units."""
    rows = [fills[row[4]] for row in order.rows if row[1] == Fact.FILLED]
    return sum([abs(row.quantity) * row.price for row in rows])
