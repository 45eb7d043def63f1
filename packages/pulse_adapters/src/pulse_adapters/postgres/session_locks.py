"""Session locks in Postgres: held as long as the connection that took them lives.

Each goes with its process, when that is killed; a process that is only stopped keeps its own.
"""

import hashlib

import asyncpg

from pulse_adapters.postgres import steps
from pulse_adapters.postgres.pool import UNAVAILABLE

_LEADER_KEY = 8102
# Of the one market desk.
MARKET_LEADER_KEY = 8106
# A leader looks after its lock every second. One that has not for so long is stopped, or stuck.
_SILENT_S = 15.0
_DEPOSE = """
    SELECT pg_terminate_backend(a.pid) FROM pg_locks l JOIN pg_stat_activity a USING (pid)
    WHERE l.locktype = 'advisory' AND l.granted AND l.classid = 0 AND l.objid = $1 AND l.objsubid = 1
      AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
      AND a.state_change < clock_timestamp() - make_interval(secs => $2)
"""


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
            await self._refused(connection)
            await self.release()
        return taken

    async def _taken(self, connection: asyncpg.Connection) -> None:
        pass

    async def _refused(self, connection: asyncpg.Connection) -> None:
        pass

    async def release(self) -> None:
        """Give the lock up; it goes with the connection."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.terminate()


class PostgresLeadership(_SessionLock):
    """Leadership among processes. Two leaders for a moment are harmless: what a leader does are steps of
    the store, each atomic and safe to repeat.

    A leader that is stopped would keep its lock while it sleeps. So whoever is refused ends the session of a
    leader that has been silent for `silent_s`, and has the lead a second later.
    """

    def __init__(self, dsn: str, *, key: int = _LEADER_KEY, silent_s: float = _SILENT_S) -> None:
        super().__init__(dsn, key)
        self._silent_s = silent_s

    async def _refused(self, connection: asyncpg.Connection) -> None:
        await connection.execute(_DEPOSE, self._key, self._silent_s)


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
