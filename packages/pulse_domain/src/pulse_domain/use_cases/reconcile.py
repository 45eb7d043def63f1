"""Compare with the broker's order book, and resolve executions that nobody knows the fate of.

An unknown execution is left only by the broker's own answer. Presence is simple: its tag is in the
book. Absence needs proof: two complete reads of the right day, begun after the settle time, each holding
every broker order id already known of that day, and no row of unknown origin that could be the order in
disguise.
"""

from datetime import datetime, timedelta

from msgspec import Struct

from pulse_domain.orders import events as ev
from pulse_domain.orders.execution import Execution, trading_day_start
from pulse_domain.orders.model import Order
from pulse_domain.ports.broker import BookRead, Broker, BrokerOrder
from pulse_domain.ports.clock import Clock
from pulse_domain.ports.order_store import Booking, OrderStore, Selection, Tracked
from pulse_domain.use_cases.book_facts import BookFacts, FactsReport

ABSENCES_NEEDED = 2
PROVEN_ABSENT = "PROVEN_ABSENT"
NOT_PROVABLE = "NOT_PROVABLE"


class ReconcileSettings(Struct, frozen=True, kw_only=True):
    """settle_s: how late an order may appear in the broker's book (90 s have been seen).
    absence_gap_s: how far apart two reads must begin to be two, and not one that a broker kept.
    give_up_s: after which an execution that can neither be found nor be proven absent is UNRESOLVED."""

    settle_s: float = 120.0
    absence_gap_s: float = 5.0
    give_up_s: float = 1800.0
    batch_size: int = 500


class ReconcileReport(Struct, frozen=True, kw_only=True):
    """complete: the read holds all that it must; only then can anything be concluded from what it lacks.
    look_alikes: executions that stay unknown because an unowned row could be theirs."""

    facts: FactsReport
    complete: bool
    released: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()
    unresolved: tuple[str, ...] = ()
    look_alikes: tuple[str, ...] = ()


class Reconcile:
    def __init__(
        self, store: OrderStore, broker: Broker, facts: BookFacts, clock: Clock, settings: ReconcileSettings
    ) -> None:
        self._store = store
        self._broker = broker
        self._facts = facts
        self._clock = clock
        self._settings = settings
        # What each row said when it was last booked: an unchanged row costs nothing.
        self._seen: dict[str, BrokerOrder] = {}

    async def __call__(self) -> ReconcileReport:
        """Read the book once and act on it.

        Raises:
            BrokerUnavailable: the book cannot be read; nothing was concluded from that.
            StorageUnavailable: some facts may not be booked; the next pass books them.
        """
        # Before the read: what is placed while it runs need not be in it.
        known = await self._store.broker_order_ids(trading_day_start(self._clock.now()))
        read = await self._broker.order_book()
        changed = [row for row in read.orders if self._seen.get(row.broker_order_id) != row]
        facts = await self._facts(changed)
        for row in changed:
            # A total without its trades is asked about again.
            if row.broker_order_id not in facts.unexplained:
                self._seen[row.broker_order_id] = row
        listed = {row.broker_order_id for row in read.orders}
        self._seen = {key: row for key, row in self._seen.items() if key in listed}
        complete = await self._is_complete(read, known)
        unknown = await self._store.select(Selection.UNKNOWN, limit=self._settings.batch_size)
        return await self._resolve(unknown, read, complete, facts)

    async def _is_complete(self, read: BookRead, known_before: set[str]) -> bool:
        # A book of another day, or one cut short without saying so, lacks orders that we know of.
        if not read.complete or any(row.placed_at < read.covers_since for row in read.orders):
            return False
        known = known_before & await self._store.broker_order_ids(read.covers_since)
        return known <= {row.broker_order_id for row in read.orders}

    async def _resolve(
        self, unknown: list[Tracked], read: BookRead, complete: bool, facts: FactsReport
    ) -> ReconcileReport:
        present = {tag for row in read.orders for tag in row.tags}
        bookings: list[Booking] = []
        event: ev.AnyExecutionEvent
        verdict: str | None
        names: dict[str, list[str]] = {"released": [], "failed": [], "unresolved": [], "look_alikes": []}
        for tracked in unknown:
            execution = tracked.execution
            if execution.tag in present:
                # In the book, but its row was seen before it became unknown: book it anew.
                self._seen = {k: row for k, row in self._seen.items() if execution.tag not in row.tags}
                continue
            disguised = _look_alike(tracked.order, execution, read, self._facts)
            if disguised:
                names["look_alikes"].append(execution.execution_id)
            if complete and not disguised and self._settles(execution, read):
                event, verdict = self._absent(execution, read.began_at)
            elif self._hopeless(execution):
                event, verdict = _unresolved(execution), "unresolved"
            else:
                continue
            bookings.append(Booking(order_id=execution.order_id, event=event))
            if verdict is not None:
                names[verdict].append(execution.execution_id)
        if bookings:
            await self._store.book(bookings)
        return ReconcileReport(
            facts=facts, complete=complete, **{name: tuple(ids) for name, ids in names.items()}
        )

    def _settles(self, execution: Execution, read: BookRead) -> bool:
        """Whether the read would hold the order, had it arrived; and is not one that counted already."""
        ended_at = execution.call_ended_at or execution.lease_until
        if ended_at is None or execution.due_at < read.covers_since:
            return False
        gap = timedelta(seconds=self._settings.absence_gap_s)
        if execution.last_absence_at is not None and read.began_at < execution.last_absence_at + gap:
            return False
        return read.began_at >= ended_at + timedelta(seconds=self._settings.settle_s)

    def _absent(self, execution: Execution, began_at: datetime) -> tuple[ev.AnyExecutionEvent, str | None]:
        place = {"seq": execution.seq, "chunk": execution.chunk, "attempt": execution.attempt}
        if execution.absences + 1 < ABSENCES_NEEDED:
            return ev.ExecutionAbsenceSeen(**place, read_began_at=began_at), None
        # Sending again needs more than absence: that no call can still be in the air.
        if execution.call_ended_at is not None and self._clock.now() < execution.expires_at:
            not_before = execution.call_ended_at
            return ev.ExecutionReleased(**place, reason=PROVEN_ABSENT, not_before=not_before), "released"
        return ev.ExecutionFailed(**place, reason=PROVEN_ABSENT), "failed"

    def _hopeless(self, execution: Execution) -> bool:
        sent_at = execution.call_ended_at or execution.lease_until
        return sent_at is not None and self._clock.now() >= sent_at + timedelta(
            seconds=self._settings.give_up_s
        )


def _unresolved(execution: Execution) -> ev.ExecutionUnresolved:
    return ev.ExecutionUnresolved(
        seq=execution.seq, chunk=execution.chunk, attempt=execution.attempt, reason=NOT_PROVABLE
    )


def _look_alike(order: Order, execution: Execution, read: BookRead, facts: BookFacts) -> bool:
    earliest = execution.due_at - timedelta(seconds=5)
    return any(
        not any(facts.is_ours(tag) for tag in row.tags)
        and row.instrument == order.request.instrument
        and row.side is order.request.side
        and row.quantity == execution.quantity
        and row.placed_at >= earliest
        for row in read.orders
    )
