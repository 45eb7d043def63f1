"""Audit logs keep the port's contract."""

import asyncpg
import pytest

from pulse_adapters.postgres.audit_log import PostgresAuditLog
from pulse_adapters.postgres.pool import Database
from pulse_domain.testing.contracts.audit_log import AuditLogContract
from pulse_domain.testing.fake_clock import FakeClock
from pulse_domain.testing.memory_audit import InMemoryAuditLog


class TestInMemoryAuditLog(AuditLogContract):
    @pytest.fixture
    def audit(self) -> InMemoryAuditLog:
        return InMemoryAuditLog(FakeClock())


class TestPostgresAuditLog(AuditLogContract):
    @pytest.fixture
    def audit(self, database: asyncpg.Pool) -> PostgresAuditLog:
        return PostgresAuditLog(Database(database))
