"""The order store: every method is one atomic step of the protocol.

A step takes and returns domain values and writes its journal rows with the state it changes. No step
spans a broker call, and none leaves a lock behind: the list of methods *is* the concurrency design
(doc/guides/concurrency.md walks through it).

The store owns time: due instants, leases and windows are judged by its own clock, and what a caller
must count itself is handed out as a remaining duration, to be counted from before the call.

Decisions (claim, release, withdraw, lapse, fail) are fenced: by the attempt they belong to and by the
state tables. Facts from the broker are accepted from anyone, at any time, any number of times.

Any method may raise `StorageUnavailable`: nothing is known of the step's effect. All steps but the
claims may then be repeated as they are; a claim that was lost is found by its expired lease, or by whoever
asked for it among what is in flight.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from enum import StrEnum
from typing import Any, Protocol
from uuid import UUID

from msgspec import Struct

from pulse_domain.instruments import Instrument
from pulse_domain.orders.events import AnyExecutionEvent, JournalEntry, SplitSaved
from pulse_domain.orders.execution import Execution
from pulse_domain.orders.ids import ClientId, OrderId
from pulse_domain.orders.model import NewOrder, Order, OrderRequest
from pulse_domain.orders.slices import Slice
from pulse_domain.orders.status import LedgerStatus
from pulse_domain.orders.summary import OrderSummary
from pulse_domain.positions import LedgerFill, PositionKey
from pulse_domain.risk import OrderCounts, RiskLimits


class SplitResult(StrEnum):
    SAVED = "SAVED"
    SKIPPED = "SKIPPED"  # a cancel came first
    STALE = "STALE"  # another attempt owns the order; nothing was written


class Claim(Struct, frozen=True, kw_only=True):
    """An execution that its claimer alone may send, for `lease_s` seconds from before the claim."""

    order: Order
    execution: Execution
    lease_s: float


class AtOnce(Struct, frozen=True, kw_only=True):
    """Whoever accepts an order of one execution that is due by then, and sends it without waiting for a turn.

    tag: of that execution. grace_s: how long after the order's window it may still be sent.
    """

    executor: str
    lease_s: float
    tag: str
    grace_s: float


class Accepted(Struct, frozen=True, kw_only=True):
    """replayed: the order was there already; the id is that of the first request.
    claim: of its only execution, where it was asked for and given.
    """

    order_id: OrderId
    order_unique_key: str
    replayed: bool
    claim: Claim | None = None


class Tracked(Struct, frozen=True, kw_only=True):
    order: Order
    execution: Execution


class BrokerCall(Struct, frozen=True, kw_only=True):
    """One call at the broker for the append-only record; never holds a secret."""

    broker: str
    operation: str
    began_at: datetime
    duration_ms: int
    request: Mapping[str, Any]
    answer: Mapping[str, Any] | None = None
    error: str | None = None


class Booking(Struct, frozen=True, kw_only=True):
    """An event to take in; `call` is the broker call that told it, `answer` the broker's own words."""

    order_id: OrderId
    event: AnyExecutionEvent
    call: BrokerCall | None = None
    answer: Mapping[str, Any] | None = None


class BookResult(StrEnum):
    APPLIED = "APPLIED"
    UNCHANGED = "UNCHANGED"  # known already
    REFUSED = "REFUSED"  # the state table or the fence says no; nothing has changed
    NOT_FOUND = "NOT_FOUND"


class Booked(Struct, frozen=True):
    """`execution`: as it stands after the booking, or as it was found where nothing changed."""

    result: BookResult
    execution: Execution | None = None


# How late a claim may come by itself. What is later has missed its instant in an outage, with others maybe:
# it is given another instant first, so that not all of them go out together.
LATE_S = 10.0


# More than a person ever gives by hand.
NAMED_MAX = 500


class Selection(StrEnum):
    """Executions that some loop looks after, in the order of their due instants."""

    OVERDUE = "OVERDUE"  # planned, past their window and grace
    LATE = "LATE"  # claimable but for being late: past their instant by more than LATE_S
    LEASE_EXPIRED = "LEASE_EXPIRED"  # claimed, and no answer within the lease
    UNKNOWN = "UNKNOWN"
    WORKING = "WORKING"  # live at the broker and not final
    TO_WITHDRAW = "TO_WITHDRAW"  # planned, and to be cancelled
    PAST_WINDOW = "PAST_WINDOW"  # live, not to be cancelled, of a split order whose window has ended
    # With a broker order id that a person gave: live, or of the last day.
    FOUND_BY_HAND = "FOUND_BY_HAND"
    IN_DOUBT = "IN_DOUBT"  # unknown or unresolved, or at the broker though never sent as far as we knew
    # Live and to be cancelled; or of an order that is, in doubt, not yet marked for whoever learns its fate.
    TO_CANCEL = "TO_CANCEL"


class CancelResult(StrEnum):
    REQUESTED = "REQUESTED"
    ALREADY = "ALREADY"
    NOT_FOUND = "NOT_FOUND"


class PauseResult(StrEnum):
    CHANGED = "CHANGED"
    ALREADY = "ALREADY"
    NOT_FOUND = "NOT_FOUND"


class TradingState(Struct, frozen=True, kw_only=True):
    """needs_reconcile: only a confirmed reconcile ends the halt.
    kill_id: the kill that the halt is of, where its positions are to be squared off: orders of that kill are
        accepted and claimed all the same. Any other change of the state ends that.
    """

    halted: bool
    changed_by: str | None = None
    reason: str | None = None
    changed_at: datetime | None = None
    needs_reconcile: bool = False
    kill_id: str | None = None


RESTORED = "RESTORED: the store is another one than before; compare with the broker: pulse reconcile"
NOT_READ = "since the halt the broker's order book was not read completely: let the workers run, and look again"


class Stranger(Struct, frozen=True, kw_only=True):
    """An order at the broker that carries a tag of ours and belongs to no execution."""

    broker_order_id: str
    tag: str
    instrument: str
    side: str
    quantity: int
    filled_quantity: int
    status: str
    placed_at: datetime


class BookFindings(Struct, frozen=True, kw_only=True):
    """What the last look at the broker's order book came to.

    complete: whether the read held all that it must.
    known: strangers that a confirmed reconcile has passed; they are told, and halt nothing any more.
    noted_at: by the store's clock, set by the store.
    """

    complete: bool
    strangers: tuple[Stranger, ...] = ()
    known: frozenset[str] = frozenset()
    noted_at: datetime | None = None


class OrderView(Struct, frozen=True, kw_only=True):
    """`last_seq`: the journal row that the view includes."""

    order: Order
    summary: OrderSummary
    last_seq: int


class LedgerWish(Struct, frozen=True, kw_only=True):
    """Which rows of the ledger; None stands for all.

    day: the trading day on which the execution was due, or is.
    """

    client_id: ClientId | None = None
    day: date | None = None
    strategy_tag: str | None = None
    instrument: Instrument | None = None
    status: LedgerStatus | None = None


class LedgerRow(Struct, frozen=True, kw_only=True):
    """An execution as the ledger has it.

    answers: the broker's own words, of each kind of answer the last; never a secret.
    """

    order: Order
    execution: Execution
    internal_id: UUID
    status: LedgerStatus
    answers: Mapping[str, Any]


# Order, slice and chunk: where a row of the ledger stands.
LedgerPlace = tuple[OrderId, int, int]


class ArchiveResult(Struct, frozen=True, kw_only=True):
    """last: the last order that was looked at, to go on after; None: no older orders are left to look at."""

    archived: int
    last: OrderId | None


class OrderStore(Protocol):
    # --- acceptance

    async def accept(
        self, new: NewOrder, limits: RiskLimits | None = None, at_once: AtOnce | None = None
    ) -> Accepted:
        """Store an order exactly once per (client, key), or per (client, body) within the replay window.

        Once a halt has been answered, nothing more is stored. An order of a kill passes the halt of that kill,
        and is taken at no other time.

        limits: those that count orders are held in the same step: where there is room for one more, of those
            that come at once one is stored. So is a waiver: of those that come at once no more are stored than
            there are units to close. Fills that are told meanwhile count.
        at_once: split the order and claim its only execution in the same step: for one with a key and without a
            window of its own. No claim is given for what was there already, nor where nothing may be claimed,
            nor where the answer of the step was lost; a claim that was given and is not known of is found as
            other lost claims are.

        Raises:
            DuplicateOrderUniqueKey: the key was used for another request.
            TradingHalted: trading is halted and the request is new; or the kill that the order is of is over.
            RiskRejected: a limit that counts orders has no room, or a waiver no longer holds, and the request
                is new.
        """
        ...

    async def count_orders(
        self, client_id: ClientId | None, request: OrderRequest, limits: RiskLimits
    ) -> OrderCounts:
        """What `accept` would hold the limits that count orders against; nothing of those that are off.

        Same orders are equal requests of the same strategy; without a strategy tag, of the same client. What is
        held and being closed is told where a waiver is set, by one look.
        """
        ...

    async def find_accepted(self, client_id: ClientId, order_unique_key: str) -> tuple[OrderId, str] | None:
        """The order id and fingerprint that a key stands for."""
        ...

    async def find_sighted(self, client_id: ClientId, body_digest: str) -> Accepted | None:
        """The order that a webhook body made, if its replay window still runs."""
        ...

    async def request_cancel(self, order_id: OrderId, requested_by: str) -> CancelResult:
        """Note the wish to cancel: from now on nothing of the order is split or claimed."""
        ...

    async def set_paused(self, order_id: OrderId, paused: bool, changed_by: str) -> PauseResult:
        """Pause an order, or resume it: while it is paused, nothing of it is claimed.

        It is not claimed for splitting either, until its window is over and its slices are to lapse.
        """
        ...

    # --- splitting

    async def claim_orders(self, limit: int, executor: str, lease_s: float) -> list[Order]:
        """Take orders to split, oldest first; `split_attempt` of each is the fence of the next steps."""
        ...

    async def save_split(self, order_id: OrderId, plan: SplitSaved) -> SplitResult:
        """Store an order's slices and executions, once, fenced by `plan.attempt`."""
        ...

    async def fail_split(self, order_id: OrderId, attempt: int, reason: str) -> bool:
        """Close an order that has no valid plan; false where another attempt owns it."""
        ...

    async def recover_splits(self, attempts_max: int) -> list[OrderId]:
        """Put orders whose split lease expired back, or fail them where attempts are spent."""
        ...

    # --- execution

    async def next_due(self) -> float | None:
        """Seconds until the next execution can be claimed; zero or less: now; None: nothing is planned."""
        ...

    async def claim_executions(self, limit: int, executor: str, lease_s: float) -> list[Claim]:
        """Claim executions that are due, inside their window, not cancelled, while trading is not halted.

        Those that have been due for longer than LATE_S are left out.

        From here on each of them may be at the broker. At most once per attempt, whoever asks.
        """
        ...

    async def book(self, bookings: Sequence[Booking]) -> list[Booked]:
        """Take events in, each atomically with its slice, journal rows and broker calls.

        Bookings of one slice are taken in the given order. The answer has one entry per booking.
        """
        ...

    async def dead_executors(self, executors: Iterable[str]) -> set[str]:
        """Those of the named executors that are proven dead: they were here, and have gone.

        Of one that was never seen, or was here under another life of the store, nothing is proven.
        """
        ...

    # --- halt

    async def halt(self, halted_by: str, reason: str) -> TradingState:
        """Stop all claims and acceptances. Once it returns, no execution will be claimed any more.

        A halt that needs a reconcile goes on needing one.
        """
        ...

    async def halt_to_square_off(self, killed_by: str, reason: str) -> TradingState:
        """Halt for a kill whose positions are squared off; a kill that is in force goes on under its `kill_id`.

        Where a reconcile is needed nothing may be sent, so the state has no `kill_id` then.
        """
        ...

    async def resume(self, resumed_by: str, reason: str) -> TradingState:
        """Allow claims and acceptances again.

        Raises:
            ReconcileRequired: the halt needs a reconcile; nothing has changed.
        """
        ...

    async def halt_for_reconcile(self, halted_by: str, reason: str) -> TradingState:
        """Halt until a reconcile is confirmed; where one is needed already, nothing changes."""
        ...

    async def confirm_reconciled(self, confirmed_by: str, reason: str) -> TradingState:
        """End a halt of any kind, on what the last findings tell; their strangers are known from now on.

        Raises:
            ReconcileRequired: a reconcile is needed, and since the halt the order book was not read
                completely; nothing has changed.
        """
        ...

    async def note_findings(self, findings: BookFindings) -> None:
        """Keep what the last look at the order book came to; `known` and `noted_at` are the store's own."""
        ...

    async def findings(self) -> BookFindings | None:
        """What the last look came to; None before the first."""
        ...

    async def notice_restore(self, noticed_by: str) -> bool:
        """Tell whether the store is another one than at the last time somebody asked: restored or failed over.

        The first to see it halts trading until a reconcile is confirmed, in the same step; before that nothing
        is claimed in it. True for the first, and for each process that worked on the other store: what it
        remembers of that is void.
        """
        ...

    async def trading_state(self) -> TradingState: ...

    async def in_flight(self) -> list[Execution]:
        """Claimed executions that have no outcome yet and whose lease runs."""
        ...

    # --- reading

    async def get(self, order_id: OrderId, client_id: ClientId | None = None) -> OrderView | None:
        """One order; None where it does not exist or belongs to another client."""
        ...

    async def list_orders(
        self, client_id: ClientId | None, *, limit: int, before: OrderId | None = None
    ) -> list[OrderView]:
        """Newest first; `before` continues a listing after its last order id."""
        ...

    async def open_orders(self, limit: int) -> list[OrderId]:
        """Orders that are not done, and that nobody has asked to cancel; oldest first.

        Those by which the kill in force squares off are left out.
        """
        ...

    async def unsettled(self) -> set[Instrument]:
        """Instruments whose position may still change by what was sent or waits: some order is not done, or of
        an execution of the last day nobody knows the fate.
        """
        ...

    async def slices(self, order_id: OrderId) -> list[Slice]:
        """All slices of an order by `seq`, each with its executions and fills."""
        ...

    async def journal(self, order_id: OrderId, *, after_seq: int, limit: int) -> list[JournalEntry]:
        """Journal rows after a seq, without gaps."""
        ...

    async def journal_heads(self, order_ids: Sequence[OrderId]) -> dict[OrderId, int]:
        """The last journal seq of each order that exists."""
        ...

    async def fills(self, *, since: datetime | None = None, until: datetime | None = None) -> list[LedgerFill]:
        """Every fill that counts, from an instant on and up to but without another, of archived orders too, as
        they stood together at one moment; in the order of their instants.

        What the exchange took back is left out. What the broker told beyond the trades is there once, as
        provisional, and goes as the trades come.
        """
        ...

    async def units_since(self, since: datetime) -> dict[PositionKey, int]:
        """What the fills from an instant on come to, in units: bought less sold. Cheaper than the fills."""
        ...

    async def fills_mark(self, until: datetime) -> str:
        """A word for the fills before an instant: the same as long as none of them has changed, and none has
        come or gone. It is cheaper than the fills.
        """
        ...

    async def ledger(
        self, wish: LedgerWish, *, limit: int, before: LedgerPlace | None = None
    ) -> list[LedgerRow]:
        """Rows of orders that are not archived: the newest order first, its last slice first.

        before: continues a listing after its last row.
        """
        ...

    async def select(self, selection: Selection, *, limit: int) -> list[Tracked]:
        """Executions that need looking after."""
        ...

    async def find_by_tags(self, tags: Sequence[str]) -> list[Tracked]:
        """The executions that carry the tags."""
        ...

    async def find_by_broker_order_ids(self, broker_order_ids: Sequence[str]) -> list[Tracked]:
        """The executions of the last day that have the ids: brokers count anew, some every day."""
        ...

    async def broker_order_ids(self, since: datetime) -> set[str]:
        """All broker order ids learnt of executions that were due since an instant."""
        ...

    async def broker_calls(self, since: datetime) -> int:
        """How many of the recorded calls (`Booking.call`) began at or after an instant."""
        ...

    # --- housekeeping

    async def forget_sightings(self, older_than_s: float) -> int:
        """Drop webhook sightings that no replay window can reach any more."""
        ...

    async def archive(self, done_for_s: float, *, limit: int, after: OrderId | None = None) -> ArchiveResult:
        """Move orders out of the way that have been done for so long, with all that belongs to them.

        Looks at the next orders by id, `limit` of them. Passes over those that are not done, that have an
        execution of which nobody knows the fate, or that are being changed. An archived order is unknown to all
        other steps, and its key and body are free again; its fills go on to count.
        """
        ...

    async def now(self) -> datetime:
        """The present instant by the store's clock."""
        ...

    async def ping(self) -> None:
        """Return if the store answers."""
        ...
