"""Strategies of files, put into the database: the file is loaded here first, as the runner will load it."""

import asyncio
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pulse.database import database_here, with_database
from pulse.errors import BadInput, CommandError
from pulse.strategy_file import load, strategy_of
from pulse.views import Strategy
from pulse_domain.errors import InvalidSettings, StrategyRunning
from pulse_domain.instruments import Instrument
from pulse_domain.ports.strategy_store import StrategyRow
from pulse_domain.use_cases.strategies import Asker, ManageStrategies, StrategyAsk

if TYPE_CHECKING:  # the driver takes its time, which other commands need not wait for
    from pulse_adapters.postgres.pool import Database


def put_strategy_of_file(ask: StrategyAsk, operator: str) -> Strategy:
    """Add or change a strategy of a checked kind.

    Raises:
        BadInput: no database is known.
        CommandError: the strategy is to be stopped first, or the database does not answer.
    """

    async def put(database: "Database") -> StrategyRow:
        from pulse_adapters.postgres.audit_log import PostgresAuditLog
        from pulse_adapters.postgres.strategies import PostgresStrategyStore

        manage = ManageStrategies(PostgresStrategyStore(database), PostgresAuditLog(database), _checked_already)
        return await manage.put(ask, Asker(channel="cli", actor=operator, place=platform.node()))

    try:
        row = asyncio.run(with_database(database_here("strategies"), put))
    except StrategyRunning as error:
        raise CommandError(f"{error.code}: {error.message}") from None
    return _view(row)


def checked_kind(kind: str, parameters: Mapping[str, Any]) -> str:
    """Read `FILE.py:Class`, or `FILE.py` where the file has one class, make such a strategy, and give the kind
    with the whole path and the name of the class.

    Raises:
        BadInput: the file or the class cannot be used, or a parameter is wrong.
    """
    file, _, name = (kind, "", "") if kind.endswith(".py") else kind.rpartition(":")
    if not file.endswith(".py"):
        raise BadInput(f"--kind {kind} must be written FILE.py:Class")
    path = Path(file).absolute()
    try:
        made = strategy_of(load(path), path, name or None, parameters)
    except InvalidSettings as error:
        raise BadInput(error.message) from None
    if made is None:
        raise BadInput(f"{path}: it has orders and no strategy")
    return f"{path}:{name or type(made).__name__}"


def _checked_already(kind: str, instruments: Sequence[Instrument], parameters: Mapping[str, Any]) -> None:
    """The file is not run a second time."""


def _view(row: StrategyRow) -> Strategy:
    plan = row.plan
    return Strategy(
        name=plan.name,
        kind=plan.kind,
        instruments=tuple(str(instrument) for instrument in plan.instruments),
        parameters=dict(plan.parameters),
        mode=plan.mode,
        capital=plan.capital,
        wanted=plan.wanted,
        state=row.state,
        detail=row.detail,
        version=plan.version,
        changed_by=plan.changed_by,
        changed_at=plan.changed_at,
        reported_at=row.reported_at,
    )
