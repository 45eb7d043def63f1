"""Broker sessions on Postgres."""

from sqlalchemy import bindparam, insert, select

from pulse_adapters.postgres.pool import Database
from pulse_adapters.postgres.statements import Statement
from pulse_adapters.postgres.tables import broker_sessions as t
from pulse_domain.ports.broker_sessions import BrokerSession

_SAVE = Statement(
    insert(t).values(
        broker=bindparam("broker"),
        user_id=bindparam("user_id"),
        sealed_token=bindparam("sealed_token"),
        valid_until=bindparam("valid_until"),
    )
)
_NEWEST = Statement(
    select(t.c.broker, t.c.user_id, t.c.sealed_token, t.c.valid_until)
    .where(t.c.broker == bindparam("broker"))
    .order_by(t.c.id.desc())
    .limit(1)
)


class PostgresSessions:
    """Implements the `BrokerSessions` port."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def save(self, session: BrokerSession) -> None:
        await self._database.fetch(
            _SAVE.sql,
            _SAVE.args(
                broker=session.broker,
                user_id=session.user_id,
                sealed_token=session.sealed_token,
                valid_until=session.valid_until,
            ),
        )

    async def newest(self, broker: str) -> BrokerSession | None:
        row = await self._database.fetchrow(_NEWEST.sql, _NEWEST.args(broker=broker))
        if row is None:
            return None
        return BrokerSession(
            broker=row["broker"],
            user_id=row["user_id"],
            sealed_token=row["sealed_token"],
            valid_until=row["valid_until"],
        )
