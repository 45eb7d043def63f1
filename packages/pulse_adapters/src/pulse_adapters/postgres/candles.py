"""Candles in Postgres: a batch is one statement."""

from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from datetime import datetime

from sqlalchemy import text

from pulse_adapters.postgres.pool import Database
from pulse_adapters.postgres.statements import Statement
from pulse_domain.candles import ClosedCandle
from pulse_domain.instruments import Instrument
from pulse_domain.matching import Candle

_RUN = 5000
_READ_TIMEOUT_S = 120.0

_SAVE = Statement(
    text("""
    INSERT INTO candles (instrument, minutes, start, open, high, low, close, volume)
    SELECT * FROM unnest(CAST(:instruments AS text[]), CAST(:minutes AS smallint[]),
                         CAST(:starts AS timestamptz[]), CAST(:opens AS numeric[]), CAST(:highs AS numeric[]),
                         CAST(:lows AS numeric[]), CAST(:closes AS numeric[]), CAST(:volumes AS bigint[]))
    ON CONFLICT (instrument, minutes, start) DO UPDATE
    SET open = excluded.open, high = excluded.high, low = excluded.low, close = excluded.close,
        volume = excluded.volume
    """)
)
_CANDLES = Statement(
    text("""
    SELECT start, open, high, low, close, volume FROM candles
    WHERE instrument = :instrument AND minutes = :minutes AND start >= :since AND start < :until
    ORDER BY start
    """)
)
_LAST_STARTS = Statement(
    text("""
    SELECT wanted.instrument, last.start
    FROM unnest(CAST(:instruments AS text[])) AS wanted (instrument)
    CROSS JOIN LATERAL (
        SELECT start FROM candles
        WHERE candles.instrument = wanted.instrument AND minutes = :minutes AND start >= :since
        ORDER BY start DESC LIMIT 1
    ) AS last
    """)
)


class PostgresCandleStore:
    """Implements the port `CandleStore`."""

    def __init__(self, database: Database) -> None:
        self._db = database

    async def save(self, candles: Sequence[ClosedCandle]) -> None:
        # One statement cannot write a row twice.
        told = {(each.instrument, each.minutes, each.start): each.candle for each in candles if each.candle}
        if not told:
            return
        # In one order everywhere, so that two who store the same candles wait for each other and go on.
        rows = [
            (str(instrument), minutes, start, it.open, it.high, it.low, it.close, it.volume)
            for (instrument, minutes, start), it in sorted(told.items(), key=lambda item: item[0])
        ]
        names = ("instruments", "minutes", "starts", "opens", "highs", "lows", "closes", "volumes")
        columns = dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))
        await self._db.fetch(_SAVE.sql, _SAVE.args(**columns))

    async def candles(
        self, instrument: Instrument, minutes: int, since: datetime, until: datetime
    ) -> AsyncGenerator[Sequence[Candle], None]:
        args = _CANDLES.args(instrument=str(instrument), minutes=minutes, since=since, until=until)
        async with self._db.connection() as connection, connection.transaction():
            cursor = await connection.cursor(_CANDLES.sql, *args, timeout=_READ_TIMEOUT_S)
            while rows := await cursor.fetch(_RUN, timeout=_READ_TIMEOUT_S):
                yield [Candle(instrument, *row.values()) for row in rows]

    async def last_starts(
        self, instruments: Iterable[Instrument], minutes: int, since: datetime
    ) -> Mapping[Instrument, datetime]:
        asked = {str(instrument): instrument for instrument in instruments}
        args = _LAST_STARTS.args(instruments=list(asked), minutes=minutes, since=since)
        rows = await self._db.fetch(_LAST_STARTS.sql, args)
        return {asked[row["instrument"]]: row["start"] for row in rows}
