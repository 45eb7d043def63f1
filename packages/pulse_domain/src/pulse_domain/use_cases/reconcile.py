"""Compare with the broker's order book, and resolve executions that nobody knows the fate of.

An unknown execution is left only by the broker's own answer. Presence is simple: its tag is in the
book. Absence needs proof: two complete reads of the right day, begun after the settle time, each holding
every broker order id already known of that day, and no row of unknown origin that could be the order in
disguise.
"""

from datetime import datetime, timedelta

from msgspec import Struct
from msgspec.structs import replace

from pulse_domain.orders import events as ev
from pulse_domain.orders.execution import Execution, trading_day_start
from pulse_domain.orders.model import Order
from pulse_domain.orders.status import Phase
from pulse_domain.ports.broker import BookRead, Broker, BrokerOrder
from pulse_domain.ports.clock import Clock
from pulse_domain.ports.order_store import NAMED_MAX, Booking, OrderStore, Selection, Tracked
from pulse_domain.use_cases.book_facts import BookFacts, FactsReport

ABSENCES_NEEDED = 2
PROVEN_ABSENT = "PROVEN_ABSENT"
NOT_PROVABLE = "NOT_PROVABLE"
EXECUTOR_DEAD = "EXECUTOR_DEAD"
DAY_OVER = "DAY_OVER"


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
    look_alikes: executions that stay unknown because an unowned row could be theirs.
    strangers: all rows of the book with our prefix that belong to no execution."""

    facts: FactsReport
    complete: bool
    released: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()
    unresolved: tuple[str, ...] = ()
    look_alikes: tuple[str, ...] = ()
    strangers: tuple[BrokerOrder, ...] = ()


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
        self._strangers: dict[str, BrokerOrder] = {}

    def forget(self) -> None:
        """Take the next read for the first: a store that was restored has forgotten what was booked."""
        self._seen = {}
        self._strangers = {}

    async def __call__(self) -> ReconcileReport:
        """Read the book once and act on it.

        Raises:
            BrokerUnavailable: the book cannot be read; nothing was concluded from that.
            StorageUnavailable: some facts may not be booked; the next pass books them.
        """
        # Before the read: what is placed while it runs need not be in it.
        known = await self._store.broker_order_ids(trading_day_start(self._clock.now()))
        # By the store's clock, as all that it is compared with: one that is ahead would not wait for the book
        # to settle.
        began_at = await self._store.now()
        read = replace(await self._broker.order_book(), began_at=began_at)
        named = await self._store.select(Selection.FOUND_BY_HAND, limit=NAMED_MAX)
        # A person may be wrong about an id: a read that lacks it is complete all the same.
        known -= {t.execution.broker_order_id for t in named if t.execution.broker_order_id is not None}
        # Their rows may be long unchanged.
        awaited = {t.execution.broker_order_id for t in named if not t.execution.is_final}
        changed = [
            row
            for row in read.orders
            if self._seen.get(row.broker_order_id) != row or row.broker_order_id in awaited
        ]
        facts = await self._facts(changed)
        for row in changed:
            # A total without its trades is asked about again.
            if row.broker_order_id not in facts.unexplained:
                self._seen[row.broker_order_id] = row
        listed: set[str] = {row.broker_order_id for row in read.orders}
        self._seen = {key: row for key, row in self._seen.items() if key in listed}
        told = {row.broker_order_id for row in changed}
        self._strangers = {
            key: row for key, row in self._strangers.items() if key in listed and key not in told
        } | {row.broker_order_id: row for row in facts.strangers}
        complete = await self._is_complete(read, known)
        unknown = await self._store.select(Selection.UNKNOWN, limit=self._settings.batch_size)
        unknown = await self._end_calls_of_the_dead(unknown, began_at)
        report = await self._resolve(unknown, read, complete, facts)
        if not complete:
            return report
        return replace(report, unresolved=(*report.unresolved, *await self._close_past_days(read, listed)))

    async def _end_calls_of_the_dead(self, unknown: list[Tracked], now: datetime) -> list[Tracked]:
        """Note that calls have ended whose executors are proven dead.

        Not before the lease: a connection that was cut looks like a death, and the process behind it begins no
        call any more once its lease is over. And as of now, not of the lease's end: a call may have hung until
        the process died.
        """
        silent = [
            t
            for t in unknown
            if t.execution.call_ended_at is None
            and t.execution.executor is not None
            and t.execution.lease_until is not None
            and t.execution.lease_until <= now
        ]
        if not silent:
            return unknown
        dead = await self._store.dead_executors({t.execution.executor for t in silent if t.execution.executor})
        if not dead:
            return unknown
        ended_at = await self._store.now()
        ended = {
            t.execution.execution_id: Booking(
                order_id=t.order.order_id,
                event=ev.ExecutionUnanswered(
                    seq=t.execution.seq,
                    chunk=t.execution.chunk,
                    attempt=t.execution.attempt,
                    reason=EXECUTOR_DEAD,
                    call_ended_at=ended_at,
                ),
            )
            for t in silent
            if t.execution.executor in dead
        }
        booked = await self._store.book(list(ended.values()))
        now_known = {
            execution_id: b.execution
            for execution_id, b in zip(ended, booked, strict=True)
            if b.execution is not None
        }
        current = [replace(t, execution=now_known.get(t.execution.execution_id, t.execution)) for t in unknown]
        return [t for t in current if t.execution.phase is Phase.UNKNOWN]

    async def _close_past_days(self, read: BookRead, listed: set[str]) -> list[str]:
        """Close executions that are live as far as we know, of a day that the book does not cover any more.

        What became of them was not told while their day lasted, and is told by nobody now.
        """
        past = [
            t
            for t in await self._store.select(Selection.WORKING, limit=self._settings.batch_size)
            if t.execution.due_at < read.covers_since and t.execution.broker_order_id not in listed
        ]
        if past:
            await self._store.book(
                [Booking(order_id=t.order.order_id, event=_unresolved(t.execution, DAY_OVER)) for t in past]
            )
        return [t.execution.execution_id for t in past]

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
            proves = complete and not disguised and self._would_hold(execution, read)
            if proves and self._is_another(execution, read):
                event, verdict = self._absent(execution, read.began_at)
            elif not proves and self._hopeless(execution, read.began_at):
                # Not while reads prove: after an outage that outlasted all patience, the next of them decides.
                event, verdict = _unresolved(execution, NOT_PROVABLE), "unresolved"
            else:
                continue
            bookings.append(Booking(order_id=execution.order_id, event=event))
            if verdict is not None:
                names[verdict].append(execution.execution_id)
        if bookings:
            await self._store.book(bookings)
        return ReconcileReport(
            facts=facts,
            complete=complete,
            released=tuple(names["released"]),
            failed=tuple(names["failed"]),
            unresolved=tuple(names["unresolved"]),
            look_alikes=tuple(names["look_alikes"]),
            strangers=tuple(self._strangers.values()),
        )

    def _would_hold(self, execution: Execution, read: BookRead) -> bool:
        """Whether the order would be in the read, had it arrived."""
        ended_at = execution.call_ended_at or execution.lease_until
        if ended_at is None or execution.due_at < read.covers_since:
            return False
        return read.began_at >= ended_at + timedelta(seconds=self._settings.settle_s)

    def _is_another(self, execution: Execution, read: BookRead) -> bool:
        """Whether the read is far enough from the one that counted already."""
        gap = timedelta(seconds=self._settings.absence_gap_s)
        return execution.last_absence_at is None or read.began_at >= execution.last_absence_at + gap

    def _absent(self, execution: Execution, began_at: datetime) -> tuple[ev.AnyExecutionEvent, str | None]:
        place = {"seq": execution.seq, "chunk": execution.chunk, "attempt": execution.attempt}
        if execution.absences + 1 < ABSENCES_NEEDED:
            return ev.ExecutionAbsenceSeen(**place, read_began_at=began_at), None
        # Sending again needs more than absence: that no call can still be in the air.
        if execution.call_ended_at is not None and began_at < execution.expires_at:
            not_before = execution.call_ended_at
            return ev.ExecutionReleased(**place, reason=PROVEN_ABSENT, not_before=not_before), "released"
        return ev.ExecutionFailed(**place, reason=PROVEN_ABSENT), "failed"

    def _hopeless(self, execution: Execution, now: datetime) -> bool:
        sent_at = execution.call_ended_at or execution.lease_until
        return sent_at is not None and now >= sent_at + timedelta(seconds=self._settings.give_up_s)


def _unresolved(execution: Execution, reason: str) -> ev.ExecutionUnresolved:
    return ev.ExecutionUnresolved(
        seq=execution.seq, chunk=execution.chunk, attempt=execution.attempt, reason=reason
    )


def _look_alike(order: Order, execution: Execution, read: BookRead, facts: BookFacts) -> bool:
    earliest = execution.due_at - timedelta(seconds=5)
    return any(
        row.quantity == execution.quantity
        and row.side is order.request.side
        and row.instrument == order.request.instrument
        and row.placed_at >= earliest
        and not any(facts.is_ours(tag) for tag in row.tags)
        for row in read.orders
    )
