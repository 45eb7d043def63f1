"""Rows to domain values and back."""

from collections.abc import Iterable
from decimal import Decimal
from typing import Any

import msgspec

from pulse_domain.instruments import Exchange, Instrument, InstrumentTerms
from pulse_domain.orders.events import Event, Fill, JournalEntry, Replacement
from pulse_domain.orders.execution import Execution
from pulse_domain.orders.ids import ClientId, OrderId
from pulse_domain.orders.model import (
    Order,
    OrderRequest,
    OrderType,
    Product,
    Side,
    Source,
    SplitConfig,
    Validity,
)
from pulse_domain.orders.status import ExecutionStatus, LedgerStatus, OrderQueueStatus, Phase, TerminalReason
from pulse_domain.orders.summary import Tally
from pulse_domain.ports.order_store import LedgerRow
from pulse_domain.positions import LedgerFill, PositionKey
from pulse_domain.risk import OrderCounts

Row = Any  # asyncpg.Record, which publishes no types


def order_of(row: Row) -> Order:
    exchange, _, symbol = row["instrument"].partition(":")
    split = None
    if row["num_splits"] is not None:
        split = SplitConfig(
            num_splits=row["num_splits"],
            duration_minutes=row["duration_minutes"],
            randomize=row["randomize"],
        )
    return Order(
        order_id=OrderId(row["order_id"]),
        client_id=ClientId(row["client_id"]),
        order_unique_key=row["order_unique_key"],
        request=OrderRequest(
            instrument=Instrument(Exchange(exchange), symbol),
            side=Side(row["side"]),
            total_quantity=row["total_quantity"],
            split_config=split,
            start_at=row["start_at"],
            order_type=OrderType(row["order_type"]),
            limit_price=row["limit_price"],
            trigger_price=row["trigger_price"],
            product=Product(row["product"]),
            validity=Validity(row["validity"]),
            strategy_tag=row["strategy_tag"],
        ),
        terms=InstrumentTerms(
            lot_size=row["lot_size"],
            tick_size=row["tick_size"],
            freeze_quantity=row["freeze_quantity"],
            units_per_broker_quantity=row["units_per_broker_quantity"],
        ),
        source=Source(row["source"]),
        request_id=row["request_id"],
        trace_id=row["trace_id"],
        created_at=row["created_at"],
        starts_at=row["starts_at"],
        ends_at=row["ends_at"],
        queue_status=OrderQueueStatus(row["order_queue_status"]),
        skip_reason=row["order_queue_skip_reason"],
        failure=row["failure"],
        split_attempt=row["split_attempt"],
        cancel_requested_at=row["cancel_requested_at"],
        paused_at=row["paused_at"],
        kill_id=row["kill_id"],
    )


def execution_of(row: Row) -> Execution:
    """Fills are read where the statement brings them; a claim has none."""
    replacement = row["pending_replace"]
    terminal = row["terminal"]
    return Execution(
        order_id=OrderId(row["order_id"]),
        seq=row["seq"],
        chunk=row["chunk"],
        tag=row["tag"],
        planned_quantity=row["planned_quantity"],
        quantity=row["quantity"],
        due_at=row["due_at"],
        expires_at=row["expires_at"],
        attempt=row["attempt"],
        executor=row["executor"],
        lease_until=row["lease_until"],
        unanswered=row["unanswered"],
        call_ended_at=row["call_ended_at"],
        absences=row["absences"],
        last_absence_at=row["last_absence_at"],
        broker_order_id=row["exchange_id"],
        trigger_pending=row["trigger_pending"],
        fills=_fills(row.get("fills")),
        busted=tuple(row["busted"]),
        provisional_quantity=row["provisional_quantity"],
        provisional_price=row["provisional_price"],
        cancel_requested=row["cancel_requested"],
        pending_replace=msgspec.convert(replacement, Replacement) if replacement else None,
        terminal=TerminalReason(terminal) if terminal else None,
        reason_code=row["reason_code"],
        reason=row["reason"],
        flags=tuple(row["flags"]),
    )


def counts_of(row: Row) -> OrderCounts:
    """Of a row that has the columns of `pulse_order_counts` and `pulse_closing`."""
    recent, same = row["recent_orders"], row["same_orders"]
    return OrderCounts(
        now=row["counted_at"],
        open_orders=row["open_orders"],
        recent_orders=None if recent is None else tuple(reversed(recent)),
        same_orders=None if same is None else tuple(reversed(same)),
        closable=row["closable"],
        closing=row["closing"],
    )


def _fills(raw: list[dict[str, Any]] | None) -> tuple[Fill, ...]:
    return msgspec.convert(raw, tuple[Fill, ...], strict=False) if raw else ()


def journal_entry_of(row: Row) -> JournalEntry:
    return JournalEntry(seq=row["seq"], at=row["at"], event=msgspec.convert(row["data"], Event))


def ledger_fills_of(rows: Iterable[Row]) -> list[LedgerFill]:
    """Fills in the order of their instants."""
    # Thousands of rows name a handful of instruments: each is made once.
    instruments: dict[str, Instrument] = {}
    found = []
    for row in rows:
        name = row["instrument"]
        if name not in instruments:
            exchange, _, symbol = name.partition(":")
            instruments[name] = Instrument(Exchange(exchange), symbol)
        trade_id = row["trade_id"]
        found.append(
            LedgerFill(
                client_id=row["client_id"],
                strategy_tag=row["strategy_tag"],
                instrument=instruments[name],
                product=_PRODUCTS[row["product"]],
                side=_SIDES[row["side"]],
                source=_SOURCES[row["source"]],
                quantity=row["quantity"],
                value=row["value"],
                at=row["filled_at"],
                order_id=row["order_id"],
                seq=row["seq"],
                chunk=row["chunk"],
                trade_id=trade_id,
                provisional=not trade_id,
            )
        )
    return sorted(found, key=lambda fill: fill.place)


_PRODUCTS, _SIDES, _SOURCES = (
    {each.value: each for each in Product},
    {each.value: each for each in Side},
    {each.value: each for each in Source},
)


def position_key_of(row: Row) -> PositionKey:
    exchange, _, symbol = row["instrument"].partition(":")
    return PositionKey(row["strategy_tag"], Instrument(Exchange(exchange), symbol), Product(row["product"]))


def ledger_row_of(row: Row) -> LedgerRow:
    return LedgerRow(
        order=order_of(row),
        execution=execution_of(row),
        internal_id=row["internal_id"],
        status=LedgerStatus(row["status"]),
        answers=row["metadata"],
    )


def tally_of(group: dict[str, Any]) -> Tally:
    return Tally(
        phase=Phase(group["phase"]),
        status=ExecutionStatus(group["status"]),
        terminal=TerminalReason(group["terminal"]) if group["terminal"] else None,
        count=group["count"],
        planned_quantity=group["planned"],
        quantity=group["quantity"],
        filled_quantity=group["filled"],
        filled_value=Decimal(group["value"]),
        leaves_quantity=group["leaves"],
        overfilled_quantity=group["overfilled"],
        final=group["final"],
    )


# The columns that an event can change, with their types, and how to read them off. A `json` or `texts`
# column travels as JSON text, as arrays of arrays do not.
LEDGER_CHANGES: tuple[tuple[str, str, Any], ...] = (
    ("phase", "text", lambda e: e.phase.value),
    ("execution_status", "text", lambda e: e.status.value),
    ("exchange_id", "text", lambda e: e.broker_order_id),
    ("quantity", "int", lambda e: e.quantity),
    ("cumulative_quantity", "int", lambda e: e.filled_quantity),
    ("due_at", "timestamptz", lambda e: e.due_at),
    ("executor", "text", lambda e: e.executor),
    ("lease_until", "timestamptz", lambda e: e.lease_until),
    ("unanswered", "bool", lambda e: e.unanswered),
    ("call_ended_at", "timestamptz", lambda e: e.call_ended_at),
    ("absences", "int", lambda e: e.absences),
    ("last_absence_at", "timestamptz", lambda e: e.last_absence_at),
    ("trigger_pending", "bool", lambda e: e.trigger_pending),
    ("provisional_quantity", "int", lambda e: e.provisional_quantity),
    ("provisional_price", "numeric", lambda e: e.provisional_price),
    ("cancel_requested", "bool", lambda e: e.cancel_requested),
    ("pending_replace", "json", lambda e: _json(e.pending_replace)),
    ("terminal", "text", lambda e: e.terminal.value if e.terminal else None),
    ("reason_code", "text", lambda e: e.reason_code),
    ("reason", "text", lambda e: e.reason),
    ("flags", "texts", lambda e: _json(e.flags)),
    ("busted", "texts", lambda e: _json(e.busted)),
)


def _json(value: Any) -> str | None:
    return None if value is None else msgspec.json.encode(value).decode()
