"""The Postgres store keeps every promise of its port."""

from collections.abc import AsyncIterator, Awaitable, Callable

import asyncpg
import pytest

from pulse_adapters.clock import SystemClock
from pulse_adapters.ids import RandomIds
from pulse_adapters.postgres.pool import Database
from pulse_adapters.postgres.session_locks import PostgresPresence
from pulse_adapters.postgres.store import PostgresOrderStore
from pulse_domain.testing.contracts.accept_at_once import AcceptAtOnceContract
from pulse_domain.testing.contracts.ledger import OrderLedgerContract
from pulse_domain.testing.contracts.order_store import OrderStoreContract, PresenceOf, Restore
from pulse_domain.testing.contracts.risk_facts import RiskFactsContract

# A clock_timestamp() of the test's own, found before the built-in one: time passes when the test says so.
FAKE_CLOCK = """
CREATE SCHEMA IF NOT EXISTS fake_time;
CREATE TABLE IF NOT EXISTS fake_time.shift (seconds double precision NOT NULL);
TRUNCATE fake_time.shift;
INSERT INTO fake_time.shift VALUES (0);
CREATE OR REPLACE FUNCTION fake_time.clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE AS
    'SELECT pg_catalog.clock_timestamp() + make_interval(secs => (SELECT seconds FROM fake_time.shift))';
"""


class _ShiftedPool:
    """Connections that find the fake clock first."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    def acquire(self, *, timeout: float | None = None) -> "_Acquired":
        return _Acquired(self._pool.acquire(timeout=timeout))


class _Acquired:
    def __init__(self, acquiring: asyncpg.pool.PoolAcquireContext) -> None:
        self._acquiring = acquiring

    async def __aenter__(self) -> asyncpg.Connection:
        connection = await self._acquiring.__aenter__()
        await connection.execute("SET search_path = fake_time, public, pg_catalog")
        return connection

    async def __aexit__(self, *error: object) -> None:
        await self._acquiring.connection.execute("RESET search_path")
        await self._acquiring.__aexit__(*error)


class OnPostgres:
    @pytest.fixture
    async def store(self, database: asyncpg.Pool) -> AsyncIterator[PostgresOrderStore]:
        await database.execute(FAKE_CLOCK)
        yield PostgresOrderStore(Database(_ShiftedPool(database)))
        await database.execute("DROP SCHEMA fake_time CASCADE")

    @pytest.fixture
    def presence(self, postgres_dsn: str) -> PresenceOf:
        return lambda executor: PostgresPresence(postgres_dsn, executor)

    @pytest.fixture
    def restore(self, database: asyncpg.Pool) -> Restore:
        async def move() -> None:
            await database.execute("UPDATE store_identity SET identity = 'that of the server it came from'")

        return move

    @pytest.fixture
    async def pass_time(self, database: asyncpg.Pool) -> Callable[[float], Awaitable[None]]:
        async def shift(seconds: float) -> None:
            await database.execute("UPDATE fake_time.shift SET seconds = seconds + $1", seconds)

        return shift


class TestPostgresOrderStore(OnPostgres, OrderStoreContract):
    pass


class TestPostgresRiskFacts(OnPostgres, RiskFactsContract):
    @pytest.fixture
    def ids(self) -> RandomIds:
        return RandomIds(SystemClock())


class TestPostgresAcceptAtOnce(OnPostgres, AcceptAtOnceContract):
    pass


class TestPostgresOrderLedger(OnPostgres, OrderLedgerContract):
    pass
