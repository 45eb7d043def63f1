"""Ticks in Postgres: by COPY, a batch and its row in the ledger of batches in one transaction.

A row's `seq` is the number of its recording times 10^12, plus that of the tick in it, so it is unique and sorts
by arrival.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from datetime import UTC, datetime

import asyncpg
from sqlalchemy import text

from pulse_adapters.postgres.pool import Database
from pulse_adapters.postgres.statements import Statement
from pulse_adapters.postgres.tick_partitions import TickPartitions
from pulse_adapters.postgres.tick_rows import COLUMNS, HEADER, TRAILER, TickRows
from pulse_domain.errors import StorageUnavailable
from pulse_domain.instruments import Instrument
from pulse_domain.matching import Tick
from pulse_domain.ports.tick_store import Recording, TickBatch

NUMBERS_EACH = 10**12
# Ticks that a reader gets at once, and how long it may take to find the first of them.
_RUN = 5000
_READ_TIMEOUT_S = 120.0
# Ticks that are encoded at a time.
_PART = 500

_BEGIN = Statement(text("INSERT INTO tick_recordings (source) VALUES (:source) RETURNING recording"))
_NOTE_BATCH = Statement(
    text("""
    INSERT INTO tick_batches (recording, first, rows) VALUES (:recording, :first, :rows)
    ON CONFLICT DO NOTHING RETURNING first
    """)
)
_END = Statement(
    text("""
    UPDATE tick_recordings SET ended_at = clock_timestamp(), received = :received WHERE recording = :recording
    """)
)
_REGISTER = Statement(
    text("""
    INSERT INTO tick_instruments (instrument) SELECT unnest(CAST(:names AS text[])) AS name ORDER BY name
    ON CONFLICT DO NOTHING
    """)
)
_TOKENS = Statement(
    text("""
    SELECT instrument, token FROM tick_instruments WHERE instrument = ANY(CAST(:names AS text[]))
    """)
)
_TICKS = Statement(
    text("""
    SELECT timestamp, ltp, bid, ask, volume, day_low, day_high FROM market_ticks
    WHERE token = (SELECT token FROM tick_instruments WHERE instrument = :instrument)
      AND timestamp >= :since AND timestamp < :until
    ORDER BY timestamp, seq
    """)
)
_RECORDINGS = Statement(
    text("""
    SELECT r.recording, r.source, r.started_at, r.ended_at,
           greatest(r.received, max(b.first + b.rows - 1), 0) AS received,
           CAST(coalesce(sum(b.rows), 0) AS bigint) AS stored
    FROM tick_recordings r LEFT JOIN tick_batches b USING (recording)
    WHERE r.started_at >= :since GROUP BY r.recording ORDER BY r.recording
    """)
)


class PostgresTickStore:
    """Implements the port `TickStore`. A day without a partition gets it from the first batch that needs it."""

    def __init__(self, database: Database) -> None:
        self._db = database
        self._partitions = TickPartitions(database)
        self._tokens: dict[Instrument, int] = {}
        self._rows = TickRows()

    async def begin(self, source: str) -> int:
        row = await self._db.fetchrow(_BEGIN.sql, _BEGIN.args(source=source))
        assert row is not None, "an insert returns its row"
        return int(row["recording"])

    async def save(self, batch: TickBatch) -> None:
        unknown = {tick.instrument for tick in batch.ticks} - self._tokens.keys()
        if unknown:
            await self._register(unknown)
        try:
            await self._copy(batch)
        except asyncpg.CheckViolationError:
            await self._partitions.create({tick.at.astimezone(UTC).date() for tick in batch.ticks})
            try:
                await self._copy(batch)
            except asyncpg.CheckViolationError as error:  # a day that is just being dropped
                raise StorageUnavailable("a day of the batch has no partition") from error

    async def _register(self, instruments: set[Instrument]) -> None:
        names = {str(instrument): instrument for instrument in instruments}
        await self._db.fetch(_REGISTER.sql, _REGISTER.args(names=list(names)))
        # In a statement of its own, which sees the rows that others have just added.
        for row in await self._db.fetch(_TOKENS.sql, _TOKENS.args(names=list(names))):
            self._tokens[names[row["instrument"]]] = row["token"]

    async def _copy(self, batch: TickBatch) -> None:
        note = _NOTE_BATCH.args(recording=batch.recording, first=batch.first, rows=len(batch.ticks))
        async with self._db.connection() as connection, connection.transaction():
            if await connection.fetchval(_NOTE_BATCH.sql, *note) is None:
                return
            await connection.copy_to_table(
                "market_ticks", source=self._rows_of(batch), columns=COLUMNS, format="binary"
            )

    async def _rows_of(self, batch: TickBatch) -> AsyncIterator[bytes]:
        yield HEADER
        first = batch.recording * NUMBERS_EACH + batch.first
        for at in range(0, len(batch.ticks), _PART):
            yield self._rows.encode(batch.ticks[at : at + _PART], self._tokens, first + at)
            # Whoever waits for the event loop meanwhile does not wait for the whole batch.
            await asyncio.sleep(0)
        yield TRAILER

    async def end(self, recording: int, received: int) -> None:
        await self._db.fetch(_END.sql, _END.args(recording=recording, received=received))

    async def ticks(
        self, instrument: Instrument, since: datetime, until: datetime
    ) -> AsyncGenerator[Sequence[Tick], None]:
        args = _TICKS.args(instrument=str(instrument), since=since, until=until)
        async with self._db.connection() as connection, connection.transaction():
            cursor = await connection.cursor(_TICKS.sql, *args, timeout=_READ_TIMEOUT_S)
            while rows := await cursor.fetch(_RUN, timeout=_READ_TIMEOUT_S):
                yield [
                    Tick(
                        instrument, row["timestamp"], row["ltp"], row["bid"], row["ask"], row["volume"],
                        row["day_low"], row["day_high"],
                    )
                    for row in rows
                ]  # fmt: skip

    async def recordings(self, since: datetime) -> Sequence[Recording]:
        rows = await self._db.fetch(_RECORDINGS.sql, _RECORDINGS.args(since=since))
        return [Recording(**dict(row)) for row in rows]
