"""Connections, and what their failures mean to the domain."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import msgspec

from pulse_domain.errors import StorageRejected, StorageUnavailable

# What a lost, refusing or overloaded server looks like; nothing is known of the statement's effect.
UNAVAILABLE = (
    OSError,  # refused, reset; TimeoutError is one too
    asyncio.TimeoutError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # a connection lost at an awkward moment confuses the driver's state
    asyncpg.PostgresConnectionError,
    asyncpg.CannotConnectNowError,
    asyncpg.TooManyConnectionsError,
    asyncpg.OperatorInterventionError,  # shutdowns, cancelled statements
    asyncpg.IdleSessionTimeoutError,
    asyncpg.ReadOnlySQLTransactionError,  # a standby, until the failover is over
    asyncpg.DeadlockDetectedError,
    asyncpg.InsufficientResourcesError,
)


class _Connection(asyncpg.Connection):  # type: ignore[misc]  # asyncpg publishes no types
    def get_reset_query(self) -> str:
        # No step leaves session state behind, so the round trip that would clear it is saved.
        return ""


def check_dsn(dsn: str) -> None:
    """Check an address before a driver quotes a part of it, perhaps of the password, in an error.

    Raises:
        ValueError: it cannot be read; the text holds nothing of it.
    """
    try:
        parts = urlsplit(dsn)
        good = parts.scheme in ("postgresql", "postgres") and not parts.fragment and parts.port != 0
    except ValueError:
        good = False
    if not good:
        raise ValueError(
            "must be postgresql://user:password@host:port/database, special characters percent-encoded"
        )


async def create_pool(dsn: str, *, size: int = 10, command_timeout_s: float = 10.0) -> asyncpg.Pool:
    """A pool that connects on first use, so that a service can start before its database does."""
    return await asyncpg.create_pool(
        dsn,
        min_size=0,
        max_size=size,
        command_timeout=command_timeout_s,
        timeout=5.0,
        max_inactive_connection_lifetime=300.0,
        init=_init,
        connection_class=_Connection,
    )


async def _init(connection: asyncpg.Connection) -> None:
    await connection.set_type_codec(
        "jsonb",
        schema="pg_catalog",
        format="binary",
        encoder=lambda value: b"\x01" + msgspec.json.encode(value),
        decoder=lambda raw: msgspec.json.decode(raw[1:]),
    )


class Database:
    """A pool, or for tests one connection, that speaks the domain's errors."""

    def __init__(self, pool: asyncpg.Pool, *, acquire_timeout_s: float = 3.0) -> None:
        self._pool = pool
        self._acquire_timeout_s = acquire_timeout_s

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[asyncpg.Connection]:
        """A connection for one step.

        Raises:
            StorageUnavailable: no connection can be had, or it was lost.
            StorageRejected: Postgres refuses a value.
        """
        try:
            async with self._pool.acquire(timeout=self._acquire_timeout_s) as connection:
                try:
                    yield connection
                except asyncpg.InternalClientError:
                    # Whatever state it is in, nobody should get it again.
                    connection.terminate()
                    raise
        except UNAVAILABLE as error:
            raise StorageUnavailable(cause=type(error).__name__) from error
        except asyncpg.DataError as error:
            raise StorageRejected("a value cannot be stored", cause=type(error).__name__) from error

    async def fetch(self, sql: str, args: list[Any]) -> list[asyncpg.Record]:
        async with self.connection() as connection:
            rows: list[asyncpg.Record] = await connection.fetch(sql, *args)
            return rows

    async def fetchrow(self, sql: str, args: list[Any]) -> asyncpg.Record | None:
        async with self.connection() as connection:
            return await connection.fetchrow(sql, *args)
