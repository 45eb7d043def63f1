"""The stores of strategies keep the port's contract."""

import asyncpg
import pytest

from pulse_adapters.postgres.pool import Database
from pulse_adapters.postgres.strategies import PostgresStrategyStore
from pulse_domain.testing.contracts.strategy_store import StrategyStoreContract
from pulse_domain.testing.fake_clock import FakeClock
from pulse_domain.testing.memory_strategies import InMemoryStrategyStore


class TestInMemoryStrategyStore(StrategyStoreContract):
    @pytest.fixture
    def store(self) -> InMemoryStrategyStore:
        return InMemoryStrategyStore(FakeClock())


class TestPostgresStrategyStore(StrategyStoreContract):
    @pytest.fixture
    def store(self, database: asyncpg.Pool) -> PostgresStrategyStore:
        return PostgresStrategyStore(Database(database))
