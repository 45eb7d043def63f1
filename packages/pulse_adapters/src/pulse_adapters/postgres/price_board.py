"""The last prices in Postgres: a batch is one statement."""

from collections.abc import Mapping

from sqlalchemy import bindparam, select, text

from pulse_adapters.postgres.pool import Database
from pulse_adapters.postgres.rows import Row
from pulse_adapters.postgres.statements import Statement
from pulse_adapters.postgres.tables import market_prices as t
from pulse_domain.instruments import Instrument
from pulse_domain.risk import PriceFacts

_COLUMNS = (t.c.instrument, t.c.at, t.c.last_price, t.c.minute_vwap, t.c.lower_circuit, t.c.upper_circuit)
_PUBLISH = Statement(
    text("""
    INSERT INTO market_prices AS p (instrument, at, last_price, minute_vwap, lower_circuit, upper_circuit)
    SELECT * FROM unnest(CAST(:instruments AS text[]), CAST(:ats AS timestamptz[]),
                         CAST(:last_prices AS numeric[]), CAST(:minute_vwaps AS numeric[]),
                         CAST(:lower_circuits AS numeric[]), CAST(:upper_circuits AS numeric[]))
    ON CONFLICT (instrument) DO UPDATE
    SET at = excluded.at, last_price = excluded.last_price, minute_vwap = excluded.minute_vwap,
        lower_circuit = excluded.lower_circuit, upper_circuit = excluded.upper_circuit
    WHERE excluded.at >= p.at
    """)
)
_PRICE = Statement(select(*_COLUMNS).where(t.c.instrument == bindparam("instrument")))
_PRICES = Statement(select(*_COLUMNS))


class PostgresPriceBoard:
    """Implements the port `PriceBoard`."""

    def __init__(self, database: Database) -> None:
        self._db = database

    async def publish(self, prices: Mapping[Instrument, PriceFacts]) -> None:
        if not prices:
            return
        # In one order everywhere, so that two who publish the same wait for each other and go on.
        shown = {str(instrument): facts for instrument, facts in prices.items()}
        names = sorted(shown)
        facts = [shown[name] for name in names]
        args = _PUBLISH.args(
            instruments=names,
            ats=[each.at for each in facts],
            last_prices=[each.last_price for each in facts],
            minute_vwaps=[each.minute_vwap for each in facts],
            lower_circuits=[each.lower_circuit for each in facts],
            upper_circuits=[each.upper_circuit for each in facts],
        )
        await self._db.fetch(_PUBLISH.sql, args)

    async def price(self, instrument: Instrument) -> PriceFacts | None:
        row = await self._db.fetchrow(_PRICE.sql, _PRICE.args(instrument=str(instrument)))
        return None if row is None else _facts_of(row)

    async def prices(self) -> Mapping[Instrument, PriceFacts]:
        return {
            Instrument.parse(row["instrument"]): _facts_of(row)
            for row in await self._db.fetch(_PRICES.sql, _PRICES.args())
        }


def _facts_of(row: Row) -> PriceFacts:
    return PriceFacts(
        at=row["at"],
        last_price=row["last_price"],
        minute_vwap=row["minute_vwap"],
        lower_circuit=row["lower_circuit"],
        upper_circuit=row["upper_circuit"],
    )
