"""Session locks in Postgres: held as long as the connection that took them lives.

Each goes with its process, when that is killed; a process that is only stopped keeps its own.
"""

import hashlib

import asyncpg

from pulse_adapters.postgres import steps
from pulse_adapters.postgres.pool import UNAVAILABLE

_LEADER_KEY = 8102


class _SessionLock:
    """One lock on a connection of its own. A lost connection is opened anew at the next `hold`."""

    def __init__(self, dsn: str, key: int) -> None:
        self._dsn = dsn
        self._key = key
        self._connection: asyncpg.Connection | None = None

    async def hold(self) -> bool:
        """Take the lock if it is free, or see whether it is still ours."""
        try:
            if self._connection is None:
                self._connection = await asyncpg.connect(self._dsn, timeout=5.0, command_timeout=5.0)
                return await self._try(self._connection)
            await self._connection.fetchval("SELECT 1")
            return True
        except UNAVAILABLE:
            await self.release()
            return False

    async def _try(self, connection: asyncpg.Connection) -> bool:
        taken: bool = await connection.fetchval("SELECT pg_try_advisory_lock($1)", self._key)
        if taken:
            await self._taken(connection)
        else:
            await self.release()
        return taken

    async def _taken(self, connection: asyncpg.Connection) -> None:
        pass

    async def release(self) -> None:
        """Give the lock up; it goes with the connection."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.terminate()


class PostgresLeadership(_SessionLock):
    """Leadership among processes. Two leaders for a moment are harmless: what a leader does are steps of
    the store, each atomic and safe to repeat."""

    def __init__(self, dsn: str) -> None:
        super().__init__(dsn, _LEADER_KEY)


class PostgresPresence(_SessionLock):
    """The presence of an executor, which others take for dead once its lock is free."""

    def __init__(self, dsn: str, executor: str) -> None:
        super().__init__(dsn, _presence_key(executor))
        self._executor = executor

    async def _taken(self, connection: asyncpg.Connection) -> None:
        args = steps.ENTER_EXECUTOR.args(executor=self._executor, lock_key=self._key)
        await connection.execute(steps.ENTER_EXECUTOR.sql, *args)


def _presence_key(executor: str) -> int:
    # Keys of 64 bits: those of two executors meet never, and with the small keys of the other locks neither.
    digest = hashlib.sha256(executor.encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)
