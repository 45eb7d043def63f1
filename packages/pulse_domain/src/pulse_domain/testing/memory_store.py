"""The order store in memory: the reference that the Postgres store is compared with."""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta

from pulse_domain.errors import DuplicateOrderUniqueKey, IllegalTransition, TradingHalted
from pulse_domain.orders import events as ev
from pulse_domain.orders.execution import Execution, apply, trading_day
from pulse_domain.orders.ids import ClientId, OrderId
from pulse_domain.orders.journal import (
    ATTEMPTS_SPENT,
    CANCELLED_BEFORE_SPLIT,
    OrderHistory,
    accepted_event,
    apply_to_order,
    apply_to_slice,
    planned_slices,
)
from pulse_domain.orders.model import REPLAY_WINDOW_S, NewOrder, Order, window
from pulse_domain.orders.slices import Slice, check_stage
from pulse_domain.orders.status import OrderQueueStatus, Phase
from pulse_domain.orders.summary import summarise_history
from pulse_domain.ports.clock import Clock
from pulse_domain.ports.order_store import (
    Accepted,
    Booked,
    Booking,
    BookResult,
    BrokerCall,
    CancelResult,
    Claim,
    OrderView,
    Selection,
    SplitResult,
    Tracked,
    TradingState,
)


class _Record:
    """An order with all that belongs to it."""

    def __init__(self, order: Order) -> None:
        self.order = order
        self.split_lease_until: datetime | None = None
        self.slices: dict[int, Slice] = {}
        self.journal: list[ev.JournalEntry] = []

    def note(self, event: ev.Event, at: datetime) -> None:
        if isinstance(event, ev.ExecutionEvent):
            before = self.slices[event.seq]
            after = apply_to_slice(before, event)
            check_stage(before.stage, after.stage)
            self.slices[event.seq] = after
        else:
            self.order = apply_to_order(self.order, event, at)
        # Last: an event that was refused has not happened.
        self.journal.append(ev.JournalEntry(seq=len(self.journal) + 1, at=at, event=event))

    def executions(self) -> Iterable[Execution]:
        for seq in sorted(self.slices):
            yield from self.slices[seq].executions

    def view(self) -> OrderView:
        history = OrderHistory(order=self.order, slices=tuple(self.slices.values()))
        return OrderView(order=self.order, summary=summarise_history(history), last_seq=len(self.journal))


class InMemoryOrderStore:
    """Each method runs without an await inside, hence atomically on its event loop."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._records: dict[OrderId, _Record] = {}
        self._keys: dict[tuple[str, str], OrderId] = {}
        self._sightings: dict[tuple[str, str], tuple[OrderId, datetime]] = {}
        self._trading = TradingState(halted=False)
        self.calls: list[BrokerCall] = []
        self._recorded: set[tuple[object, ...]] = set()

    # --- acceptance

    async def accept(self, new: NewOrder) -> Accepted:
        now = self._clock.now()
        known = self._known(new, now)
        if known is not None:
            order = self._records[known].order
            if new.body_digest is None and order.request.fingerprint() != new.fingerprint:
                raise DuplicateOrderUniqueKey(known)
            return Accepted(order_id=known, order_unique_key=order.order_unique_key, replayed=True)
        if self._trading.halted:
            raise TradingHalted()
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
        )
        record = self._records[new.order_id] = _Record(order)
        self._keys[new.client_id, new.order_unique_key] = new.order_id
        if new.body_digest is not None:
            self._sightings[new.client_id, new.body_digest] = (new.order_id, now)
        record.note(accepted_event(new), now)
        return Accepted(order_id=new.order_id, order_unique_key=new.order_unique_key, replayed=False)

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
        if record.order.queue_status is OrderQueueStatus.PENDING:
            record.note(ev.OrderSkipped(reason=CANCELLED_BEFORE_SPLIT), now)
        return CancelResult.REQUESTED

    # --- splitting

    async def claim_orders(self, limit: int, executor: str, lease_s: float) -> list[Order]:
        now = self._clock.now()
        taken = [
            record
            for _, record in sorted(self._records.items())
            if record.order.queue_status is OrderQueueStatus.PENDING
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
        record.slices = {s.seq: s for s in planned_slices(record.order, plan)}
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

    def _claimable(self) -> list[tuple[Execution, _Record]]:
        return sorted(
            (
                (execution, record)
                for record in self._records.values()
                if record.order.cancel_requested_at is None
                for execution in record.executions()
                if execution.phase is Phase.PLANNED
                and not execution.cancel_requested
                and execution.expires_at > self._clock.now()
            ),
            key=lambda pair: (pair[0].due_at, pair[0].order_id, pair[0].seq, pair[0].chunk),
        )

    async def next_due(self) -> float | None:
        if self._trading.halted:
            return None
        claimable = self._claimable()
        return (claimable[0][0].due_at - self._clock.now()).total_seconds() if claimable else None

    async def claim_executions(self, limit: int, executor: str, lease_s: float) -> list[Claim]:
        now = self._clock.now()
        if self._trading.halted:
            return []
        due = [pair for pair in self._claimable() if pair[0].due_at <= now][:limit]
        claims = []
        for execution, record in due:
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
            claims.append(Claim(order=record.order, execution=claimed, lease_s=lease_s))
        return claims

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
        return Booked(BookResult.APPLIED, record.slices[event.seq].executions[event.chunk])

    def _is_anothers(self, fill: ev.Fill, record: _Record, ours: Execution) -> bool:
        """Whether the trade is booked for another execution already."""
        exchange, key = record.order.request.instrument.exchange, (fill.broker_order_id, fill.trade_id)
        return any(
            (known.broker_order_id, known.trade_id) == key
            and trading_day(known.at) == trading_day(fill.at)
            and other.execution_id != ours.execution_id
            for stored in self._records.values()
            if stored.order.request.instrument.exchange is exchange
            for other in stored.executions()
            for known in other.fills
        )

    # --- halt

    async def halt(self, halted_by: str, reason: str) -> TradingState:
        return self._set_trading(True, halted_by, reason)

    async def resume(self, resumed_by: str, reason: str) -> TradingState:
        return self._set_trading(False, resumed_by, reason)

    def _set_trading(self, halted: bool, by: str, reason: str) -> TradingState:
        self._trading = TradingState(halted=halted, changed_by=by, reason=reason, changed_at=self._clock.now())
        return self._trading

    async def trading_state(self) -> TradingState:
        return self._trading

    async def in_flight(self) -> list[Execution]:
        now = self._clock.now()
        return [
            tracked.execution
            for tracked in self._tracked(
                lambda order, e: e.phase is Phase.CLAIMED and e.lease_until is not None and e.lease_until > now
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

    async def slices(self, order_id: OrderId) -> list[Slice]:
        record = self._records.get(order_id)
        return [record.slices[seq] for seq in sorted(record.slices)] if record else []

    async def journal(self, order_id: OrderId, *, after_seq: int, limit: int) -> list[ev.JournalEntry]:
        record = self._records.get(order_id)
        return record.journal[after_seq : after_seq + limit] if record else []

    async def journal_heads(self, order_ids: Sequence[OrderId]) -> dict[OrderId, int]:
        return {oid: len(self._records[oid].journal) for oid in order_ids if oid in self._records}

    def _tracked(self, wanted: Callable[[Order, Execution], bool]) -> list[Tracked]:
        found = [
            Tracked(order=record.order, execution=execution)
            for record in self._records.values()
            for execution in record.executions()
            if wanted(record.order, execution)
        ]
        return sorted(
            found, key=lambda t: (t.execution.due_at, t.order.order_id, t.execution.seq, t.execution.chunk)
        )

    async def select(self, selection: Selection, *, limit: int) -> list[Tracked]:
        now = self._clock.now()
        wanted: dict[Selection, Callable[[Order, Execution], bool]] = {
            Selection.OVERDUE: lambda order, e: e.phase is Phase.PLANNED and e.expires_at <= now,
            Selection.LEASE_EXPIRED: lambda order, e: (
                e.phase is Phase.CLAIMED and e.lease_until is not None and e.lease_until <= now
            ),
            Selection.UNKNOWN: lambda order, e: e.phase is Phase.UNKNOWN,
            Selection.WORKING: lambda order, e: e.phase is Phase.LIVE and not e.is_final,
            Selection.TO_WITHDRAW: lambda order, e: (
                e.phase is Phase.PLANNED and (order.cancel_requested_at is not None or e.cancel_requested)
            ),
            Selection.TO_CANCEL: lambda order, e: (
                order.cancel_requested_at is not None
                and not e.is_final
                and (
                    e.phase is Phase.LIVE
                    or (e.phase in (Phase.CLAIMED, Phase.UNKNOWN) and not e.cancel_requested)
                )
            ),
        }
        return self._tracked(wanted[selection])[:limit]

    async def find_by_tags(self, tags: Sequence[str]) -> list[Tracked]:
        wanted = set(tags)
        return self._tracked(lambda order, e: e.tag in wanted)

    async def broker_order_ids(self, since: datetime) -> set[str]:
        return {
            t.execution.broker_order_id
            for t in self._tracked(lambda order, e: e.due_at >= since)
            if t.execution.broker_order_id is not None
        }

    async def broker_calls(self, since: datetime) -> int:
        return sum(call.began_at >= since for call in self.calls)

    # --- housekeeping

    async def forget_sightings(self, older_than_s: float) -> int:
        horizon = self._clock.now() - timedelta(seconds=older_than_s)
        old = [key for key, (_, seen_at) in self._sightings.items() if seen_at < horizon]
        for key in old:
            del self._sightings[key]
        return len(old)

    async def ping(self) -> None:
        pass
