"""The audit log on Postgres."""

from sqlalchemy import bindparam, insert, select

from pulse_adapters.postgres.pool import Database
from pulse_adapters.postgres.statements import Statement
from pulse_adapters.postgres.tables import audit_log as t
from pulse_domain.ports.audit_log import AuditEntry

_FIELDS = ("channel", "actor", "place", "action", "outcome", "detail")
_RECORD = Statement(insert(t).values({name: bindparam(name) for name in _FIELDS}))
_NEWEST = Statement(
    select(*(t.c[name] for name in _FIELDS), t.c.at).order_by(t.c.id.desc()).limit(bindparam("n"))
)


class PostgresAuditLog:
    """Implements the `AuditLog` port."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def record(self, entry: AuditEntry) -> None:
        args = _RECORD.args(**{name: getattr(entry, name) for name in _FIELDS})
        await self._database.fetch(_RECORD.sql, args)

    async def newest(self, limit: int) -> list[AuditEntry]:
        rows = await self._database.fetch(_NEWEST.sql, _NEWEST.args(n=limit))
        return [AuditEntry(**dict(row)) for row in rows]
