"""Leadership among processes, by a session lock in Postgres."""

import asyncpg

from pulse_adapters.postgres.pool import UNAVAILABLE

_LOCK_KEY = 8102


class PostgresLeadership:
    """Held as long as the connection that took the lock lives. Two leaders for a moment are harmless:
    what a leader does are steps of the store, each atomic and safe to repeat."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._connection: asyncpg.Connection | None = None

    async def hold(self) -> bool:
        """Take the lead if it is free, or see whether it is still ours."""
        try:
            if self._connection is None:
                self._connection = await asyncpg.connect(self._dsn, timeout=5.0, command_timeout=5.0)
                return await self._try()
            await self._connection.fetchval("SELECT 1")
            return True
        except UNAVAILABLE:
            await self.release()
            return False

    async def _try(self) -> bool:
        assert self._connection is not None, "called with a connection only"
        taken: bool = await self._connection.fetchval("SELECT pg_try_advisory_lock($1)", _LOCK_KEY)
        if not taken:
            await self.release()
        return taken

    async def release(self) -> None:
        """Give the lead up; the lock goes with the connection."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.terminate()
