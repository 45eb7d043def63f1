"""Store what a broker's instrument file lists: one transaction, and only what changed is written.

The file goes by COPY into a table of the transaction, and a few statements compare it with the rows in force:
what is listed no more ends, what has other terms ends and begins anew, what is new begins. A row that a sync
of the same day wrote is corrected in place, since a day has one row.
"""

from collections.abc import Iterable
from datetime import date
from typing import Any

import asyncpg
from msgspec import Struct

from pulse_adapters.postgres.pool import Database
from pulse_domain.errors import PortError
from pulse_domain.instruments import Listing

# One sync at a time: two would each end what the other has begun.
_LOCK_KEY = 8103
# A file cut short must not end what it has lost.
_ENDED_PERCENT_MAX = 50
_CHECKED_FROM_ROWS = 100
_TIMEOUT_S = 120.0

_TERMS = (
    "exchange", "symbol", "broker_symbol", "name", "kind", "expiry", "strike", "tick_size", "lot_size",
    "freeze_quantity", "units", "closing_auction",
)  # fmt: skip
_COLUMNS = ("token", *_TERMS)
_NAMES = ", ".join(_TERMS)

_INCOMING = """
CREATE TEMPORARY TABLE incoming (
    token text COLLATE "C" NOT NULL, exchange text COLLATE "C" NOT NULL, symbol text COLLATE "C" NOT NULL,
    broker_symbol text COLLATE "C" NOT NULL, name text NOT NULL, kind text COLLATE "C" NOT NULL, expiry date,
    strike numeric, tick_size numeric NOT NULL, lot_size int NOT NULL, freeze_quantity int, units int NOT NULL,
    closing_auction boolean
) ON COMMIT DROP
"""


def _of(alias: str) -> str:
    return ", ".join(f"{alias}.{name}" for name in _TERMS)


_MATCH = "m.broker = CAST($1 AS text) AND m.token = i.token AND m.valid_to IS NULL"
_DIFFERENT = f"({_of('m')}) IS DISTINCT FROM ({_of('i')})"
_SET = ", ".join(f"{name} = i.{name}" for name in _TERMS)
_SET_EXCLUDED = ", ".join(f"{name} = excluded.{name}" for name in _TERMS)

# All of them: constants of this module, no value of anybody's.
_CURRENT_COUNTS = """
SELECT count(*) AS current, count(*) FILTER (WHERE i.token IS NULL) AS ended, max(m.valid_from) AS newest
FROM instrument_master m LEFT JOIN incoming i USING (token)
WHERE m.broker = CAST($1 AS text) AND m.valid_to IS NULL AND m.exchange = ANY(CAST($2 AS text[]))
"""
_END = """
UPDATE instrument_master m SET valid_to = CAST($3 AS date)
WHERE m.broker = CAST($1 AS text) AND m.valid_to IS NULL AND m.exchange = ANY(CAST($2 AS text[]))
  AND NOT EXISTS (SELECT FROM incoming i WHERE i.token = m.token)
"""
_CORRECT = f"""
UPDATE instrument_master m SET {_SET} FROM incoming i
WHERE {_MATCH} AND m.valid_from = CAST($2 AS date) AND {_DIFFERENT}
"""  # noqa: S608
_SUPERSEDE = f"""
UPDATE instrument_master m SET valid_to = CAST($2 AS date) FROM incoming i
WHERE {_MATCH} AND m.valid_from < CAST($2 AS date) AND {_DIFFERENT}
"""  # noqa: S608
_BEGIN = f"""
INSERT INTO instrument_master (broker, token, valid_from, {_NAMES})
SELECT CAST($1 AS text), i.token, CAST($2 AS date), {_of("i")} FROM incoming i
WHERE NOT EXISTS (
    SELECT FROM instrument_master m WHERE {_MATCH}
)
ON CONFLICT (broker, token, valid_from) DO UPDATE SET valid_to = NULL, {_SET_EXCLUDED}
"""  # noqa: S608
_NOTE = """
INSERT INTO instrument_syncs (broker, day, exchanges, rows, added, changed, ended, bad)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
"""


class SyncRefused(PortError):
    """The file does not fit what is stored; nothing has changed."""


class SyncReport(Struct, frozen=True, kw_only=True):
    """rows: listed by the file. Those that are neither added nor changed were not touched."""

    rows: int
    added: int
    changed: int
    ended: int

    @property
    def unchanged(self) -> int:
        return self.rows - self.added - self.changed


class PostgresInstrumentSync:
    def __init__(self, database: Database) -> None:
        self._db = database

    async def __call__(
        self,
        broker: str,
        listings: Iterable[Listing],
        day: date,
        *,
        bad: int = 0,
        allow_shrink: bool = False,
    ) -> SyncReport:
        """Store a broker's listings as of a day; they are complete for each exchange that occurs in them.

        bad: rows that could not be read, for the record.
        allow_shrink: also where more than half of what is stored would end.

        Raises:
            SyncRefused: there is nothing to store, too much would end, or a later day is stored already.
            StorageUnavailable: nothing has changed, or all has: ask again.
        """
        rows = [_row(listing) for listing in listings]
        exchanges = sorted({row[1] for row in rows})
        if not rows:
            raise SyncRefused("the file lists nothing that can be traded")
        async with self._db.connection() as connection, connection.transaction():
            await connection.execute("SELECT pg_advisory_xact_lock($1)", _LOCK_KEY, timeout=_TIMEOUT_S)
            await connection.execute(_INCOMING)
            await connection.copy_records_to_table(
                "incoming", records=iter(rows), columns=_COLUMNS, timeout=_TIMEOUT_S
            )
            await connection.execute("ANALYZE incoming", timeout=_TIMEOUT_S)
            known = await connection.fetchrow(_CURRENT_COUNTS, broker, exchanges, timeout=_TIMEOUT_S)
            assert known is not None, "an aggregate gives one row"
            _check(known, day, allow_shrink)

            async def changed(sql: str, *args: Any) -> int:
                return _count(await connection.execute(sql, broker, *args, timeout=_TIMEOUT_S))

            ended = await changed(_END, exchanges, day)
            corrected = await changed(_CORRECT, day)
            superseded = await changed(_SUPERSEDE, day)
            added = await changed(_BEGIN, day) - superseded
            report = SyncReport(rows=len(rows), added=added, changed=corrected + superseded, ended=ended)
            await connection.execute(
                _NOTE, broker, day, exchanges, report.rows, report.added, report.changed, report.ended, bad
            )
        return report


def _check(known: asyncpg.Record, day: date, allow_shrink: bool) -> None:
    if known["newest"] is not None and known["newest"] > day:
        raise SyncRefused(f"terms of {known['newest']} are stored already: {day} is in the past")
    shrinks = known["current"] >= _CHECKED_FROM_ROWS and (
        known["ended"] * 100 > known["current"] * _ENDED_PERCENT_MAX
    )
    if shrinks and not allow_shrink:
        raise SyncRefused(
            f"{known['ended']} of {known['current']} stored instruments are not in the file: is it complete?"
            " allow_shrink stores it all the same"
        )


def _count(status: str) -> int:
    return int(status.rpartition(" ")[2])


def _row(listing: Listing) -> tuple[Any, ...]:
    return (
        listing.token,
        listing.instrument.exchange.value,
        listing.instrument.symbol,
        listing.broker_symbol,
        listing.name,
        listing.kind.value,
        listing.expiry,
        listing.strike,
        listing.tick_size,
        listing.lot_size,
        listing.freeze_quantity,
        listing.units_per_broker_quantity,
        listing.closing_auction,
    )
