"""Real servers for every level that wants them: started once, on first use, from the wheels.

DATABASE_URL and REDIS_URL, where set, are used instead. The database is emptied before each test.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator

import asyncpg
import hypothesis
import pytest
import pytest_asyncio
import structlog

from pulse_adapters.embedded.postgres import EmbeddedPostgres
from pulse_adapters.embedded.redis import EmbeddedRedis
from pulse_adapters.postgres.migrate import migrate
from pulse_adapters.postgres.pool import create_pool
from pulse_adapters.postgres.tables import metadata

# A test says nothing about speed: on a busy machine an example may take as long as it takes.
hypothesis.settings.register_profile(
    "pulse", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("pulse")

# The contract suites are shipped with the domain; their asserts should speak as those of tests do.
pytest.register_assert_rewrite("pulse_domain.testing.contracts", "service_kit.testing")


@pytest.fixture(autouse=True)
def no_words_left_for_later_lines() -> Iterator[None]:
    """What a test binds to log lines, or a library behind its back, would be in those of the tests after it."""
    yield
    left = structlog.contextvars.get_contextvars()
    structlog.contextvars.clear_contextvars()
    assert not left, f"bound to the log and left so: {left}"


@pytest.fixture(scope="session")
def postgres_dsn() -> Iterator[str]:
    """A Postgres without a schema of ours."""
    given = os.environ.get("DATABASE_URL")
    if given:
        yield asyncio.run(_own_database(given))
        return
    with EmbeddedPostgres.start(None, durable=False) as server:
        yield server.dsn


async def _own_database(dsn: str) -> str:
    """A database for this worker of the test run alone, since they run side by side."""
    name = f"pulse_tests_{os.environ.get('PYTEST_XDIST_WORKER', 'main')}"
    connection = await asyncpg.connect(dsn)
    await connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
    await connection.execute(f"CREATE DATABASE {name}")
    await connection.close()
    return dsn.rpartition("/")[0] + f"/{name}"


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    given = os.environ.get("REDIS_URL")
    if given:
        worker = os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")
        yield given.rpartition("/")[0] + f"/{worker}"
        return
    with EmbeddedRedis.start() as server:
        yield server.url


@pytest_asyncio.fixture(scope="session")
async def migrated_dsn(postgres_dsn: str) -> str:
    await migrate(postgres_dsn)
    return postgres_dsn


@pytest_asyncio.fixture(scope="session")
async def session_pool(migrated_dsn: str) -> AsyncIterator[asyncpg.Pool]:
    pool = await create_pool(migrated_dsn)
    yield pool
    await pool.close()


@pytest_asyncio.fixture
async def database(session_pool: asyncpg.Pool) -> asyncpg.Pool:
    """A pool on empty tables."""
    tables = ", ".join(table.name for table in metadata.sorted_tables)
    await session_pool.execute(f"TRUNCATE {tables} RESTART IDENTITY")
    return session_pool
