"""Strategies: people add, change, start and stop them, and each ask is on record."""

import re
from collections.abc import Callable, Coroutine, Mapping, Sequence
from decimal import Decimal
from typing import Any

import msgspec
from msgspec import Struct

from pulse_domain.errors import Conflict, DomainError, InvalidSettings, InvalidStrategy, NotFound
from pulse_domain.instruments import Instrument
from pulse_domain.orders.events import storable
from pulse_domain.ports.audit_log import AuditEntry, AuditLog
from pulse_domain.ports.strategy_store import StrategyMode, StrategyRow, StrategyState, StrategyStore
from pulse_domain.strategies import STRATEGIES, make_strategy

INSTRUMENTS_MAX = 50
CAPITAL_MAX = Decimal(1_000_000_000_000)
_PAISA = Decimal("0.01")

# Whether a strategy can be made so; raises InvalidSettings or InvalidStrategy where not.
Check = Callable[[str, Sequence[Instrument], Mapping[str, Any]], object]

# As a tag of orders, but no name of a folder.
_matches_name = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,63}").fullmatch
_matches_parameter = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}").fullmatch


class Asker(Struct, frozen=True, kw_only=True):
    """Who asks for something, and how; as in `AuditEntry`."""

    channel: str
    actor: str
    place: str = ""


class StrategyAsk(Struct, frozen=True, kw_only=True):
    """What a strategy is to be.

    parameters: plain values of JSON, or texts of them.
    capital: rupees that it counts with; None for those that the runner gives to every strategy.
    """

    name: str
    kind: str
    instruments: Sequence[Instrument]
    parameters: Mapping[str, Any]
    mode: StrategyMode
    capital: Decimal | None = None


class ManageStrategies:
    """Each method raises `StorageUnavailable` where it may or may not have been done; ask again."""

    def __init__(self, store: StrategyStore, audit: AuditLog, check: Check) -> None:
        self._store = store
        self._audit = audit
        self._check = check

    async def rows(self) -> Sequence[StrategyRow]:
        """All of them, by name."""
        return await self._store.rows()

    async def put(self, ask: StrategyAsk, by: Asker) -> StrategyRow:
        """Add a strategy, stopped, or change one that is stopped; asking twice is asking once.

        Raises:
            InvalidStrategy: it cannot be made so; `details` name the field.
            StrategyRunning: it is to be stopped first.
        """
        return await self._on_record("strategy put", ask.name, by, self._put(ask, by), _what)

    async def start(self, name: str, by: Asker) -> StrategyRow:
        """Have it run; one that has failed is tried again.

        Raises:
            NotFound: there is no such strategy.
        """
        return await self._on_record("strategy start", name, by, self._want(name, StrategyState.RUNNING, by))

    async def stop(self, name: str, by: Asker) -> StrategyRow:
        """Have it end. Its orders and its position stay as they are.

        Raises:
            NotFound: there is no such strategy.
        """
        return await self._on_record("strategy stop", name, by, self._want(name, StrategyState.STOPPED, by))

    async def _put(self, ask: StrategyAsk, by: Asker) -> StrategyRow:
        check_ask(ask)
        try:
            self._check(ask.kind, ask.instruments, ask.parameters)
        except InvalidSettings as error:
            field = error.details.get("field", "parameters")
            if field not in ("kind", "instruments", "parameters"):
                field = f"parameters.{field}"
            raise InvalidStrategy(error.message, **(error.details | {"field": field})) from error
        return await self._store.put(
            ask.name,
            kind=ask.kind,
            instruments=ask.instruments,
            parameters=ask.parameters,
            mode=ask.mode,
            capital=None if ask.capital is None else ask.capital.quantize(_PAISA),
            changed_by=by.actor,
        )

    async def _want(self, name: str, wanted: StrategyState, by: Asker) -> StrategyRow:
        row = await self._store.want(name, wanted, by.actor) if _matches_name(name) else None
        if row is None:
            raise NotFound(f"there is no strategy {storable(name)[:64]!r}")
        return row

    async def _on_record(
        self,
        action: str,
        name: str,
        by: Asker,
        step: Coroutine[Any, Any, StrategyRow],
        what: Callable[[StrategyRow], str] = lambda row: "",
    ) -> StrategyRow:
        try:
            row = await step
        except (DomainError, Conflict, NotFound) as error:
            await self._record(action, name, by, "refused", error.message)
            raise
        await self._record(action, name, by, "done", what(row))
        return row

    async def _record(self, action: str, name: str, by: Asker, outcome: str, detail: str) -> None:
        await self._audit.record(
            AuditEntry(
                channel=by.channel,
                actor=by.actor,
                place=by.place,
                action=action,
                outcome=outcome,
                detail=storable(f"{name}: {detail}" if detail else name),
            )
        )


def check_ask(ask: StrategyAsk) -> None:
    """Check what can be told without knowing the kind.

    Raises:
        InvalidStrategy: `details` name the field.
    """
    if _matches_name(ask.name) is None:
        raise InvalidStrategy(
            "a strategy's name must be 1 to 64 of letters, digits and _.:-, and begin with a letter or digit",
            field="name",
        )
    if not 1 <= len(ask.instruments) <= INSTRUMENTS_MAX:
        raise InvalidStrategy(f"instruments must be 1 to {INSTRUMENTS_MAX}", field="instruments")
    if len(set(ask.instruments)) < len(ask.instruments):
        raise InvalidStrategy("an instrument is named twice", field="instruments")
    if ask.capital is not None:
        _check_capital(ask.capital)
    for name, value in ask.parameters.items():
        if _matches_parameter(name) is None:
            raise InvalidStrategy(f"there is no parameter {storable(name)[:64]!r}", field="parameters")
        if not (value is None or isinstance(value, str | int | float | bool)):
            raise InvalidStrategy(
                f"{name} must be a number, a text, true, false or null", field=f"parameters.{name}"
            )
        if isinstance(value, str) and (len(value) > 200 or storable(value) != value):
            raise InvalidStrategy(
                f"{name} must be plain text of at most 200 characters", field=f"parameters.{name}"
            )


def _check_capital(capital: Decimal) -> None:
    if not capital.is_finite() or not 0 < capital <= CAPITAL_MAX:
        raise InvalidStrategy(f"capital must be above 0 and at most {CAPITAL_MAX}", field="capital")
    if capital != capital.quantize(_PAISA):
        raise InvalidStrategy("capital has more than 2 decimals", field="capital")


def shipped_only(kind: str, instruments: Sequence[Instrument], parameters: Mapping[str, Any]) -> None:
    """The check of whoever takes asks from elsewhere: no code comes that way.

    Raises:
        InvalidStrategy, InvalidSettings.
    """
    if kind not in STRATEGIES and ".py" in kind:
        raise InvalidStrategy(
            f"kind must be one of {', '.join(STRATEGIES)}: a strategy of a file is added where strategies run,"
            " by `pulse strategy add`",
            field="kind",
        )
    make_strategy(kind, instruments, parameters)


def _what(row: StrategyRow) -> str:
    plan = row.plan
    parameters = msgspec.json.encode(plan.parameters, order="sorted").decode()
    capital = "" if plan.capital is None else f", capital {plan.capital}"
    return f"{plan.kind} on {', '.join(map(str, plan.instruments))}, {plan.mode}, {parameters}{capital}"
