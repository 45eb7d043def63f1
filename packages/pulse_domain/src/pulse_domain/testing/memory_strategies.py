"""Strategies in memory, as the store keeps them."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import msgspec
from msgspec.structs import replace

from pulse_domain.errors import StorageRejected, StorageUnavailable, StrategyRunning
from pulse_domain.instruments import Instrument
from pulse_domain.orders.events import storable
from pulse_domain.ports.clock import Clock
from pulse_domain.ports.strategy_store import (
    Checkpoint,
    StrategyMode,
    StrategyPlan,
    StrategyRow,
    StrategyState,
)


class InMemoryStrategyStore:
    """Implements the port `StrategyStore`.

    down: while set, every call fails as that of an unreachable store does.
    """

    def __init__(self, clock: Clock) -> None:
        self.down = False
        self._clock = clock
        self._rows: dict[str, StrategyRow] = {}
        self._checkpoints: dict[str, Checkpoint] = {}

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
        self._check()
        known = self._rows.get(name)
        plan = StrategyPlan(
            name=name,
            kind=kind,
            instruments=tuple(instruments),
            parameters=_plain(parameters),
            mode=mode,
            capital=capital,
            wanted=StrategyState.STOPPED,
            version=known.plan.version + 1 if known else 1,
            changed_by=changed_by,
            changed_at=self._clock.now(),
        )
        if known is not None:
            if _what_it_is(known.plan) == _what_it_is(plan):
                return known
            if known.plan.wanted is not StrategyState.STOPPED:
                raise StrategyRunning(name=name)
        row = StrategyRow(plan=plan, state=StrategyState.STOPPED, detail=None, reported_at=None)
        self._rows[name] = row
        self._checkpoints.pop(name, None)
        return row

    async def want(self, name: str, wanted: StrategyState, changed_by: str) -> StrategyRow | None:
        self._check()
        assert wanted is not StrategyState.FAILED, "nobody wants that"
        row = self._rows.get(name)
        if row is None:
            return None
        tried_again = wanted is StrategyState.RUNNING and row.state is StrategyState.FAILED
        if tried_again:
            row = replace(row, state=StrategyState.STOPPED, detail=None)
        if tried_again or row.plan.wanted is not wanted:
            plan = replace(row.plan, wanted=wanted, changed_by=changed_by, changed_at=self._clock.now())
            row = replace(row, plan=plan)
        self._rows[name] = row
        return row

    async def report(self, name: str, version: int, state: StrategyState, detail: str | None) -> None:
        self._check()
        row = self._rows.get(name)
        if row is not None and row.plan.version == version:
            said = None if detail is None else storable(detail)
            self._rows[name] = replace(row, state=state, detail=said, reported_at=self._clock.now())

    async def rows(self) -> Sequence[StrategyRow]:
        self._check()
        return [row for _, row in sorted(self._rows.items())]

    async def save_checkpoint(self, checkpoint: Checkpoint) -> None:
        self._check()
        row = self._rows.get(checkpoint.name)
        if row is not None and row.plan.version <= checkpoint.version:
            self._checkpoints[checkpoint.name] = replace(checkpoint, state=_plain(checkpoint.state))

    async def checkpoint(self, name: str, version: int) -> Checkpoint | None:
        self._check()
        kept = self._checkpoints.get(name)
        return kept if kept is not None and kept.version == version else None

    def _check(self) -> None:
        if self.down:
            raise StorageUnavailable


def _plain(value: Mapping[str, Any]) -> dict[str, Any]:
    """A copy, of JSON's own types."""
    encoded = msgspec.json.encode(value)
    if b"\\u0000" in encoded:
        raise StorageRejected("a value cannot be stored")
    made: dict[str, Any] = msgspec.json.decode(encoded)
    return made


def _what_it_is(plan: StrategyPlan) -> tuple[Any, ...]:
    # As text: True is no 1.
    parameters = msgspec.json.encode(plan.parameters, order="deterministic")
    return plan.kind, plan.instruments, parameters, plan.mode, plan.capital
