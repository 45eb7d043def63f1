"""The migrations build what tables.py declares, and nothing else."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from decimal import Decimal
from importlib.resources import as_file, files

import asyncpg
import pytest
import pytest_asyncio
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import create_async_engine

from pulse_adapters.clock import SystemClock
from pulse_adapters.ids import RandomIds
from pulse_adapters.postgres.migrate import migrate, sqlalchemy_url
from pulse_adapters.postgres.pool import Database, create_pool
from pulse_adapters.postgres.store import PostgresOrderStore
from pulse_adapters.postgres.tables import metadata
from pulse_domain.orders import events as ev
from pulse_domain.orders.ids import BrokerOrderId
from pulse_domain.ports.order_store import Booking
from pulse_domain.testing.factories import new_order, split_order


@pytest_asyncio.fixture
async def empty_dsn(postgres_dsn: str) -> AsyncIterator[str]:
    """A database of its own, without tables."""
    connection = await asyncpg.connect(postgres_dsn)
    await connection.execute("DROP DATABASE IF EXISTS migrations WITH (FORCE)")
    await connection.execute("CREATE DATABASE migrations")
    yield postgres_dsn.rpartition("/")[0] + "/migrations"
    await connection.execute("DROP DATABASE migrations WITH (FORCE)")
    await connection.close()


# SQLAlchemy does not know the type of transaction ids; everything else about the column is compared.
@pytest.mark.filterwarnings("ignore:Did not recognize type 'xid8'")
async def test_migrated_schema_equals_the_declared_tables(empty_dsn: str) -> None:
    await migrate(empty_dsn)

    def differences(connection: Connection) -> list[object]:
        context = MigrationContext.configure(connection, opts={"compare_server_default": True})
        return list(compare_metadata(context, metadata))

    engine = create_async_engine(sqlalchemy_url(empty_dsn))
    async with engine.connect() as connection:
        found = await connection.run_sync(differences)
    await engine.dispose()
    assert found == []


async def test_migrating_twice_and_at_once_changes_nothing(empty_dsn: str) -> None:
    await asyncio.gather(*(migrate(empty_dsn) for _ in range(4)))
    await migrate(empty_dsn)

    connection = await asyncpg.connect(empty_dsn)
    assert await connection.fetchval("SELECT version_num FROM alembic_version") == "0015"
    await connection.close()


def test_an_address_of_another_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="DATABASE_URL must be postgresql://"):
        sqlalchemy_url("mysql://u:secret@h/d")


async def test_fills_of_earlier_archives_count_after_the_migration(empty_dsn: str) -> None:
    """What the migration finds in the archive is what the step that archives writes."""
    await migrate(empty_dsn)
    pool = await create_pool(empty_dsn)
    store, ids = PostgresOrderStore(Database(pool)), RandomIds(SystemClock())
    at = SystemClock().now()
    for number, (quantity, tag) in enumerate([(100, "macd"), (50, None)]):
        order = await split_order(store, ids, [[quantity]], strategy_tag=tag)
        await store.claim_executions(1, "executor", 60.0)
        named = BrokerOrderId(f"B-{number}")
        fills = [
            ev.Fill(trade_id=f"T-{n}", broker_order_id=named, quantity=20, price=Decimal("100.05"), at=at)
            for n in range(2)
        ]
        events: list[ev.AnyExecutionEvent] = [
            *(ev.ExecutionFilled(seq=1, chunk=0, fill=fill) for fill in fills),
            ev.ExecutionFillBusted(seq=1, chunk=0, trade_id="T-1"),
            ev.ExecutionCumulativeReported(seq=1, chunk=0, quantity=30, average_price=Decimal("100.5")),
            ev.ExecutionCancelled(seq=1, chunk=0),
        ]
        await store.book([Booking(order_id=order.order_id, event=event) for event in events])
    # One without any fill.
    await store.request_cancel((await store.accept(new_order(ids))).order_id, "desk")
    before, mark = await store.fills(), await store.fills_mark(at + timedelta(days=1))
    assert (await store.archive(-60.0, limit=10)).archived == 3

    await _move(empty_dsn, "0012")
    await migrate(empty_dsn)

    assert [(fill.quantity, fill.provisional) for fill in before] == [
        (20, False),
        (20, False),
        (10, True),
        (10, True),
    ]
    assert await store.fills() == before
    assert await store.fills_mark(at + timedelta(days=1)) == mark
    await pool.close()


async def _move(dsn: str, revision: str) -> None:
    def down(connection: Connection) -> None:
        with as_file(files("pulse_adapters.postgres") / "migrations") as folder:
            config = Config()
            config.set_main_option("script_location", str(folder))
            config.attributes["connection"] = connection
            command.downgrade(config, revision)

    engine = create_async_engine(sqlalchemy_url(dsn))
    async with engine.begin() as connection:
        await connection.run_sync(down)
    await engine.dispose()
