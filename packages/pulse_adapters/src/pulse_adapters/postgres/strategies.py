"""Strategies in Postgres: each step is one statement."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from sqlalchemy import bindparam, select, text

from pulse_adapters.postgres.pool import Database
from pulse_adapters.postgres.rows import Row
from pulse_adapters.postgres.statements import Statement
from pulse_adapters.postgres.tables import strategies as t
from pulse_adapters.postgres.tables import strategy_checkpoints as c
from pulse_domain.errors import StrategyRunning
from pulse_domain.instruments import Instrument
from pulse_domain.orders.events import storable
from pulse_domain.ports.strategy_store import (
    Checkpoint,
    StrategyMode,
    StrategyPlan,
    StrategyRow,
    StrategyState,
)

_ALREADY_SO = "(s.kind, s.instruments, s.parameters, s.mode, s.capital)"
_ASKED = "(excluded.kind, excluded.instruments, excluded.parameters, excluded.mode, excluded.capital)"
_CHANGES = f"s.wanted = 'STOPPED' AND {_ALREADY_SO} IS DISTINCT FROM {_ASKED}"


def _where_changed(column: str, value: str) -> str:
    return f"{column} = CASE WHEN {_CHANGES} THEN {value} ELSE s.{column} END"


_PUT_CHANGES = ", ".join(
    _where_changed(column, value)
    for column, value in {
        "kind": "excluded.kind",
        "instruments": "excluded.instruments",
        "parameters": "excluded.parameters",
        "mode": "excluded.mode",
        "capital": "excluded.capital",
        "version": "s.version + 1",
        "changed_by": "excluded.changed_by",
        "changed_at": "clock_timestamp()",
        "state": "'STOPPED'",
        "detail": "NULL",
        "reported_at": "NULL",
    }.items()
)
# The row is always written, so that it comes back as it then stands, whoever else writes it: `agreed` tells
# whether that is what was asked for. A checkpoint of the old version that comes in between is not read.
_PUT = Statement(
    text(f"""
    WITH given AS (
        SELECT CAST(:name AS text) AS name, CAST(:kind AS text) AS kind,
               CAST(:instruments AS varchar[]) AS instruments, CAST(:parameters AS jsonb) AS parameters,
               CAST(:mode AS text) AS mode, CAST(:capital AS numeric) AS capital,
               CAST(:changed_by AS text) AS changed_by
    ),
    put AS (
        INSERT INTO strategies AS s
               (name, kind, instruments, parameters, mode, capital, wanted, version, changed_by, state)
        SELECT name, kind, instruments, parameters, mode, capital, 'STOPPED', 1, changed_by, 'STOPPED'
        FROM given
        ON CONFLICT (name) DO UPDATE SET {_PUT_CHANGES}
        RETURNING s.*
    ),
    forgotten AS (
        DELETE FROM strategy_checkpoints c USING put p WHERE c.name = p.name AND c.version < p.version
    )
    SELECT p.*, (p.kind, p.instruments, p.parameters, p.mode, p.capital)
                IS NOT DISTINCT FROM (g.kind, g.instruments, g.parameters, g.mode, g.capital) AS agreed
    FROM put p, given g
    """)  # noqa: S608  # constants of this module
)
# One that is wanted already keeps who wanted it, unless it has failed and is tried again.
_TRIED_AGAIN = "state = 'FAILED' AND CAST(:wanted AS text) = 'RUNNING'"
_NEWS = f"(wanted <> CAST(:wanted AS text) OR ({_TRIED_AGAIN}))"
_WANT = Statement(
    text(f"""
    UPDATE strategies
    SET wanted = CAST(:wanted AS text),
        changed_by = CASE WHEN {_NEWS} THEN CAST(:changed_by AS text) ELSE changed_by END,
        changed_at = CASE WHEN {_NEWS} THEN clock_timestamp() ELSE changed_at END,
        state = CASE WHEN {_TRIED_AGAIN} THEN 'STOPPED' ELSE state END,
        detail = CASE WHEN {_TRIED_AGAIN} THEN NULL ELSE detail END
    WHERE name = :name
    RETURNING *
    """)  # noqa: S608  # constants of this module
)
_REPORT = Statement(
    text("""
    UPDATE strategies SET state = :state, detail = :detail, reported_at = clock_timestamp()
    WHERE name = :name AND version = :version
    """)
)
_ROWS = Statement(select(t).order_by(t.c.name))
_SAVE_CHECKPOINT = Statement(
    text("""
    INSERT INTO strategy_checkpoints AS c (name, version, at, state)
    SELECT s.name, CAST(:version AS int), CAST(:at AS timestamptz), CAST(:state AS jsonb)
    FROM strategies s WHERE s.name = :name AND s.version <= CAST(:version AS int)
    ON CONFLICT (name) DO UPDATE
    SET version = excluded.version, at = excluded.at, state = excluded.state, saved_at = clock_timestamp()
    WHERE c.version <= excluded.version
    """)
)
_CHECKPOINT = Statement(
    select(c.c.name, c.c.version, c.c.at, c.c.state).where(
        c.c.name == bindparam("name"), c.c.version == bindparam("version")
    )
)


class PostgresStrategyStore:
    """Implements the port `StrategyStore`."""

    def __init__(self, database: Database) -> None:
        self._db = database

    async def put(
        self,
        name: str,
        *,
        kind: str,
        instruments: Sequence[Instrument],
        parameters: Mapping[str, Any],
        mode: StrategyMode,
        capital: Decimal | None = None,
        changed_by: str,
    ) -> StrategyRow:
        args = _PUT.args(
            name=name,
            kind=kind,
            instruments=[str(instrument) for instrument in instruments],
            parameters=dict(parameters),
            mode=mode.value,
            capital=capital,
            changed_by=changed_by,
        )
        row = await self._db.fetchrow(_PUT.sql, args)
        assert row is not None, "the statement always gives one row"
        if not row["agreed"]:
            raise StrategyRunning(name=name)
        return _row(row)

    async def want(self, name: str, wanted: StrategyState, changed_by: str) -> StrategyRow | None:
        assert wanted is not StrategyState.FAILED, "nobody wants that"
        args = _WANT.args(name=name, wanted=wanted.value, changed_by=changed_by)
        row = await self._db.fetchrow(_WANT.sql, args)
        return None if row is None else _row(row)

    async def report(self, name: str, version: int, state: StrategyState, detail: str | None) -> None:
        args = _REPORT.args(
            name=name, version=version, state=state.value, detail=None if detail is None else storable(detail)
        )
        await self._db.fetch(_REPORT.sql, args)

    async def rows(self) -> Sequence[StrategyRow]:
        return [_row(row) for row in await self._db.fetch(_ROWS.sql, _ROWS.args())]

    async def save_checkpoint(self, checkpoint: Checkpoint) -> None:
        args = _SAVE_CHECKPOINT.args(
            name=checkpoint.name,
            version=checkpoint.version,
            at=checkpoint.at,
            state=dict(checkpoint.state),
        )
        await self._db.fetch(_SAVE_CHECKPOINT.sql, args)

    async def checkpoint(self, name: str, version: int) -> Checkpoint | None:
        row = await self._db.fetchrow(_CHECKPOINT.sql, _CHECKPOINT.args(name=name, version=version))
        return None if row is None else Checkpoint(**dict(row))


def _row(row: Row) -> StrategyRow:
    plan = StrategyPlan(
        name=row["name"],
        kind=row["kind"],
        instruments=tuple(Instrument.parse(text) for text in row["instruments"]),
        parameters=row["parameters"],
        mode=StrategyMode(row["mode"]),
        capital=row["capital"],
        wanted=StrategyState(row["wanted"]),
        version=row["version"],
        changed_by=row["changed_by"],
        changed_at=row["changed_at"],
    )
    return StrategyRow(
        plan=plan, state=StrategyState(row["state"]), detail=row["detail"], reported_at=row["reported_at"]
    )
