"""What a run left behind, read from Postgres and from the exchange's own book into plain values."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import asyncpg
from msgspec import Struct

from pulse_adapters.postgres.pool import UNAVAILABLE, Database, create_pool
from pulse_adapters.postgres.store import PostgresOrderStore
from pulse_domain.errors import StorageUnavailable
from pulse_domain.orders.ids import OrderId
from pulse_domain.orders.journal import OrderHistory
from pulse_domain.orders.slices import outcome_of, stage_of
from pulse_domain.orders.summary import summarise_history
from tests.chaos.clients import Clients
from tests.chaos.deployment import SETTINGS, Deployment
from tests.promise import invariants
from tests.promise.invariants import BrokerRow, Halt, StoredOrder, Violation

_JOURNAL_MAX = 100_000
# A call that began in time may take its deadline to arrive; clocks and the exchange's own steps come to that.
_SLACK = timedelta(seconds=float(SETTINGS["BROKER_CALL_TIMEOUT_SECONDS"]) + 1.5)
_COLUMNS = """
    SELECT l.order_id, l.seq, l.chunk, l.phase, l.execution_status, l.cumulative_quantity, s.stage, s.outcome
    FROM order_ledger l JOIN order_slices s USING (order_id, seq) ORDER BY 1, 2, 3
"""


class Evidence(Struct, frozen=True, kw_only=True):
    """columns: what is stored beside the facts, since claims and lists are made by it. rows: the exchange's."""

    orders: Sequence[StoredOrder]
    columns: Sequence[Any]
    rows: Sequence[BrokerRow]
    balanced: bool
    halts: Sequence[Halt]

    @property
    def slices(self) -> int:
        return sum(len(stored.slices) for stored in self.orders)


async def read_evidence(deployment: Deployment) -> Evidence:
    """Raises asyncpg's and the exchange's errors: call it when all is healed."""
    book = await deployment.surely("GET", "/book")
    offset = timedelta(seconds=(await deployment.surely("GET", ""))["clock_offset_s"])
    pool = await create_pool(deployment.dsn, size=2)
    try:
        store = PostgresOrderStore(Database(pool))
        orders = []
        for row in await pool.fetch("SELECT order_id FROM orders ORDER BY order_id"):
            order_id = OrderId(row["order_id"])
            view = await store.get(order_id)
            assert view is not None, "orders are not deleted"
            orders.append(
                StoredOrder(
                    order=view.order,
                    slices=tuple(await store.slices(order_id)),
                    journal=tuple(await store.journal(order_id, after_seq=0, limit=_JOURNAL_MAX)),
                )
            )
        columns = await pool.fetch(_COLUMNS)
        halts = await _stored_halts(pool)
    finally:
        await pool.close()
    rows = [
        BrokerRow(
            tag=next(iter(row["tags"]), ""),
            broker_order_id=row["order_id"],
            quantity=row["quantity"],
            filled=row["filled"],
            accepted_at=datetime.fromisoformat(row["placed_at"]) - offset,
        )
        for row in book["orders"]
    ]
    return Evidence(orders=orders, columns=columns, rows=rows, balanced=book["balanced"], halts=halts)


async def all_done(deployment: Deployment) -> bool:
    """Whether every order that is stored is done."""
    return not await undone_ids(deployment)


async def undone_ids(deployment: Deployment) -> list[str]:
    """The orders that are not done; one that cannot be read is not."""
    try:
        pool = await create_pool(deployment.dsn, size=1)
        try:
            store = PostgresOrderStore(Database(pool))
            ids = [OrderId(row["order_id"]) for row in await pool.fetch("SELECT order_id FROM orders")]
            views = [await store.get(order_id) for order_id in ids]
        finally:
            await pool.close()
    except (*UNAVAILABLE, StorageUnavailable) as error:
        return [f"unreadable: {type(error).__name__}"]
    return [view.order.order_id for view in views if view is not None and not view.summary.done]


def judge(evidence: Evidence, deployment: Deployment, clients: Clients) -> list[Violation]:
    """All that is broken of the promise."""
    orders, rows = evidence.orders, evidence.rows
    holders = [*deployment.workers, deployment.members["exchange"]]
    freezes = [freeze for member in holders for freeze in member.freezes]
    found = [
        *invariants.lost_orders(clients.acknowledged, orders),
        *invariants.revived_refusals(clients.refused, orders),
        *invariants.doubled_at_broker(orders, rows, tag_prefix="PU"),
        *invariants.untold_by_broker(orders, rows),
        *invariants.sent_out_of_time(orders, rows, slack=_SLACK, freezes=freezes),
        *invariants.claimed_after_cancel(orders, clients.cancelled),
        *invariants.claimed_while_paused(orders, clients.paused),
        # By what the operator was told, and by what is stored.
        *invariants.claimed_while_halted(orders, [*clients.halts, *evidence.halts]),
        *invariants.stale_decisions(orders),
        *invariants.unfaithful_journals(orders),
        *invariants.undone(orders),
        *_false_columns(evidence),
        *(Violation(rule="ANSWERS", text=text) for text in clients.wrong),
    ]
    if not evidence.balanced:
        found.append(Violation(rule="EXCHANGE_BALANCES", text="the exchange's own account does not add up"))
    return found


def _false_columns(evidence: Evidence) -> list[Violation]:
    executions = {(e.order_id, e.seq, e.chunk): e for stored in evidence.orders for e in stored.executions}
    slices = {(s.order_id, s.seq): s for stored in evidence.orders for s in stored.slices}
    found = []
    for row in evidence.columns:
        execution = executions[row["order_id"], row["seq"], row["chunk"]]
        slice_ = slices[row["order_id"], row["seq"]]
        facts = (
            execution.phase, execution.status, execution.filled_quantity, stage_of(slice_.executions),
            outcome_of(slice_.executions),
        )  # fmt: skip
        stored = tuple(row[3:])
        if facts != stored:
            text = f"{execution.execution_id}: facts say {facts}, columns {stored}"
            found.append(Violation(rule="COLUMNS_FOLLOW_FACTS", order_id=execution.order_id, text=text))
    return found


async def _stored_halts(pool: asyncpg.Pool) -> list[Halt]:
    halts, began_at = [], None
    for row in await pool.fetch("SELECT halted, changed_at FROM trading_halts ORDER BY id"):
        if row["halted"]:
            began_at = began_at or row["changed_at"]
        elif began_at is not None:
            halts.append(Halt(began_at=began_at, ended_at=row["changed_at"]))
            began_at = None
    if began_at is not None:
        halts.append(Halt(began_at=began_at))
    return halts


def state_of(stored: StoredOrder) -> str:
    return summarise_history(OrderHistory(order=stored.order, slices=tuple(stored.slices))).state
