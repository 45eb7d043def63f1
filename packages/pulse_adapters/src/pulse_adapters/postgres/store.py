"""The order store on Postgres: each step is one statement, hence one transaction and one round trip.

Events are applied in Python by the domain's own state machine and written by compare-and-swap: the
statement changes a slice only if its version is still the one that the events were applied to, else
the slice is read again. So the rules stand in one place, and no lock outlives a statement.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import msgspec

from pulse_adapters.postgres import queries, steps
from pulse_adapters.postgres.booking import BookArguments, SliceState, TradeOwners, advance
from pulse_adapters.postgres.due_floor import DueFloor
from pulse_adapters.postgres.inserts import OrderInserts, order_values
from pulse_adapters.postgres.pool import Database
from pulse_adapters.postgres.rows import (
    Row,
    counts_of,
    execution_of,
    journal_entry_of,
    ledger_fills_of,
    ledger_row_of,
    order_of,
    position_key_of,
    tally_of,
)
from pulse_adapters.postgres.statements import Statement
from pulse_domain.errors import (
    DuplicateOrderUniqueKey,
    ReconcileRequired,
    RiskRejected,
    StorageUnavailable,
    TradingHalted,
)
from pulse_domain.instruments import Instrument
from pulse_domain.orders import events as ev
from pulse_domain.orders.execution import Execution, trading_day, trading_day_begins
from pulse_domain.orders.ids import ClientId, OrderId, execution_id, execution_uuid
from pulse_domain.orders.journal import ATTEMPTS_SPENT, CANCELLED_BEFORE_SPLIT, accepted_event
from pulse_domain.orders.model import REPLAY_WINDOW_S, NewOrder, Order, OrderRequest
from pulse_domain.orders.slices import Slice
from pulse_domain.orders.summary import summarise
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
    CancelResult,
    Claim,
    LedgerPlace,
    LedgerRow,
    LedgerWish,
    OrderView,
    PauseResult,
    Selection,
    SplitResult,
    Stranger,
    Tracked,
    TradingState,
)
from pulse_domain.positions import LedgerFill, PositionKey
from pulse_domain.risk import OrderCounts, RiskLimits, check_counts, refusal

_SliceKey = tuple[OrderId, int]
_REMEMBERED_SLICES = 10_000
_BOOK_TRIES = 50
_FIRST, _LAST = datetime(1970, 1, 1, tzinfo=UTC), datetime(9999, 1, 1, tzinfo=UTC)
# So many take some 50 ms to read: for that long nothing else of the process would go on.
_MANY_FILLS = 5_000
# Sorts after every order id: the start of a listing, newest first.
_AFTER_ALL = "ord_~"
_NO_LIMITS = RiskLimits()
_SKIPPED = ev.OrderSkipped(reason=CANCELLED_BEFORE_SPLIT)


class PostgresOrderStore:
    def __init__(self, database: Database) -> None:
        self._db = database
        self._inserts = OrderInserts(database)
        self._floor = DueFloor()
        # What this process last saw of slices at work. A guess only: the version check decides.
        self._remembered: OrderedDict[_SliceKey, SliceState] = OrderedDict()
        # Which store this process worked on last.
        self._identity: str | None = None

    # --- acceptance

    async def accept(
        self, new: NewOrder, limits: RiskLimits | None = None, at_once: AtOnce | None = None
    ) -> Accepted:
        limits = limits if limits is not None and limits.by_count else None
        for _ in range(3):
            refused: RiskRejected | None = None
            claim: Claim | None = None
            try:
                if at_once is not None:
                    claim, refused = await self._insert_claimed(new, limits or _NO_LIMITS, at_once)
                    stored, halted = claim is not None, False
                elif limits is None and new.kill_id is None and new.body_digest is None:
                    stored, halted = await self._inserts.add(new)
                else:
                    stored, halted, refused = await self._insert_guarded(new, limits or _NO_LIMITS)
            except StorageUnavailable:
                # The commit may have happened: only the row itself can tell.
                known = await self._find(new)
                if known is None:
                    raise
                return _accepted(known, new, replayed=known["order_id"] != new.order_id)
            if stored:
                return Accepted(
                    order_id=new.order_id, order_unique_key=new.order_unique_key, replayed=False, claim=claim
                )
            known = await self._find(new)
            if known is not None:
                return _accepted(known, new, replayed=True)
            if halted:
                raise TradingHalted()
            if refused is not None:
                raise refused
            # Nothing may be claimed, though orders may be taken; or the insert lost against one that was then
            # rolled back: try again.
            at_once = None
        raise StorageUnavailable("the order could not be stored; send the same request again")

    async def _insert_guarded(
        self, new: NewOrder, limits: RiskLimits
    ) -> tuple[bool, bool, RiskRejected | None]:
        """Try to store the order; whether it was, whether trading is halted, and what the limits say."""
        values = _guarded_values(new, limits)
        statement = steps.ACCEPT_GUARDED
        if new.body_digest is not None:
            statement = steps.ACCEPT_SIGHTED
            values |= {"body_digest": new.body_digest, "replay_window_s": REPLAY_WINDOW_S}
        row = await self._db.fetchrow(statement.sql, statement.args(**values))
        assert row is not None, "the statement always gives one row"
        return bool(row["stored"]), row["halted"], _refused(row, new, limits)

    async def _insert_claimed(
        self, new: NewOrder, limits: RiskLimits, at_once: AtOnce
    ) -> tuple[Claim | None, RiskRejected | None]:
        """Try to store the order with its only execution claimed; the claim, and what the limits say."""
        values = _guarded_values(new, limits) | msgspec.structs.asdict(at_once)
        values["internal_id"] = execution_uuid(execution_id(new.order_id, 1, 0))
        row = await self._db.fetchrow(steps.ACCEPT_CLAIMED.sql, steps.ACCEPT_CLAIMED.args(**values))
        assert row is not None, "the statement always gives one row"
        if row["order_id"] is None:
            return None, _refused(row, new, limits)
        return self._claim_of(row, at_once.lease_s), None

    async def count_orders(
        self, client_id: ClientId | None, request: OrderRequest, limits: RiskLimits
    ) -> OrderCounts:
        args = queries.COUNT_ORDERS.args(**_count_values(client_id, request, limits))
        row = await self._db.fetchrow(queries.COUNT_ORDERS.sql, args)
        assert row is not None, "the statement always gives one row"
        return counts_of(row)

    async def _find(self, new: NewOrder) -> Row | None:
        if new.body_digest is not None:
            return await self._find_by_body(new.client_id, new.body_digest)
        return await self._find_by_key(new.client_id, new.order_unique_key)

    async def _find_by_body(self, client_id: str, body_digest: str) -> Row | None:
        args = queries.FIND_SIGHTED.args(
            client_id=client_id, body_digest=body_digest, replay_window_s=REPLAY_WINDOW_S
        )
        return await self._db.fetchrow(queries.FIND_SIGHTED.sql, args)

    async def _find_by_key(self, client_id: str, order_unique_key: str) -> Row | None:
        args = queries.FIND_BY_KEY.args(client_id=client_id, order_unique_key=order_unique_key)
        return await self._db.fetchrow(queries.FIND_BY_KEY.sql, args)

    async def find_accepted(self, client_id: ClientId, order_unique_key: str) -> tuple[OrderId, str] | None:
        row = await self._find_by_key(client_id, order_unique_key)
        return None if row is None else (OrderId(row["order_id"]), row["fingerprint"])

    async def find_sighted(self, client_id: ClientId, body_digest: str) -> Accepted | None:
        row = await self._find_by_body(client_id, body_digest)
        if row is None:
            return None
        return Accepted(
            order_id=OrderId(row["order_id"]), order_unique_key=row["order_unique_key"], replayed=True
        )

    async def request_cancel(self, order_id: OrderId, requested_by: str) -> CancelResult:
        args = steps.REQUEST_CANCEL.args(
            order_id=order_id,
            skip_reason=CANCELLED_BEFORE_SPLIT,
            cancel_event=ev.CancelRequested(requested_by=requested_by),
            skip_event=_SKIPPED,
        )
        row = await self._db.fetchrow(steps.REQUEST_CANCEL.sql, args)
        assert row is not None, "the statement always gives one row"
        if row["requested"]:
            return CancelResult.REQUESTED
        return CancelResult.ALREADY if row["known"] else CancelResult.NOT_FOUND

    async def set_paused(self, order_id: OrderId, paused: bool, changed_by: str) -> PauseResult:
        event = ev.OrderPaused(paused_by=changed_by) if paused else ev.OrderResumed(resumed_by=changed_by)
        args = steps.SET_PAUSED.args(
            order_id=order_id, paused=paused, kind=event.__struct_config__.tag, event=event
        )
        row = await self._db.fetchrow(steps.SET_PAUSED.sql, args)
        self._floor.forget()
        assert row is not None, "the statement always gives one row"
        if row["changed"]:
            return PauseResult.CHANGED
        return PauseResult.ALREADY if row["known"] else PauseResult.NOT_FOUND

    # --- splitting

    async def claim_orders(self, limit: int, executor: str, lease_s: float) -> list[Order]:
        args = steps.CLAIM_ORDERS.args(limit=limit, executor=executor, lease_s=lease_s)
        return [order_of(row) for row in await self._db.fetch(steps.CLAIM_ORDERS.sql, args)]

    async def save_split(self, order_id: OrderId, plan: ev.SplitSaved) -> SplitResult:
        row = await self._db.fetchrow(steps.SAVE_SPLIT.sql, _split_args(order_id, plan))
        self._floor.planned(planned.scheduled_at for planned in plan.slices)
        if row is None:
            return SplitResult.STALE
        return SplitResult.SAVED if row["live"] else SplitResult.SKIPPED

    async def fail_split(self, order_id: OrderId, attempt: int, reason: str) -> bool:
        args = steps.FAIL_SPLIT.args(
            order_id=order_id,
            attempt=attempt,
            reason=reason,
            event=ev.SplitFailed(attempt=attempt, reason=reason),
        )
        row = await self._db.fetchrow(steps.FAIL_SPLIT.sql, args)
        return bool(row and row["failed"])

    async def recover_splits(self, attempts_max: int) -> list[OrderId]:
        args = steps.RECOVER_SPLITS.args(
            attempts_max=attempts_max, skip_reason=CANCELLED_BEFORE_SPLIT, failure=ATTEMPTS_SPENT
        )
        return [OrderId(row["order_id"]) for row in await self._db.fetch(steps.RECOVER_SPLITS.sql, args)]

    # --- execution

    async def next_due(self) -> float | None:
        args = queries.NEXT_DUE.args(not_before=self._floor.begin())
        row = await self._db.fetchrow(queries.NEXT_DUE.sql, args)
        if row is None:
            self._floor.forget()
            return None
        self._floor.found(row["due_at"], row["took_s"])
        return float(row["seconds"])

    async def claim_executions(self, limit: int, executor: str, lease_s: float) -> list[Claim]:
        args = steps.CLAIM_EXECUTIONS.args(
            limit=limit, executor=executor, lease_s=lease_s, late_s=LATE_S, not_before=self._floor.instant
        )
        rows = await self._db.fetch(steps.CLAIM_EXECUTIONS.sql, args)
        return [self._claim_of(row, lease_s) for row in rows]

    def _claim_of(self, row: Row, lease_s: float) -> Claim:
        execution = execution_of(row)
        if row["slice_chunks"] == 1:
            self._remember(_state_of(row, (execution,)))
        else:
            self._remembered.pop((execution.order_id, execution.seq), None)
        return Claim(order=order_of(row), execution=execution, lease_s=lease_s)

    async def book(self, bookings: Sequence[Booking]) -> list[Booked]:
        waiting: dict[_SliceKey, list[int]] = {}
        for index, booking in enumerate(bookings):
            waiting.setdefault((booking.order_id, booking.event.seq), []).append(index)
        results: list[Booked] = [Booked(BookResult.NOT_FOUND)] * len(bookings)
        calls = [booking for booking in bookings if booking.call is not None]
        for _ in range(_BOOK_TRIES):
            states = await self._states(list(waiting))
            owners = await self._trade_owners([bookings[i] for indices in waiting.values() for i in indices])
            arguments = BookArguments(calls)
            swapped: dict[_SliceKey, SliceState] = {}
            journal: list[int] = []
            for key, indices in sorted(waiting.items()):
                state = states.get(key)
                if state is None:
                    # It may have been there a moment ago: archived since.
                    for index in indices:
                        results[index] = Booked(BookResult.NOT_FOUND)
                    del waiting[key]
                    continue
                after, booked = advance(state, [bookings[i] for i in indices], owners)
                for index, answer in zip(indices, booked, strict=True):
                    results[index] = answer
                applied = [i for i in indices if results[i].result is BookResult.APPLIED]
                if not applied:
                    # Nothing to write, but a guess may be wrong: only what was read can say so.
                    if self._remembered.pop(key, None) is None:
                        del waiting[key]
                    continue
                arguments.add(state, after, [bookings[i] for i in applied])
                journal += applied
                swapped[key] = after
            for index in sorted(journal):
                arguments.add_event(bookings[index])
            if not arguments.empty:
                rows = await self._db.fetch(steps.BOOK.sql, steps.BOOK.args(**arguments.arrays))
                self._floor.planned(arguments.planned)
                calls = []
                for row in rows:
                    key = (OrderId(row["order_id"]), row["seq"])
                    self._remember(swapped.pop(key))
                    del waiting[key]
                for key in swapped:
                    self._remembered.pop(key, None)
            if not waiting:
                return results
        raise StorageUnavailable("a slice keeps changing; book the same again")

    async def _states(self, keys: list[_SliceKey]) -> dict[_SliceKey, SliceState]:
        states = {key: self._remembered[key] for key in keys if key in self._remembered}
        unread = [key for key in keys if key not in states]
        if unread:
            args = queries.READ_SLICES.args(
                order_ids=[order_id for order_id, _ in unread], seqs=[seq for _, seq in unread]
            )
            rows = await self._db.fetch(queries.READ_SLICES.sql, args)
            for state in _group(rows):
                states[state.order_id, state.seq] = state
        return states

    async def _trade_owners(self, bookings: Sequence[Booking]) -> TradeOwners:
        trades = [(b.order_id, b.event.fill) for b in bookings if isinstance(b.event, ev.ExecutionFilled)]
        if not trades:
            return {}
        args = queries.TRADE_OWNERS.args(
            order_ids=[order_id for order_id, _ in trades],
            broker_order_ids=[fill.broker_order_id for _, fill in trades],
            trade_ids=[fill.trade_id for _, fill in trades],
            trade_days=[trading_day(fill.at) for _, fill in trades],
        )
        return {
            (row["broker_order_id"], row["trade_id"], row["trade_day"]): (
                OrderId(row["order_id"]),
                row["seq"],
                row["chunk"],
            )
            for row in await self._db.fetch(queries.TRADE_OWNERS.sql, args)
        }

    def _remember(self, state: SliceState) -> None:
        key = (state.order_id, state.seq)
        if all(execution.is_final for execution in state.executions):
            self._remembered.pop(key, None)
            return
        self._remembered[key] = state
        self._remembered.move_to_end(key)
        if len(self._remembered) > _REMEMBERED_SLICES:
            self._remembered.popitem(last=False)

    async def dead_executors(self, executors: Iterable[str]) -> set[str]:
        args = queries.DEAD_EXECUTORS.args(executors=list(executors))
        return {row["executor"] for row in await self._db.fetch(queries.DEAD_EXECUTORS.sql, args)}

    # --- halt

    async def halt(self, halted_by: str, reason: str) -> TradingState:
        state = await self._set_trading(steps.HALT, halted_by, reason)
        assert state is not None, "a halt is always taken"
        return state

    async def halt_to_square_off(self, killed_by: str, reason: str) -> TradingState:
        state = await self._set_trading(steps.HALT_TO_SQUARE_OFF, killed_by, reason)
        self._floor.forget()
        assert state is not None, "a halt is always taken"
        return state

    async def resume(self, resumed_by: str, reason: str) -> TradingState:
        state = await self._set_trading(steps.RESUME, resumed_by, reason)
        if state is None:
            raise ReconcileRequired()
        return state

    async def halt_for_reconcile(self, halted_by: str, reason: str) -> TradingState:
        state = await self._set_trading(steps.HALT_FOR_RECONCILE, halted_by, reason)
        return state or await self.trading_state()

    async def confirm_reconciled(self, confirmed_by: str, reason: str) -> TradingState:
        state = await self._set_trading(steps.CONFIRM_RECONCILED, confirmed_by, reason)
        if state is None:
            raise ReconcileRequired(NOT_READ)
        return state

    async def _set_trading(self, statement: Statement, by: str, reason: str) -> TradingState | None:
        """Change the trading state; None where the statement's own condition refuses."""
        row = await self._under_halt_lock(statement, changed_by=by, reason=reason)
        return None if row is None else msgspec.convert(row, TradingState)

    async def _under_halt_lock(self, statement: Statement, **values: str) -> Row | None:
        async with self._db.connection() as connection, connection.transaction():
            # Waits for the claims that are under way; those that come later see the new row.
            await connection.execute("SELECT pg_advisory_xact_lock($1)", steps.HALT_LOCK)
            return await connection.fetchrow(statement.sql, *statement.args(**values))

    async def trading_state(self) -> TradingState:
        row = await self._db.fetchrow(queries.TRADING_STATE.sql, queries.TRADING_STATE.args())
        return TradingState(halted=False) if row is None else msgspec.convert(row, TradingState)

    async def note_findings(self, findings: BookFindings) -> None:
        args = steps.NOTE_FINDINGS.args(
            complete=findings.complete, strangers=msgspec.to_builtins(findings.strangers)
        )
        await self._db.fetchrow(steps.NOTE_FINDINGS.sql, args)

    async def findings(self) -> BookFindings | None:
        row = await self._db.fetchrow(queries.FINDINGS.sql, queries.FINDINGS.args())
        if row is None:
            return None
        return BookFindings(
            complete=row["complete"],
            strangers=msgspec.convert(row["strangers"], tuple[Stranger, ...]),
            known=frozenset(row["known"]),
            noted_at=row["noted_at"],
        )

    async def notice_restore(self, noticed_by: str) -> bool:
        row = await self._db.fetchrow(queries.STORE_IDENTITY.sql, [])
        assert row is not None, "the statement always gives one row"
        if row["identity"] is None:
            raise StorageUnavailable(cause="a standby")
        moved = self._identity not in (None, row["identity"])
        self._identity = row["identity"]
        if moved:
            # What was seen of another store says nothing of this one, though its versions may be the same.
            self._remembered.clear()
        if row["identity"] == row["noted"]:
            return moved
        noticed = await self._under_halt_lock(steps.NOTICE_RESTORE, changed_by=noticed_by, reason=RESTORED)
        return moved or bool(noticed and noticed["restored"])

    async def in_flight(self) -> list[Execution]:
        rows = await self._db.fetch(queries.IN_FLIGHT.sql, queries.IN_FLIGHT.args(limit=10_000))
        return [execution_of(row) for row in rows]

    # --- reading

    async def get(self, order_id: OrderId, client_id: ClientId | None = None) -> OrderView | None:
        row = await self._db.fetchrow(queries.GET.sql, queries.GET.args(order_id=order_id, client_id=client_id))
        return None if row is None else _view(row)

    async def list_orders(
        self, client_id: ClientId | None, *, limit: int, before: OrderId | None = None
    ) -> list[OrderView]:
        if client_id is None:
            statement = queries.LIST_ALL
            args = statement.args(before=before or _AFTER_ALL, limit=limit)
        else:
            statement = queries.LIST_OF_CLIENT
            args = statement.args(client_id=client_id, before=before or _AFTER_ALL, limit=limit)
        return [_view(row) for row in await self._db.fetch(statement.sql, args)]

    async def open_orders(self, limit: int) -> list[OrderId]:
        rows = await self._db.fetch(queries.OPEN_ORDERS.sql, queries.OPEN_ORDERS.args(limit=limit))
        return [OrderId(row["order_id"]) for row in rows]

    async def unsettled(self) -> set[Instrument]:
        rows = await self._db.fetch(queries.UNSETTLED.sql, [])
        return {Instrument.parse(row["instrument"]) for row in rows}

    async def slices(self, order_id: OrderId) -> list[Slice]:
        rows = await self._db.fetch(
            queries.SLICES_OF_ORDER.sql, queries.SLICES_OF_ORDER.args(order_id=order_id)
        )
        return [state.slice() for state in _group(rows)]

    async def journal(self, order_id: OrderId, *, after_seq: int, limit: int) -> list[ev.JournalEntry]:
        args = queries.JOURNAL.args(order_id=order_id, after_seq=after_seq, limit=limit)
        return [journal_entry_of(row) for row in await self._db.fetch(queries.JOURNAL.sql, args)]

    async def journal_heads(self, order_ids: Sequence[OrderId]) -> dict[OrderId, int]:
        rows = await self._db.fetch(
            queries.JOURNAL_HEADS.sql, queries.JOURNAL_HEADS.args(order_ids=list(order_ids))
        )
        return {OrderId(row["order_id"]): row["last_seq"] for row in rows}

    async def fills(self, *, since: datetime | None = None, until: datetime | None = None) -> list[LedgerFill]:
        args = queries.FILLS.args(since=since or _FIRST, until=until or _LAST)
        rows = await self._db.fetch(queries.FILLS.sql, args)
        if len(rows) < _MANY_FILLS:
            return ledger_fills_of(rows)
        return await asyncio.to_thread(ledger_fills_of, rows)

    async def units_since(self, since: datetime) -> dict[PositionKey, int]:
        rows = await self._db.fetch(queries.UNITS_SINCE.sql, queries.UNITS_SINCE.args(since=since))
        return {position_key_of(row): int(row["units"]) for row in rows}

    async def fills_mark(self, until: datetime) -> str:
        row = await self._db.fetchrow(queries.FILLS_MARK.sql, queries.FILLS_MARK.args(until=until))
        assert row is not None, "the statement always gives one row"
        mark: str = row["mark"]
        return mark

    async def ledger(
        self, wish: LedgerWish, *, limit: int, before: LedgerPlace | None = None
    ) -> list[LedgerRow]:
        order_id, seq, chunk = before or (_AFTER_ALL, 0, 0)
        since = None if wish.day is None else trading_day_begins(wish.day)
        args = queries.LEDGER.args(
            order_id=order_id,
            seq=seq,
            chunk=chunk,
            client_id=wish.client_id,
            strategy_tag=wish.strategy_tag,
            instrument=None if wish.instrument is None else str(wish.instrument),
            status=wish.status,
            since=since,
            until=None if since is None else since + timedelta(days=1),
            limit=limit,
        )
        return [ledger_row_of(row) for row in await self._db.fetch(queries.LEDGER.sql, args)]

    async def select(self, selection: Selection, *, limit: int) -> list[Tracked]:
        statement = queries.SELECTIONS[selection]
        return [_tracked(row) for row in await self._db.fetch(statement.sql, statement.args(limit=limit))]

    async def find_by_tags(self, tags: Sequence[str]) -> list[Tracked]:
        args = queries.FIND_BY_TAGS.args(tags=list(tags), limit=len(tags))
        return [_tracked(row) for row in await self._db.fetch(queries.FIND_BY_TAGS.sql, args)]

    async def find_by_broker_order_ids(self, broker_order_ids: Sequence[str]) -> list[Tracked]:
        statement = queries.FIND_BY_BROKER_ORDER_IDS
        args = statement.args(ids=list(broker_order_ids), limit=len(broker_order_ids))
        return [_tracked(row) for row in await self._db.fetch(statement.sql, args)]

    async def broker_order_ids(self, since: datetime) -> set[str]:
        rows = await self._db.fetch(queries.BROKER_ORDER_IDS.sql, queries.BROKER_ORDER_IDS.args(since=since))
        return {row["exchange_id"] for row in rows}

    async def broker_calls(self, since: datetime) -> int:
        row = await self._db.fetchrow(queries.BROKER_CALLS.sql, queries.BROKER_CALLS.args(since=since))
        return int(row["calls"]) if row else 0

    # --- housekeeping

    async def forget_sightings(self, older_than_s: float) -> int:
        args = steps.FORGET_SIGHTINGS.args(older_than_s=older_than_s)
        row = await self._db.fetchrow(steps.FORGET_SIGHTINGS.sql, args)
        return int(row["gone"]) if row else 0

    async def archive(self, done_for_s: float, *, limit: int, after: OrderId | None = None) -> ArchiveResult:
        args = steps.ARCHIVE.args(done_for_s=done_for_s, limit=limit, after=after or "")
        row = await self._db.fetchrow(steps.ARCHIVE.sql, args)
        assert row is not None, "the statement always gives one row"
        last = row["last"]
        return ArchiveResult(archived=row["archived"], last=None if last is None else OrderId(last))

    async def now(self) -> datetime:
        row = await self._db.fetchrow(queries.NOW.sql, [])
        assert row is not None, "the statement always gives one row"
        now: datetime = row["now"]
        return now

    async def ping(self) -> None:
        await self._db.fetchrow("SELECT 1", [])


def _guarded_values(new: NewOrder, limits: RiskLimits) -> dict[str, Any]:
    return {
        **order_values(new),
        **_count_values(new.client_id, new.request, limits),
        "event": accepted_event(new),
        "guarded": limits.by_count,
        "open_max": limits.max_open_orders,
    }


def _refused(row: Row, new: NewOrder, limits: RiskLimits) -> RiskRejected | None:
    return refusal(check_counts(new.request, counts_of(row), limits)) if row["refused"] else None


def _count_values(client_id: str | None, request: OrderRequest, limits: RiskLimits) -> dict[str, Any]:
    """What `pulse_order_counts` and `pulse_closing` are told; null for what is not asked for."""
    waiver = limits.waiver
    return {
        "count_open": limits.max_open_orders is not None,
        "recent_max": limits.max_orders,
        "recent_window": limits.orders_window,
        "same_window": limits.duplicate_window,
        "same_client": client_id,
        "same_print": request.fingerprint(),
        "same_tag": request.strategy_tag,
        "closing_side": request.side,
        "closing_instrument": str(request.instrument),
        "closing_product": request.product,
        "carried": None if waiver is None else waiver.carried,
        "carried_since": None if waiver is None else waiver.since,
    }


def _accepted(row: Row, new: NewOrder, *, replayed: bool) -> Accepted:
    # A resent webhook is known by its body; the order it made is the answer, whatever it normalises to.
    if new.body_digest is None and row["fingerprint"] != new.fingerprint:
        raise DuplicateOrderUniqueKey(row["order_id"])
    return Accepted(
        order_id=OrderId(row["order_id"]),
        order_unique_key=row["order_unique_key"],
        replayed=replayed,
    )


def _split_args(order_id: OrderId, plan: ev.SplitSaved) -> list[Any]:
    executions = [
        (seq, chunk, execution, planned.scheduled_at)
        for seq, planned in enumerate(plan.slices, start=1)
        for chunk, execution in enumerate(planned.executions)
    ]
    return steps.SAVE_SPLIT.args(
        order_id=order_id,
        attempt=plan.attempt,
        skip_reason=CANCELLED_BEFORE_SPLIT,
        skip_event=_SKIPPED,
        plan=plan,
        expires_at=plan.expires_at,
        seqs=list(range(1, len(plan.slices) + 1)),
        quantities=[planned.quantity for planned in plan.slices],
        instants=[planned.scheduled_at for planned in plan.slices],
        chunks=[len(planned.executions) for planned in plan.slices],
        e_seqs=[seq for seq, _, _, _ in executions],
        e_chunks=[chunk for _, chunk, _, _ in executions],
        e_internal_ids=[execution_uuid(execution_id(order_id, seq, chunk)) for seq, chunk, _, _ in executions],
        e_tags=[execution.tag for _, _, execution, _ in executions],
        e_quantities=[execution.quantity for _, _, execution, _ in executions],
        e_instants=[instant for _, _, _, instant in executions],
    )


def _state_of(row: Row, executions: tuple[Execution, ...]) -> SliceState:
    return SliceState(
        order_id=OrderId(row["order_id"]),
        seq=row["seq"],
        version=row["slice_version"],
        quantity=row["slice_quantity"],
        scheduled_at=row["slice_scheduled_at"],
        executions=executions,
    )


def _group(rows: list[asyncpg.Record]) -> list[SliceState]:
    slices: dict[_SliceKey, list[Row]] = {}
    for row in rows:
        slices.setdefault((row["order_id"], row["seq"]), []).append(row)
    return [_state_of(parts[0], tuple(execution_of(row) for row in parts)) for parts in slices.values()]


def _tracked(row: Row) -> Tracked:
    return Tracked(order=order_of(row), execution=execution_of(row))


def _view(row: Row) -> OrderView:
    order = order_of(row)
    tallies = [tally_of(group) for group in row["tallies"] or ()]
    return OrderView(order=order, summary=summarise(order, tallies), last_seq=row["last_seq"])
