"""The order store in memory: the reference that the Postgres store is compared with."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import islice, takewhile
from typing import Any

from msgspec.structs import replace

from pulse_domain.errors import DuplicateOrderUniqueKey, IllegalTransition, ReconcileRequired, TradingHalted
from pulse_domain.instruments import Instrument
from pulse_domain.orders import events as ev
from pulse_domain.orders.execution import FOUND_BY_HAND, UNPLANNED, Execution, apply, trading_day
from pulse_domain.orders.ids import ClientId, OrderId, execution_uuid
from pulse_domain.orders.journal import (
    ATTEMPTS_SPENT,
    CANCELLED_BEFORE_SPLIT,
    OrderHistory,
    accepted_event,
    apply_to_order,
    apply_to_slice,
    planned_slices,
)
from pulse_domain.orders.model import REPLAY_WINDOW_S, NewOrder, Order, OrderRequest, Side, window
from pulse_domain.orders.slices import Slice, check_stage
from pulse_domain.orders.status import LEDGER_STATUS, OrderQueueStatus, Phase, TerminalReason
from pulse_domain.orders.summary import summarise_history
from pulse_domain.ports.clock import Clock
from pulse_domain.ports.order_store import (
    LATE_S,
    NOT_READ,
    RESTORED,
    Accepted,
    ArchiveResult,
    AtOnce,
    Booked,
    BookFindings,
    Booking,
    BookResult,
    BrokerCall,
    CancelResult,
    Claim,
    LedgerPlace,
    LedgerRow,
    LedgerWish,
    OrderView,
    PauseResult,
    Selection,
    SplitResult,
    Tracked,
    TradingState,
)
from pulse_domain.positions import LedgerFill, PositionKey, fills_of, fold
from pulse_domain.risk import OrderCounts, RiskLimits, Waiver, check_counts, refusal
from pulse_domain.testing.execution_index import ExecutionIndex

# The phases that executions of a selection can be in; all of them where it is not named here.
_PHASES_OF: dict[Selection, tuple[Phase, ...]] = {
    Selection.OVERDUE: (Phase.PLANNED,),
    Selection.LATE: (Phase.PLANNED,),
    Selection.LEASE_EXPIRED: (Phase.CLAIMED,),
    Selection.UNKNOWN: (Phase.UNKNOWN,),
    Selection.WORKING: (Phase.LIVE,),
    Selection.TO_WITHDRAW: (Phase.PLANNED,),
    Selection.PAST_WINDOW: (Phase.LIVE,),
    Selection.TO_CANCEL: (Phase.CLAIMED, Phase.UNKNOWN, Phase.LIVE),
}

_WANTED: dict[Selection, Callable[[Order, Execution, datetime], bool]] = {
    Selection.OVERDUE: lambda order, e, now: e.phase is Phase.PLANNED and e.expires_at <= now,
    Selection.LATE: lambda order, e, now: (
        e.phase is Phase.PLANNED
        and e.due_at <= now - timedelta(seconds=LATE_S)
        and e.expires_at > now
        and order.cancel_requested_at is None
        and order.paused_at is None
        and not e.cancel_requested
    ),
    Selection.FOUND_BY_HAND: lambda order, e, now: (
        FOUND_BY_HAND in e.flags and (e.phase is Phase.LIVE or e.due_at > now - timedelta(days=1))
    ),
    Selection.IN_DOUBT: lambda order, e, now: (
        e.phase is Phase.UNKNOWN
        or e.terminal is TerminalReason.UNRESOLVED
        or (UNPLANNED in e.flags and e.due_at > now - timedelta(days=1))
    ),
    Selection.LEASE_EXPIRED: lambda order, e, now: (
        e.phase is Phase.CLAIMED and e.lease_until is not None and e.lease_until <= now
    ),
    Selection.UNKNOWN: lambda order, e, now: e.phase is Phase.UNKNOWN,
    Selection.WORKING: lambda order, e, now: e.phase is Phase.LIVE and not e.is_final,
    Selection.TO_WITHDRAW: lambda order, e, now: (
        e.phase is Phase.PLANNED and (order.cancel_requested_at is not None or e.cancel_requested)
    ),
    Selection.PAST_WINDOW: lambda order, e, now: (
        e.phase is Phase.LIVE
        and not e.is_final
        and not e.cancel_requested
        and order.request.split_config is not None
        and order.ends_at <= now
    ),
    Selection.TO_CANCEL: lambda order, e, now: (
        not e.is_final
        and (
            (e.phase is Phase.LIVE and (order.cancel_requested_at is not None or e.cancel_requested))
            or (
                e.phase in (Phase.CLAIMED, Phase.UNKNOWN)
                and order.cancel_requested_at is not None
                and not e.cancel_requested
            )
        )
    ),
}


class _Record:
    """An order with all that belongs to it."""

    def __init__(self, order: Order, index: ExecutionIndex) -> None:
        self.order = order
        self._index = index
        self.split_lease_until: datetime | None = None
        self.slices: dict[int, Slice] = {}
        self.journal: list[ev.JournalEntry] = []
        self.answers: dict[tuple[int, int], dict[str, Any]] = {}

    def note(self, event: ev.Event, at: datetime) -> None:
        if isinstance(event, ev.ExecutionEvent):
            before = self.slices[event.seq]
            after = apply_to_slice(before, event)
            check_stage(before.stage, after.stage)
            self.slices[event.seq] = after
            self._index.put(after.executions[event.chunk])
        else:
            self.order = apply_to_order(self.order, event, at)
        # Last: an event that was refused has not happened.
        self.journal.append(ev.JournalEntry(seq=len(self.journal) + 1, at=at, event=event))

    def plan(self, slices: Iterable[Slice]) -> None:
        self.slices = {slice_.seq: slice_ for slice_ in slices}
        for slice_ in self.slices.values():
            for execution in slice_.executions:
                self._index.put(execution)

    def forget(self) -> None:
        for slice_ in self.slices.values():
            for execution in slice_.executions:
                self._index.drop(execution)

    def executions(self) -> Iterator[Execution]:
        for seq in sorted(self.slices):
            yield from self.slices[seq].executions

    def fills(self) -> list[LedgerFill]:
        found = []
        for execution in self.executions():
            found += fills_of(self.order, execution, self._reported_at(execution))
        return found

    def _reported_at(self, execution: Execution) -> datetime:
        """When a running total was told last, or that all is filled."""
        if execution.provisional_quantity:
            for entry in reversed(self.journal):
                if (
                    isinstance(entry.event, ev.ExecutionCumulativeReported | ev.ExecutionCompleted)
                    and (entry.event.seq, entry.event.chunk) == (execution.seq, execution.chunk)
                ):  # fmt: skip
                    return entry.at
        return self.order.created_at

    def view(self) -> OrderView:
        history = OrderHistory(order=self.order, slices=tuple(self.slices.values()))
        return OrderView(order=self.order, summary=summarise_history(history), last_seq=len(self.journal))


class InMemoryOrderStore:
    """Each method runs without an await inside, hence atomically on its event loop."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._records: dict[OrderId, _Record] = {}
        self._index = ExecutionIndex()
        self._cancelled: set[OrderId] = set()
        self._archived_fills: list[LedgerFill] = []
        self._keys: dict[tuple[str, str], OrderId] = {}
        self._sightings: dict[tuple[str, str], tuple[OrderId, datetime]] = {}
        self._trading = TradingState(halted=False)
        self._findings: BookFindings | None = None
        self._looked_since_change = False
        # Which store this is: another value is a restored backup.
        self.identity = "memory"
        self._noted_identity: str | None = None
        self.calls: list[BrokerCall] = []
        self._recorded: set[tuple[object, ...]] = set()
        # Executors that came, and whether each is still here.
        self._present: dict[str, bool] = {}

    # --- acceptance

    async def accept(
        self, new: NewOrder, limits: RiskLimits | None = None, at_once: AtOnce | None = None
    ) -> Accepted:
        now = self._clock.now()
        known = self._known(new, now)
        if known is not None:
            order = self._records[known].order
            if new.body_digest is None and order.request.fingerprint() != new.fingerprint:
                raise DuplicateOrderUniqueKey(known)
            return Accepted(order_id=known, order_unique_key=order.order_unique_key, replayed=True)
        if not self._lets(new.kill_id):
            raise TradingHalted()
        if limits is not None:
            counts = self._counts(new.client_id, new.request, limits)
            if breaches := check_counts(new.request, counts, limits):
                raise refusal(breaches)
        starts_at, ends_at = new.window or window(new.request, now)
        order = Order(
            order_id=new.order_id,
            client_id=new.client_id,
            order_unique_key=new.order_unique_key,
            request=new.request,
            terms=new.terms,
            source=new.source,
            request_id=new.request_id,
            trace_id=new.trace_id,
            created_at=now,
            starts_at=starts_at,
            ends_at=ends_at,
            kill_id=new.kill_id,
        )
        record = self._records[new.order_id] = _Record(order, self._index)
        self._keys[new.client_id, new.order_unique_key] = new.order_id
        if new.body_digest is not None:
            self._sightings[new.client_id, new.body_digest] = (new.order_id, now)
        record.note(accepted_event(new), now)
        claim = None
        if at_once is not None and self._lets_claim():
            claim = self._split_and_claim(record, at_once, now)
        return Accepted(
            order_id=new.order_id, order_unique_key=new.order_unique_key, replayed=False, claim=claim
        )

    def _split_and_claim(self, record: _Record, at_once: AtOnce, now: datetime) -> Claim:
        order = record.order
        record.note(ev.SplitClaimed(attempt=1, executor=at_once.executor), now)
        quantity = order.request.total_quantity
        only = ev.PlannedSlice(quantity, order.starts_at, (ev.PlannedExecution(quantity, at_once.tag),))
        plan = ev.SplitSaved(
            attempt=1, expires_at=order.ends_at + timedelta(seconds=at_once.grace_s), slices=(only,)
        )
        record.note(plan, now)
        record.plan(planned_slices(record.order, plan))
        return self._claim(record, record.slices[1].executions[0], at_once.executor, at_once.lease_s)

    def _lets_claim(self) -> bool:
        """Whether this is the store that work was done on, not a restored one that nobody has looked at."""
        return self._noted_identity in (None, self.identity)

    def _lets(self, kill_id: str | None) -> bool:
        """Whether orders of a kill pass, or with None those of none."""
        return not self._trading.halted if kill_id is None else self._trading.kill_id == kill_id

    async def count_orders(
        self, client_id: ClientId | None, request: OrderRequest, limits: RiskLimits
    ) -> OrderCounts:
        return self._counts(client_id, request, limits)

    def _counts(self, client_id: ClientId | None, request: OrderRequest, limits: RiskLimits) -> OrderCounts:
        now, orders = self._clock.now(), [record.order for record in self._records.values()]
        counts = OrderCounts(now=now)
        if limits.max_open_orders is not None:
            is_open = [not record.view().summary.done for record in self._records.values()]
            counts = replace(counts, open_orders=sum(is_open))
        if limits.max_orders is not None:
            since = now - limits.orders_window
            recent = sorted(order.created_at for order in orders if order.created_at > since)
            counts = replace(counts, recent_orders=tuple(recent[-limits.max_orders :]))
        if limits.duplicate_window is not None:
            since, fingerprint = now - limits.duplicate_window, request.fingerprint()
            same = (
                order.created_at
                for order in orders
                if order.created_at > since
                and order.request.fingerprint() == fingerprint
                and (request.strategy_tag is not None or order.client_id == client_id)
            )
            counts = replace(counts, same_orders=tuple(sorted(same)))
        if limits.waiver is not None:
            counts = self._count_closing(counts, request, limits.waiver)
        return counts

    def _count_closing(self, counts: OrderCounts, request: OrderRequest, waiver: Waiver) -> OrderCounts:
        held = waiver.carried
        for fill in self._fills(waiver.since):
            if (fill.instrument, fill.product) == (request.instrument, request.product):
                held += fill.quantity if fill.side is Side.BUY else -fill.quantity
        closing = 0
        for record in self._records.values():
            asked = record.order.request
            if (asked.instrument, asked.product, asked.side) != (
                request.instrument, request.product, request.side,
            ):  # fmt: skip
                continue
            if record.order.queue_status in (OrderQueueStatus.PENDING, OrderQueueStatus.IN_PROGRESS):
                closing += asked.total_quantity
            closing += sum(execution.leaves_quantity for execution in record.executions())
        return replace(counts, closable=held if request.side is Side.SELL else -held, closing=closing)

    def _known(self, new: NewOrder, now: datetime) -> OrderId | None:
        if new.body_digest is not None:
            seen = self._sightings.get((new.client_id, new.body_digest))
            if seen is not None and now - seen[1] <= timedelta(seconds=REPLAY_WINDOW_S):
                return seen[0]
            return None
        return self._keys.get((new.client_id, new.order_unique_key))

    async def find_accepted(self, client_id: ClientId, order_unique_key: str) -> tuple[OrderId, str] | None:
        order_id = self._keys.get((client_id, order_unique_key))
        if order_id is None:
            return None
        return order_id, self._records[order_id].order.request.fingerprint()

    async def find_sighted(self, client_id: ClientId, body_digest: str) -> Accepted | None:
        seen = self._sightings.get((client_id, body_digest))
        if seen is None or self._clock.now() - seen[1] > timedelta(seconds=REPLAY_WINDOW_S):
            return None
        key = self._records[seen[0]].order.order_unique_key
        return Accepted(order_id=seen[0], order_unique_key=key, replayed=True)

    async def request_cancel(self, order_id: OrderId, requested_by: str) -> CancelResult:
        record = self._records.get(order_id)
        if record is None:
            return CancelResult.NOT_FOUND
        if record.order.cancel_requested_at is not None:
            return CancelResult.ALREADY
        now = self._clock.now()
        record.note(ev.CancelRequested(requested_by=requested_by), now)
        self._cancelled.add(order_id)
        if record.order.queue_status is OrderQueueStatus.PENDING:
            record.note(ev.OrderSkipped(reason=CANCELLED_BEFORE_SPLIT), now)
        return CancelResult.REQUESTED

    async def set_paused(self, order_id: OrderId, paused: bool, changed_by: str) -> PauseResult:
        record = self._records.get(order_id)
        if record is None:
            return PauseResult.NOT_FOUND
        if (record.order.paused_at is not None) is paused:
            return PauseResult.ALREADY
        event = ev.OrderPaused(paused_by=changed_by) if paused else ev.OrderResumed(resumed_by=changed_by)
        record.note(event, self._clock.now())
        return PauseResult.CHANGED

    # --- splitting

    async def claim_orders(self, limit: int, executor: str, lease_s: float) -> list[Order]:
        now = self._clock.now()
        taken = [
            record
            for _, record in sorted(self._records.items())
            if record.order.queue_status is OrderQueueStatus.PENDING
            and (record.order.paused_at is None or record.order.ends_at <= now)
        ][:limit]
        for record in taken:
            attempt = record.order.split_attempt + 1
            record.note(ev.SplitClaimed(attempt=attempt, executor=executor), now)
            record.split_lease_until = now + timedelta(seconds=lease_s)
        return [record.order for record in taken]

    def _owned(self, order_id: OrderId, attempt: int) -> _Record | None:
        record = self._records[order_id]
        order = record.order
        owned = order.queue_status is OrderQueueStatus.IN_PROGRESS and order.split_attempt == attempt
        return record if owned else None

    async def save_split(self, order_id: OrderId, plan: ev.SplitSaved) -> SplitResult:
        record = self._owned(order_id, plan.attempt)
        if record is None:
            return SplitResult.STALE
        now = self._clock.now()
        if record.order.cancel_requested_at is not None:
            record.note(ev.OrderSkipped(reason=CANCELLED_BEFORE_SPLIT), now)
            return SplitResult.SKIPPED
        record.note(plan, now)
        record.plan(planned_slices(record.order, plan))
        return SplitResult.SAVED

    async def fail_split(self, order_id: OrderId, attempt: int, reason: str) -> bool:
        record = self._owned(order_id, attempt)
        if record is None:
            return False
        record.note(ev.SplitFailed(attempt=attempt, reason=reason), self._clock.now())
        return True

    async def recover_splits(self, attempts_max: int) -> list[OrderId]:
        now, recovered = self._clock.now(), []
        for order_id, record in sorted(self._records.items()):
            order = record.order
            lease = record.split_lease_until
            if order.queue_status is not OrderQueueStatus.IN_PROGRESS or lease is None or lease > now:
                continue
            recovered.append(order_id)
            if order.cancel_requested_at is not None:
                record.note(ev.OrderSkipped(reason=CANCELLED_BEFORE_SPLIT), now)
            elif order.split_attempt < attempts_max:
                record.note(ev.SplitLeaseExpired(attempt=order.split_attempt), now)
            else:
                record.note(ev.SplitFailed(attempt=order.split_attempt, reason=ATTEMPTS_SPENT), now)
        return recovered

    # --- execution

    def _claimable(self) -> Iterator[Execution]:
        """What can be claimed now or later, by the instants; none may be changed meanwhile."""
        now = self._clock.now()
        for execution in self._index.planned():
            order = self._records[execution.order_id].order
            if (
                execution.expires_at > now
                and not execution.cancel_requested
                and order.cancel_requested_at is None
                and order.paused_at is None
                and self._lets(order.kill_id)
            ):
                yield execution

    async def next_due(self) -> float | None:
        first = next(self._claimable(), None)
        return None if first is None else (first.due_at - self._clock.now()).total_seconds()

    async def claim_executions(self, limit: int, executor: str, lease_s: float) -> list[Claim]:
        now = self._clock.now()
        if not self._lets_claim():
            return []
        since = now - timedelta(seconds=LATE_S)
        until_now = takewhile(lambda e: e.due_at <= now, self._claimable())
        due = list(islice((e for e in until_now if e.due_at > since), limit))
        return [
            self._claim(self._records[execution.order_id], execution, executor, lease_s) for execution in due
        ]

    def _claim(self, record: _Record, execution: Execution, executor: str, lease_s: float) -> Claim:
        now = self._clock.now()
        record.note(
            ev.ExecutionClaimed(
                seq=execution.seq,
                chunk=execution.chunk,
                attempt=execution.attempt + 1,
                executor=executor,
                lease_until=now + timedelta(seconds=lease_s),
            ),
            now,
        )
        claimed = record.slices[execution.seq].executions[execution.chunk]
        return Claim(order=record.order, execution=claimed, lease_s=lease_s)

    async def book(self, bookings: Sequence[Booking]) -> list[Booked]:
        return [self._book(booking) for booking in bookings]

    def _book(self, booking: Booking) -> Booked:
        record, event = self._records.get(booking.order_id), booking.event
        if booking.call is not None:
            call = booking.call
            # On record once, though its outcome may be booked again.
            key = (booking.order_id, event.seq, event.chunk, call.operation, call.began_at)
            if key not in self._recorded:
                self._recorded.add(key)
                self.calls.append(call)
        if record is None or event.seq not in record.slices:
            return Booked(BookResult.NOT_FOUND)
        executions = record.slices[event.seq].executions
        if not 0 <= event.chunk < len(executions):
            return Booked(BookResult.NOT_FOUND)
        before = executions[event.chunk]
        if isinstance(event, ev.ExecutionFilled) and self._is_anothers(event.fill, record, before):
            return Booked(BookResult.REFUSED, before)
        try:
            if apply(before, event) is before:
                return Booked(BookResult.UNCHANGED, before)
            record.note(event, self._clock.now())
        except IllegalTransition:
            return Booked(BookResult.REFUSED, before)
        if booking.answer is not None:
            record.answers.setdefault((event.seq, event.chunk), {}).update(booking.answer)
        return Booked(BookResult.APPLIED, record.slices[event.seq].executions[event.chunk])

    def _is_anothers(self, fill: ev.Fill, record: _Record, ours: Execution) -> bool:
        """Whether the trade is booked for another execution already."""
        exchange, key = record.order.request.instrument.exchange, (fill.broker_order_id, fill.trade_id)
        return any(
            (known.broker_order_id, known.trade_id) == key
            and trading_day(known.at) == trading_day(fill.at)
            and other.execution_id != ours.execution_id
            and self._records[other.order_id].order.request.instrument.exchange is exchange
            for other in self._index.trading_under(fill.broker_order_id)
            for known in other.fills
        )

    async def dead_executors(self, executors: Iterable[str]) -> set[str]:
        return {executor for executor in executors if self._present.get(executor) is False}

    def set_present(self, executor: str, present: bool) -> None:
        self._present[executor] = present

    def forget_executors(self) -> None:
        """Begin another life of the store: who was here before is neither present nor proven dead."""
        self._present.clear()

    # --- halt

    async def halt(self, halted_by: str, reason: str) -> TradingState:
        return self._set_trading(True, halted_by, reason, needs_reconcile=self._trading.needs_reconcile)

    async def halt_to_square_off(self, killed_by: str, reason: str) -> TradingState:
        now, state = self._clock.now(), self._trading
        if state.needs_reconcile:
            return self._set_trading(True, killed_by, reason, needs_reconcile=True)
        kill_id = state.kill_id or f"{now.astimezone(UTC):%Y%m%dT%H%M%S%f}"
        return self._set_trading(True, killed_by, reason, kill_id=kill_id)

    async def resume(self, resumed_by: str, reason: str) -> TradingState:
        if self._trading.needs_reconcile:
            raise ReconcileRequired()
        return self._set_trading(False, resumed_by, reason)

    async def halt_for_reconcile(self, halted_by: str, reason: str) -> TradingState:
        if self._trading.needs_reconcile:
            return self._trading
        return self._set_trading(True, halted_by, reason, needs_reconcile=True)

    async def confirm_reconciled(self, confirmed_by: str, reason: str) -> TradingState:
        found = self._findings if self._looked_since_change else None
        if found is not None and found.complete:
            self._findings = replace(found, known=frozenset(row.broker_order_id for row in found.strangers))
        elif self._trading.needs_reconcile:
            raise ReconcileRequired(NOT_READ)
        return self._set_trading(False, confirmed_by, reason)

    def _set_trading(
        self,
        halted: bool,
        by: str,
        reason: str,
        *,
        needs_reconcile: bool = False,
        kill_id: str | None = None,
    ) -> TradingState:
        self._looked_since_change = False
        self._trading = TradingState(
            halted=halted,
            changed_by=by,
            reason=reason,
            changed_at=self._clock.now(),
            needs_reconcile=needs_reconcile,
            kill_id=kill_id,
        )
        return self._trading

    async def note_findings(self, findings: BookFindings) -> None:
        known = self._findings.known if self._findings else frozenset[str]()
        self._findings = replace(findings, known=known, noted_at=self._clock.now())
        self._looked_since_change = True

    async def findings(self) -> BookFindings | None:
        return self._findings

    async def notice_restore(self, noticed_by: str) -> bool:
        noted, self._noted_identity = self._noted_identity, self.identity
        if noted in (None, self.identity):
            return False
        self._set_trading(True, noticed_by, RESTORED, needs_reconcile=True)
        return True

    async def trading_state(self) -> TradingState:
        return self._trading

    async def in_flight(self) -> list[Execution]:
        now = self._clock.now()
        return [
            tracked.execution
            for tracked in self._tracked(
                self._index.in_phases((Phase.CLAIMED,)),
                lambda order, e: e.lease_until is not None and e.lease_until > now,
            )
        ]

    # --- reading

    async def get(self, order_id: OrderId, client_id: ClientId | None = None) -> OrderView | None:
        record = self._records.get(order_id)
        if record is None or client_id not in (None, record.order.client_id):
            return None
        return record.view()

    async def list_orders(
        self, client_id: ClientId | None, *, limit: int, before: OrderId | None = None
    ) -> list[OrderView]:
        matching = (
            record
            for order_id, record in sorted(self._records.items(), reverse=True)
            if client_id in (None, record.order.client_id) and (before is None or order_id < before)
        )
        return [record.view() for record, _ in zip(matching, range(limit), strict=False)]

    async def open_orders(self, limit: int) -> list[OrderId]:
        matching = (
            order_id
            for order_id, record in sorted(self._records.items())
            if record.order.cancel_requested_at is None
            and not record.view().summary.done
            and (record.order.kill_id is None or record.order.kill_id != self._trading.kill_id)
        )
        return [order_id for order_id, _ in zip(matching, range(limit), strict=False)]

    async def unsettled(self) -> set[Instrument]:
        since = self._clock.now() - timedelta(days=1)
        return {
            record.order.request.instrument
            for record in self._records.values()
            if not record.view().summary.done
            or any(e.terminal is TerminalReason.UNRESOLVED and e.due_at > since for e in record.executions())
        }

    async def slices(self, order_id: OrderId) -> list[Slice]:
        record = self._records.get(order_id)
        return [record.slices[seq] for seq in sorted(record.slices)] if record else []

    async def journal(self, order_id: OrderId, *, after_seq: int, limit: int) -> list[ev.JournalEntry]:
        record = self._records.get(order_id)
        return record.journal[after_seq : after_seq + limit] if record else []

    async def journal_heads(self, order_ids: Sequence[OrderId]) -> dict[OrderId, int]:
        return {oid: len(self._records[oid].journal) for oid in order_ids if oid in self._records}

    async def fills(self, *, since: datetime | None = None, until: datetime | None = None) -> list[LedgerFill]:
        return self._fills(since, until)

    def _fills(self, since: datetime | None = None, until: datetime | None = None) -> list[LedgerFill]:
        live = [fill for record in self._records.values() for fill in record.fills()]
        wanted = [
            fill
            for fill in (*self._archived_fills, *live)
            if (since is None or fill.at >= since) and (until is None or fill.at < until)
        ]
        return sorted(wanted, key=lambda fill: fill.place)

    async def units_since(self, since: datetime) -> dict[PositionKey, int]:
        return {key: standing.quantity for key, standing in fold(await self.fills(since=since)).items()}

    async def fills_mark(self, until: datetime) -> str:
        return repr([(fill.place, fill.quantity, fill.value) for fill in await self.fills(until=until)])

    async def ledger(
        self, wish: LedgerWish, *, limit: int, before: LedgerPlace | None = None
    ) -> list[LedgerRow]:
        rows = (
            LedgerRow(
                order=record.order,
                execution=execution,
                internal_id=execution_uuid(execution.execution_id),
                status=LEDGER_STATUS[execution.status],
                answers=dict(record.answers.get((execution.seq, execution.chunk), {})),
            )
            for _, record in sorted(self._records.items(), reverse=True)
            for execution in reversed(list(record.executions()))
            if before is None or (execution.order_id, execution.seq, execution.chunk) < before
        )
        return list(islice((row for row in rows if _is_wished(row, wish)), limit))

    def _tracked(
        self, executions: Iterable[Execution], wanted: Callable[[Order, Execution], bool]
    ) -> list[Tracked]:
        found = []
        for execution in executions:
            order = self._records[execution.order_id].order
            if wanted(order, execution):
                found.append(Tracked(order=order, execution=execution))
        return sorted(
            found, key=lambda t: (t.execution.due_at, t.order.order_id, t.execution.seq, t.execution.chunk)
        )

    async def select(self, selection: Selection, *, limit: int) -> list[Tracked]:
        now, wanted = self._clock.now(), _WANTED[selection]
        executions: Iterable[Execution] = self._index.in_phases(_PHASES_OF.get(selection, Phase))
        if selection in (Selection.TO_WITHDRAW, Selection.TO_CANCEL):
            # Polled often, and of these there are few.
            executions = [e for e in executions if e.cancel_requested or e.order_id in self._cancelled]
        return self._tracked(executions, lambda order, e: wanted(order, e, now))[:limit]

    async def find_by_tags(self, tags: Sequence[str]) -> list[Tracked]:
        return self._tracked(self._index.tagged(tags), lambda order, e: True)

    async def find_by_broker_order_ids(self, broker_order_ids: Sequence[str]) -> list[Tracked]:
        since = self._clock.now() - timedelta(days=1)
        return self._tracked(self._index.named(broker_order_ids, since), lambda order, e: True)

    async def broker_order_ids(self, since: datetime) -> set[str]:
        return self._index.named_since(since)

    async def broker_calls(self, since: datetime) -> int:
        return sum(call.began_at >= since for call in self.calls)

    # --- housekeeping

    async def forget_sightings(self, older_than_s: float) -> int:
        horizon = self._clock.now() - timedelta(seconds=older_than_s)
        old = [key for key, (_, seen_at) in self._sightings.items() if seen_at < horizon]
        for key in old:
            del self._sightings[key]
        return len(old)

    async def archive(self, done_for_s: float, *, limit: int, after: OrderId | None = None) -> ArchiveResult:
        horizon = self._clock.now() - timedelta(seconds=done_for_s)
        page = [
            order_id
            for order_id, record in sorted(self._records.items())
            if record.order.created_at < horizon and (after is None or order_id > after)
        ][:limit]
        old = [order_id for order_id in page if self._is_over(self._records[order_id], horizon)]
        for order_id in old:
            record = self._records.pop(order_id)
            record.forget()
            self._archived_fills += record.fills()
            order = record.order
            self._keys.pop((order.client_id, order.order_unique_key), None)
            self._sightings = {key: seen for key, seen in self._sightings.items() if seen[0] != order_id}
        return ArchiveResult(archived=len(old), last=page[-1] if page else None)

    def _is_over(self, record: _Record, horizon: datetime) -> bool:
        return (
            record.journal[-1].at < horizon
            and record.view().summary.done
            and all(
                execution.terminal is not TerminalReason.UNRESOLVED
                for slice_ in record.slices.values()
                for execution in slice_.executions
            )
        )

    async def now(self) -> datetime:
        return self._clock.now()

    async def ping(self) -> None:
        pass


def _is_wished(row: LedgerRow, wish: LedgerWish) -> bool:
    request = row.order.request
    return (
        wish.client_id in (None, row.order.client_id)
        and wish.day in (None, trading_day(row.execution.due_at))
        and wish.strategy_tag in (None, request.strategy_tag)
        and wish.instrument in (None, request.instrument)
        and wish.status in (None, row.status)
    )


class InMemoryPresence:
    """An executor's presence at a store in memory: held like a session lock, gone with its process."""

    def __init__(self, store: InMemoryOrderStore, executor: str) -> None:
        self._store = store
        self._executor = executor

    async def hold(self) -> bool:
        self._store.set_present(self._executor, True)
        return True

    async def release(self) -> None:
        self._store.set_present(self._executor, False)
