"""The migrations build what tables.py declares, and nothing else."""

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest
import pytest_asyncio
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import create_async_engine

from pulse_adapters.postgres.migrate import migrate, sqlalchemy_url
from pulse_adapters.postgres.tables import metadata


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
    assert await connection.fetchval("SELECT version_num FROM alembic_version") == "0011"
    await connection.close()


def test_an_address_of_another_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="DATABASE_URL must be postgresql://"):
        sqlalchemy_url("mysql://u:secret@h/d")
