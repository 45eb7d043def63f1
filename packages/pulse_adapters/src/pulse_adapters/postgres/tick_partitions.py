"""The days of market_ticks: a partition for each UTC day, made ahead and dropped when it is old.

Neither disturbs who inserts or reads. A day is made as a table of its own and attached, and it is detached
CONCURRENTLY before it is dropped: both take locks that inserts and reads do not meet, where a plain CREATE or
DROP of a partition would wait for the longest reader and make everybody else wait behind. A default partition
would rule that out, so there is none: who inserts into a day without a partition makes it (`ticks`).
"""

import re
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime, time, timedelta

import asyncpg
from msgspec import Struct

from pulse_adapters.postgres.pool import Database
from pulse_domain.errors import StorageUnavailable

_CREATE_LOCK, _DROP_LOCK = 8104, 8105
_NAME = re.compile(r"market_ticks_(\d{4})_(\d{2})_(\d{2})")

# Says of a table that it is ours to drop, also when somebody was interrupted between detaching and dropping it.
# One that a person has detached, to keep it, does not say so.
_OLD = "an old day: to be dropped"
_DAYS = """
SELECT c.relname AS name, i.inhdetachpending AS pending, obj_description(c.oid, 'pg_class') AS note
FROM pg_class c LEFT JOIN pg_inherits i ON i.inhrelid = c.oid
WHERE c.relkind = 'r' AND c.relname ~ '^market_ticks_\\d{4}_\\d{2}_\\d{2}$'
  AND c.relnamespace = (SELECT relnamespace FROM pg_class WHERE oid = CAST('market_ticks' AS regclass))
"""
# A recording goes as a whole, as what was lost of it could not be told of a part. One that was killed has no
# end, and looks like one that waits for ticks: it stays for two months after its last batch.
_FORGET = """
WITH old AS (
    SELECT r.recording FROM tick_recordings r
    WHERE coalesce(r.ended_at, greatest(r.started_at, (
              SELECT max(b.stored_at) FROM tick_batches b WHERE b.recording = r.recording
          )) + interval '60 days') < $1
), batches AS (
    DELETE FROM tick_batches b USING old WHERE b.recording = old.recording
)
DELETE FROM tick_recordings r USING old WHERE r.recording = old.recording
"""


class PartitionReport(Struct, frozen=True, kw_only=True):
    created: tuple[date, ...]
    dropped: tuple[date, ...]


def partition_name(day: date) -> str:
    return f"market_ticks_{day:%Y_%m_%d}"


class TickPartitions:
    """retention_days: so many days are kept, the present one among them.
    days_ahead: so many after the present one have their partition already."""

    def __init__(self, database: Database, *, retention_days: int = 7, days_ahead: int = 2) -> None:
        self._db = database
        self._retention = timedelta(days=retention_days)
        self._days_ahead = days_ahead

    async def keep(self, now: datetime) -> PartitionReport:
        """Make the days to come, and drop those that are too old, with what is noted of their recordings.

        Raises:
            StorageUnavailable: a part may be done; the next call does the rest.
        """
        today = now.astimezone(UTC).date()
        created = await self.create(today + timedelta(days=number) for number in range(self._days_ahead + 1))
        return PartitionReport(created=created, dropped=await self._drop(today - self._retention))

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[asyncpg.Connection]:
        try:
            async with self._db.connection() as connection:
                yield connection
        except asyncpg.PostgresError as error:  # such as a role that may not create tables
            reason = f"the days of ticks cannot be made and dropped: {str(error).splitlines()[0]}"
            raise StorageUnavailable(reason, cause=type(error).__name__) from error

    async def create(self, days: Iterable[date]) -> tuple[date, ...]:
        """Make the partitions that are missing, and tell which those were.

        Raises:
            StorageUnavailable.
        """
        created = []
        async with self._connection() as connection, connection.transaction():
            await connection.execute("SELECT pg_advisory_xact_lock($1)", _CREATE_LOCK)
            attached = {row["name"]: row["pending"] is not None for row in await connection.fetch(_DAYS)}
            for day in sorted(set(days)):
                name = partition_name(day)
                if not attached.get(name):
                    # Names and instants are made of a date, no value of anybody's.
                    begins = datetime.combine(day, time(), UTC)
                    if name not in attached:
                        await connection.execute(f"CREATE TABLE {name} (LIKE market_ticks)")
                    await connection.execute(
                        f"ALTER TABLE market_ticks ATTACH PARTITION {name}"
                        f" FOR VALUES FROM ('{begins}') TO ('{begins + timedelta(days=1)}')"
                    )
                    created.append(day)
        return tuple(created)

    async def _drop(self, newest: date) -> tuple[date, ...]:
        """Drop the days up to `newest`."""
        dropped = []
        async with self._connection() as connection:
            # Whoever else is at it does the same.
            if not await connection.fetchval("SELECT pg_try_advisory_lock($1)", _DROP_LOCK):
                return ()
            try:
                # While one is half detached no other can be.
                for row in sorted(await connection.fetch(_DAYS), key=lambda row: not row["pending"]):
                    day = _day(row["name"])
                    if day <= newest and (row["pending"] is not None or row["note"] == _OLD):
                        await _drop(connection, row["name"], row["pending"])
                        dropped.append(day)
                before = datetime.combine(newest + timedelta(days=1), time(), UTC)
                await connection.execute(_FORGET, before)
            finally:
                await connection.execute("SELECT pg_advisory_unlock($1)", _DROP_LOCK)
        return tuple(sorted(dropped))


async def _drop(connection: asyncpg.Connection, name: str, pending: bool | None) -> None:
    """pending: whether an earlier detaching was cut off half way; None where the table is not attached."""
    if pending is not None:
        await connection.execute(f"COMMENT ON TABLE {name} IS '{_OLD}'")
        how = "FINALIZE" if pending else "CONCURRENTLY"
        await connection.execute(f"ALTER TABLE market_ticks DETACH PARTITION {name} {how}")
    await connection.execute(f"DROP TABLE {name}")


def _day(name: str) -> date:
    match = _NAME.fullmatch(name)
    assert match is not None, "the query asks for such names only"
    return date(int(match[1]), int(match[2]), int(match[3]))
