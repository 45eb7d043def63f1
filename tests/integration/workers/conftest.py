"""What the tests of several brokers share; its asserts should speak as those of tests do."""

import asyncpg
import pytest
import pytest_asyncio

from pulse_adapters.postgres.tables import metadata

pytest.register_assert_rewrite("tests.integration.workers.fault_runs")


@pytest_asyncio.fixture(scope="module")
async def kept_database(session_pool: asyncpg.Pool) -> asyncpg.Pool:
    """Tables that are emptied once, for tests that share a broker: it must hold no order that is unknown."""
    tables = ", ".join(table.name for table in metadata.sorted_tables)
    await session_pool.execute(f"TRUNCATE {tables} RESTART IDENTITY")
    return session_pool
