"""The stores of ticks and candles, in Postgres and in memory, keep their ports' contracts."""

import asyncpg
import pytest

from pulse_adapters.postgres.candles import PostgresCandleStore
from pulse_adapters.postgres.pool import Database
from pulse_adapters.postgres.ticks import PostgresTickStore
from pulse_domain.testing.contracts.candle_store import CandleStoreContract
from pulse_domain.testing.contracts.tick_store import TickStoreContract
from pulse_domain.testing.fake_clock import FakeClock
from pulse_domain.testing.memory_market_data import InMemoryCandleStore, InMemoryTickStore


class TestInMemoryTickStore(TickStoreContract):
    @pytest.fixture
    def store(self) -> InMemoryTickStore:
        return InMemoryTickStore(FakeClock())


class TestPostgresTickStore(TickStoreContract):
    @pytest.fixture
    def store(self, database: asyncpg.Pool) -> PostgresTickStore:
        return PostgresTickStore(Database(database))


class TestInMemoryCandleStore(CandleStoreContract):
    @pytest.fixture
    def store(self) -> InMemoryCandleStore:
        return InMemoryCandleStore()


class TestPostgresCandleStore(CandleStoreContract):
    @pytest.fixture
    def store(self, database: asyncpg.Pool) -> PostgresCandleStore:
        return PostgresCandleStore(Database(database))
