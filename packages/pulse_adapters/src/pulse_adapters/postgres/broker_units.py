"""What a broker's lot counts for, by the terms of our own orders."""

from sqlalchemy import bindparam, select

from pulse_adapters.postgres.pool import Database
from pulse_adapters.postgres.statements import Statement
from pulse_adapters.postgres.tables import orders
from pulse_domain.instruments import Instrument

_UNITS = Statement(
    select(orders.c.units_per_broker_quantity)
    .where(orders.c.instrument == bindparam("instrument"))
    .order_by(orders.c.order_id.desc())
    .limit(1)
)


class PostgresBrokerUnits:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def __call__(self, instrument: Instrument) -> int | None:
        """The `units_per_broker_quantity` of our latest order in the instrument; None where there is none.

        Raises:
            StorageUnavailable: the store cannot be reached.
        """
        row = await self._database.fetchrow(_UNITS.sql, _UNITS.args(instrument=str(instrument)))
        return None if row is None else int(row["units_per_broker_quantity"])
