"""Stores of broker sessions keep the port's contract."""

import asyncpg
import pytest

from pulse_adapters.postgres.pool import Database
from pulse_adapters.postgres.sessions import PostgresSessions
from pulse_domain.testing.contracts.broker_sessions import BrokerSessionsContract
from pulse_domain.testing.memory_sessions import InMemorySessions


class TestInMemorySessions(BrokerSessionsContract):
    @pytest.fixture
    def sessions(self) -> InMemorySessions:
        return InMemorySessions()


class TestPostgresSessions(BrokerSessionsContract):
    @pytest.fixture
    def sessions(self, database: asyncpg.Pool) -> PostgresSessions:
        return PostgresSessions(Database(database))
