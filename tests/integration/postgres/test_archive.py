"""What the archive holds, and what overlaps with the step that fills it."""

import asyncio
from datetime import UTC, datetime
from decimal import Decimal

import asyncpg
import pytest

from pulse_adapters.clock import SystemClock
from pulse_adapters.ids import RandomIds
from pulse_adapters.postgres.pool import Database
from pulse_adapters.postgres.store import PostgresOrderStore
from pulse_domain.orders import events as ev
from pulse_domain.orders.ids import BrokerOrderId
from pulse_domain.orders.model import Order
from pulse_domain.ports.order_store import ArchiveResult, Booking, BookResult, BrokerCall
from pulse_domain.testing.factories import CLIENT, split_order

NOW = datetime(2026, 1, 5, 4, 0, tzinfo=UTC)
# Everything that is over has been so for long enough.
AT_ONCE_S = -60.0
TABLES = (
    "orders",
    "order_slices",
    "order_ledger",
    "fills",
    "order_events",
    "broker_events",
    "webhook_sightings",
)


@pytest.fixture
def store(database: asyncpg.Pool) -> PostgresOrderStore:
    return PostgresOrderStore(Database(database))


def fact(order: Order, event: ev.AnyExecutionEvent, call: BrokerCall | None = None) -> Booking:
    return Booking(order_id=order.order_id, event=event, call=call, answer=call.answer if call else None)


def trade(trade_id: str, quantity: int) -> ev.ExecutionFilled:
    fill = ev.Fill(
        trade_id=trade_id,
        broker_order_id=BrokerOrderId("B-1"),
        quantity=quantity,
        price=Decimal("1402.35"),
        at=NOW,
    )
    return ev.ExecutionFilled(seq=1, chunk=0, fill=fill)


async def cancelled_order(store: PostgresOrderStore) -> Order:
    """An order that is over, and that a late trade would still correct."""
    order = await split_order(store, RandomIds(SystemClock()), body_digest="digest")
    await store.claim_executions(1, "executor", 60.0)
    call = BrokerCall(
        broker="scripted",
        operation="place",
        began_at=NOW,
        duration_ms=3,
        request={"tag": "T"},
        answer={"id": "B-1"},
    )
    accepted = ev.ExecutionAccepted(seq=1, chunk=0, broker_order_id=BrokerOrderId("B-1"))
    ended = ev.ExecutionCancelled(seq=1, chunk=0, reason="USER")
    await store.book([fact(order, accepted, call), fact(order, trade("T-1", 10)), fact(order, ended)])
    return order


async def counts(database: asyncpg.Pool) -> dict[str, int]:
    return {table: await database.fetchval(f"SELECT count(*) FROM {table}") for table in TABLES}


async def test_archive_holds_the_rows_of_an_order_and_the_tables_none(
    store: PostgresOrderStore, database: asyncpg.Pool
) -> None:
    order = await cancelled_order(store)
    rows = {table: await database.fetch(f"SELECT to_jsonb(t) AS row FROM {table} t") for table in TABLES}

    result = await store.archive(AT_ONCE_S, limit=10)

    assert result == ArchiveResult(archived=1, last=order.order_id)
    assert await counts(database) == dict.fromkeys(TABLES, 0)
    [kept] = await database.fetch("SELECT * FROM order_archive")
    assert (kept["order_id"], kept["client_id"], kept["order_unique_key"]) == (
        order.order_id,
        CLIENT,
        order.order_unique_key,
    )
    data = kept["data"]
    assert [data.pop("order")] == [row["row"] for row in rows["orders"]]
    names = {"slices": "order_slices", "ledger": "order_ledger", "journal": "order_events"}
    for name, found in data.items():
        assert found == [row["row"] for row in rows[names.get(name, name)]], name
        assert found, name


async def test_a_fact_that_is_being_booked_keeps_its_order_from_the_archive(
    store: PostgresOrderStore, database: asyncpg.Pool
) -> None:
    order = await cancelled_order(store)
    async with database.acquire() as connection, connection.transaction():
        await connection.fetch("SELECT FROM orders FOR NO KEY UPDATE")

        held = await store.archive(AT_ONCE_S, limit=10)

    assert held == ArchiveResult(archived=0, last=order.order_id)
    assert (await store.archive(AT_ONCE_S, limit=10)).archived == 1


async def test_a_fact_that_comes_while_its_order_is_archived_finds_no_order(
    store: PostgresOrderStore, database: asyncpg.Pool
) -> None:
    order = await cancelled_order(store)
    async with database.acquire() as connection:
        transaction = connection.transaction()
        await transaction.start()
        archiving = PostgresOrderStore(Database(_One(connection)))
        await archiving.archive(AT_ONCE_S, limit=10)
        booking = asyncio.create_task(store.book([fact(order, trade("T-2", 5))]))
        await _until_somebody_waits(database)
        await transaction.commit()
        [booked] = await booking

    assert booked.result is BookResult.NOT_FOUND
    assert (await counts(database))["fills"] == 0


class _One:
    """A pool that always hands out the same connection."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection

    def acquire(self, *, timeout: float | None = None) -> "_One":
        return self

    async def __aenter__(self) -> asyncpg.Connection:
        return self._connection

    async def __aexit__(self, *error: object) -> None:
        pass


async def _until_somebody_waits(database: asyncpg.Pool) -> None:
    async with asyncio.timeout(30):
        while not await database.fetchval(  # noqa: ASYNC110  # a server tells nobody that somebody waits
            "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
            " AND datname = current_database())"
        ):
            await asyncio.sleep(0.01)
